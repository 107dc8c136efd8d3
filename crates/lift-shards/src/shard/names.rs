//! The columns that every shard has, by name.

use parquet::schema::types::ColumnPath;

use crate::manifest::Encoding;

/// The columns that are read at open.
pub(super) const SMALL: [&str; 7] = [
    "id",
    "path",
    "label",
    "width",
    "height",
    "num_bytes",
    "checksum",
];

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
