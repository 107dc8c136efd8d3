use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow::array::{
    Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{Field, Schema};
use proptest::prelude::*;

use super::*;

/// An image's bytes are told by its row; sizes vary.
fn bytes_of(row: usize) -> Vec<u8> {
    (0..row % 97 + 1).map(|i| (i * 31 + row) as u8).collect()
}

fn write(file: &Path, rows: std::ops::Range<usize>, rows_per_group: usize) {
    let images: Vec<Vec<u8>> = rows.clone().map(bytes_of).collect();
    let bytes = BinaryArray::from_iter_values(&images);
    let paths = StringArray::from_iter_values(rows.clone().map(|row| format!("{row}.png")));
    let image = StructArray::from(vec![
        (
            Arc::new(Field::new("bytes", DataType::Binary, true)),
            Arc::new(bytes) as ArrayRef,
        ),
        (
            Arc::new(Field::new("path", DataType::Utf8, true)),
            Arc::new(paths) as ArrayRef,
        ),
    ]);
    let labels = Int64Array::from_iter_values(rows.map(|row| row as i64 % 3));
    let schema = Arc::new(Schema::new(vec![
        Field::new("image", image.data_type().clone(), true),
        Field::new("label", DataType::Int64, true),
    ]));
    let batch =
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(image), Arc::new(labels)]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(rows_per_group))
        .build();
    let out = File::create(file).unwrap();
    let mut writer = ArrowWriter::try_new(out, schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn dataset() -> (tempfile::TempDir, Vec<Item>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    write(
        &dir.path().join("data/train-00000-of-00002.parquet"),
        0..250,
        100,
    );
    write(
        &dir.path().join("data/train-00001-of-00002.parquet"),
        250..2000,
        700,
    );
    let source = read(
        dir.path(),
        &[Split::Train],
        None,
        &Columns::default(),
        None,
        Reach::Below,
    )
    .unwrap();
    let [list] = <[_; 1]>::try_from(source.splits).unwrap();
    (dir, list.items)
}

fn image(item: &Item, out: &mut Vec<u8>) {
    let Content::Row { store, file, row } = &item.content else {
        panic!("{item:?}");
    };
    store.read(*file, *row, out).unwrap();
}

#[test]
fn rows_come_in_file_order_with_their_labels() {
    let (_dir, items) = dataset();
    assert_eq!(items.len(), 2000);
    assert_eq!(items[0].path, "data/train-00000-of-00002.parquet#0");
    assert_eq!(items[250].path, "data/train-00001-of-00002.parquet#0");
    let mut out = Vec::new();
    for (row, item) in items.iter().enumerate() {
        assert_eq!(item.label, row as u32 % 3);
        image(item, &mut out);
        assert_eq!(out, bytes_of(row), "row {row}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn any_order_reads_the_same(rows in prop::collection::vec(0_usize..2000, 1..60)) {
        let (_dir, items) = dataset();
        let mut out = Vec::new();
        for row in rows {
            image(&items[row], &mut out);
            prop_assert_eq!(&out, &bytes_of(row));
        }
    }
}

fn fetch(items: &[Item], rows: impl Iterator<Item = usize>) {
    let mut places = Vec::new();
    let mut stores = Vec::new();
    for row in rows {
        let Content::Row { store, file, row } = &items[row].content else {
            panic!("not a row");
        };
        places.push((*file, *row));
        stores.push(store);
    }
    stores[0].fetch(places);
}

/// Once they are fetched the files are not asked again.
#[test]
fn fetched_rows_are_at_hand_until_the_next_fetch_but_one() {
    let (dir, items) = dataset();
    let order = |start: usize| (start..2000).step_by(7).rev();
    fetch(&items, order(0));
    fetch(&items, order(1).chain(order(1)));
    fs::remove_dir_all(dir.path().join("data")).unwrap();
    let mut out = Vec::new();
    for row in order(0).chain(order(1)) {
        image(&items[row], &mut out);
        assert_eq!(out, bytes_of(row), "row {row}");
    }
    // Gone with the files: neither was it fetched, nor do the files' names stand in the reason.
    let Content::Row { store, file, row } = &items[2].content else {
        panic!("not a row");
    };
    let reason = store.read(*file, *row, &mut out).unwrap_err().to_string();
    assert_eq!(reason, "No such file or directory (os error 2)");
    fetch(&items, std::iter::once(5));
    let Content::Row { store, file, row } = &items[0].content else {
        panic!("not a row");
    };
    assert!(store.read(*file, *row, &mut out).is_err());
}

#[test]
fn threads_share_a_store() {
    let (_dir, items) = dataset();
    std::thread::scope(|scope| {
        for start in 0..4 {
            let items = &items;
            scope.spawn(move || {
                let mut out = Vec::new();
                for row in (start..items.len()).step_by(4) {
                    image(&items[row], &mut out);
                    assert_eq!(out, bytes_of(row));
                }
            });
        }
    });
}

#[test]
fn metadata_names_columns_and_classes() {
    let schema = Schema::empty().with_metadata([(
        "huggingface".to_owned(),
        r#"{"info": {"features": {"pic": {"_type": "Image"},
                "kind": {"names": ["b", "a"], "_type": "ClassLabel"},
                "size": {"dtype": "int32", "_type": "Value"}}}}"#
            .to_owned(),
    )]);
    let features = Features::of(&schema);
    assert_eq!(features.kind("pic"), Some("Image"));
    assert_eq!(features.names("kind").unwrap(), ["b", "a"]);
    assert_eq!(features.names("size"), None);
    let other = Schema::empty().with_metadata([("huggingface".to_owned(), "{".to_owned())]);
    assert_eq!(Features::of(&other).kind("pic"), None);
}
