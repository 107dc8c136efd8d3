//! The columns that every shard has, by name.

use parquet::schema::types::ColumnPath;

use crate::manifest::Encoding;

/// The columns that every shard has.
pub const OWN_COLUMNS: [&str; 8] = [
    "id",
    "path",
    "label",
    "width",
    "height",
    "num_bytes",
    "checksum",
    IMAGE,
];

/// Those that are read at open.
pub(super) const SMALL: [&str; 7] = {
    let [id, path, label, width, height, num_bytes, checksum, _] = OWN_COLUMNS;
    [id, path, label, width, height, num_bytes, checksum]
};

/// The column that holds the image's bytes.
pub(super) const IMAGE: &str = "image";

/// The leaf column that holds the image's bytes.
pub(super) fn image_leaf(encoding: Encoding) -> ColumnPath {
    let mut path = vec![IMAGE.to_owned()];
    if encoding.is_file() {
        path.push("bytes".to_owned());
    }
    ColumnPath::new(path)
}

/// What a column is called beside others: `table_label` where `label` is taken, and so on while that is taken as well.
pub fn free_name(name: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let mut free = name.to_owned();
    while is_taken(&free) {
        free = format!("table_{free}");
    }
    free
}
