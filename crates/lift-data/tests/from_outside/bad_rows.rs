//! Rows of Parquet files that are bad, each by itself.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::support::{Workplace, rows};

/// A row's image.
#[derive(Clone)]
enum Image {
    /// Its bytes, in a struct with or without a path.
    Bytes(Vec<u8>),
    /// A struct that is there and holds a path alone, where nothing is.
    PathAlone,
    /// A struct that is null.
    Null,
}

/// A Parquet file as `datasets` writes it, a page a row.
fn write(file: &Path, images: &[Image], labels: &[Option<i64>]) {
    let bytes: Vec<Option<&[u8]>> = images
        .iter()
        .map(|image| match image {
            Image::Bytes(bytes) => Some(bytes.as_slice()),
            Image::PathAlone | Image::Null => None,
        })
        .collect();
    // Every other path is missing, which is no fault.
    let path = |row: usize| row.is_multiple_of(2).then(|| format!("photo-{row}.png"));
    let paths: StringArray = (0..images.len()).map(path).collect();
    let there: Vec<bool> = images
        .iter()
        .map(|image| !matches!(image, Image::Null))
        .collect();
    let fields = vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ];
    let columns: Vec<ArrayRef> = vec![Arc::new(BinaryArray::from(bytes)), Arc::new(paths)];
    let image = StructArray::new(fields.into(), columns, Some(NullBuffer::from(there)));
    write_columns(file, Arc::new(image), labels);
}

fn write_columns(file: &Path, image: ArrayRef, labels: &[Option<i64>]) {
    let labels = Int64Array::from(labels.to_vec());
    let schema = Arc::new(Schema::new(vec![
        Field::new("image", image.data_type().clone(), true),
        Field::new("label", DataType::Int64, true),
    ]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![image, Arc::new(labels)]).unwrap();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_write_batch_size(1)
        .set_data_page_row_count_limit(1)
        .set_max_row_group_row_count(Some(8))
        .build();
    let mut writer =
        ArrowWriter::try_new(File::create(file).unwrap(), schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// PNG files that differ, `count` of them.
fn pngs(place: &Workplace, count: usize) -> Vec<Vec<u8>> {
    let file = |i: usize| {
        let path = format!("png/{i}.png");
        place.image(&path, 5 + i as u32, 7);
        fs::read(place.path(&path)).unwrap()
    };
    (0..count).map(file).collect()
}

/// Twenty rows of which five are bad, each in a way of its own.
fn twenty(place: &Workplace, root: &str) -> Vec<Vec<u8>> {
    let good = pngs(place, 20);
    let mut images: Vec<Image> = good.iter().cloned().map(Image::Bytes).collect();
    images[2] = Image::Null;
    images[4] = Image::PathAlone;
    images[7] = Image::Bytes(b"no image".to_vec());
    images[8] = Image::Bytes(Vec::new());
    images[19] = Image::Bytes(b"nor this".to_vec());
    let labels: Vec<_> = (0..20).map(|row| Some(row % 2)).collect();
    write(
        &place.path(&format!("{root}/data/train-00000-of-00001.parquet")),
        &images,
        &labels,
    );
    good
}

fn reasons() -> String {
    let unknown = lift_image::decode::DecodeError::UnknownFormat.to_string();
    REASONS.replace("[unknown]", &unknown)
}

const REASONS: &str = r#"{"id":2,"path":"data/train-00000-of-00001.parquet#2","label":0,"reason":"cannot read: the image is null"}
{"id":4,"path":"photo-4.png","label":0,"reason":"cannot read: No such file or directory (os error 2)"}
{"id":7,"path":"data/train-00000-of-00001.parquet#7","label":1,"reason":"cannot decode: [unknown]"}
{"id":8,"path":"data/train-00000-of-00001.parquet#8","label":0,"reason":"cannot decode: the file is empty"}
{"id":19,"path":"data/train-00000-of-00001.parquet#19","label":1,"reason":"cannot decode: [unknown]"}
"#;

#[test]
fn a_bad_row_costs_its_neighbours_nothing() {
    let place = Workplace::new();
    let good = twenty(&place, "hf");
    twenty(&place, "mounted/elsewhere/hf");
    let kept: Vec<_> = (0..20)
        .filter(|row| ![2, 4, 7, 8, 19].contains(row))
        .map(|row| ((row % 2).to_string(), good[row].clone()))
        .collect();
    for (source, out, threads) in [
        ("hf", "one", 1),
        ("hf", "three", 3),
        ("mounted/elsewhere/hf", "moved", 2),
    ] {
        let said = place.run(&format!(
            "build hf --source {source} --split train --encoding original --check decode \
             --max-bad 5 --threads {threads} --out {out}"
        ));
        assert!(said.starts_with("exit 0"), "{said}");
        assert_eq!(rows(&place, &format!("{out}/train")), kept);
        // Neither the machine nor the mount is in it.
        assert_eq!(
            place.read(&format!("{out}/train/quarantine.jsonl")),
            reasons()
        );
    }
    assert_eq!(place.files("one"), place.files("moved"));
    let strict = place.run("build hf --source hf --split train --encoding original --out strict");
    assert!(
        strict.contains(
            "error: hf/data/train-00000-of-00001.parquet#2: cannot read: the image is null\nhint: "
        ),
        "{strict}"
    );
}

/// Shuffled rows are fetched some at a time, group by group: the images and what is bad stay the same.
#[test]
fn shuffled_rows_are_those_of_the_list_and_so_are_the_bad_ones() {
    let place = Workplace::new();
    twenty(&place, "hf");
    let build = |out: &str, flags: &str| {
        let said = place.run(&format!(
            "build hf --source hf --split train --encoding original --check decode --max-bad 5 \
             {flags} --out {out}"
        ));
        assert!(said.starts_with("exit 0"), "{said}");
    };
    build("list", "");
    build("shuffled-1", "--order shuffled --threads 1");
    build("shuffled-3", "--order shuffled --threads 3");
    assert_eq!(place.files("shuffled-1"), place.files("shuffled-3"));
    let by_id = |out: &str| {
        let reader = lift_shards::ShardReader::open(&place.path(&format!("{out}/train"))).unwrap();
        let row = |at: usize| (reader.row(at).id, reader.bytes(at).unwrap().to_vec());
        (0..reader.len()).map(row).collect::<Vec<_>>()
    };
    let mut shuffled = by_id("shuffled-1");
    assert_ne!(shuffled, by_id("list"));
    shuffled.sort();
    assert_eq!(shuffled, by_id("list"));
    let mut lines: Vec<_> = place
        .read("shuffled-1/train/quarantine.jsonl")
        .lines()
        .map(|line| line.to_owned() + "\n")
        .collect();
    let expected = reasons();
    lines.sort_by_key(|line| expected.find(line.as_str()));
    assert_eq!(lines.concat(), expected);
}

/// A page that cannot be decoded is the fault of its own row.
#[test]
fn a_damaged_page_is_one_bad_row() {
    let place = Workplace::new();
    let good = pngs(&place, 12);
    let images: Vec<Image> = good.iter().cloned().map(Image::Bytes).collect();
    let file = place.path("hf/train.parquet");
    write(&file, &images, &[Some(0); 12]);
    let mut bytes = fs::read(&file).unwrap();
    // A value's length stands before it; this one says more than the page has.
    let at = bytes
        .windows(good[5].len())
        .position(|window| window == good[5])
        .unwrap();
    bytes[at - 4..at].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(&file, bytes).unwrap();
    for order in ["list", "shuffled"] {
        let said = place.run(&format!(
            "build hf --source hf --split train --encoding original --max-bad 1 --order {order} --out {order}"
        ));
        assert!(said.starts_with("exit 0"), "{said}");
        assert_eq!(rows(&place, &format!("{order}/train")).len(), 11);
        let quarantine = place.read(&format!("{order}/train/quarantine.jsonl"));
        assert!(
            quarantine.starts_with(
                r#"{"id":5,"path":"train.parquet#5","label":0,"reason":"cannot read: "#
            ) && quarantine.lines().count() == 1
                && !quarantine.contains(place.path("").to_str().unwrap()),
            "{quarantine}"
        );
    }
}

#[test]
fn a_column_of_bytes_has_null_rows_too() {
    let place = Workplace::new();
    let good = pngs(&place, 3);
    let column = BinaryArray::from(vec![
        Some(good[0].as_slice()),
        None,
        Some(good[2].as_slice()),
    ]);
    write_columns(
        &place.path("hf/train.parquet"),
        Arc::new(column),
        &[Some(0); 3],
    );
    let said = place.run("build hf --source hf --split train --max-bad 1 --out out");
    assert!(said.starts_with("exit 0"), "{said}");
    assert_eq!(
        place.read("out/train/quarantine.jsonl"),
        "{\"id\":1,\"path\":\"train.parquet#1\",\"label\":0,\"reason\":\"cannot read: the image is null\"}\n"
    );
}

/// What class an image without a label is of, nobody can say: the row is named before anything is built.
#[test]
fn a_row_without_a_label_is_named() {
    let place = Workplace::new();
    let images: Vec<Image> = pngs(&place, 3).into_iter().map(Image::Bytes).collect();
    write(
        &place.path("hf/train.parquet"),
        &images,
        &[Some(0), Some(1), None],
    );
    insta::assert_snapshot!(place.run("build hf --source hf --split train --max-bad 3 --out out"), @r"
    exit 1
    ----
    error: hf/train.parquet#2: the label is empty
    hint: every row needs a label: a whole number from 0, or a class name
    ");
    assert!(!place.path("out/train").exists());
}

/// CIFAR's Parquet files are read at once, and are no different.
#[test]
fn a_null_image_of_cifar_is_one_bad_image() {
    let place = Workplace::new();
    for (split, count) in [("train", 30), ("test", 10)] {
        let png = |row: usize| {
            let path = format!("png/{split}-{row}.png");
            place.image(&path, 32, 32);
            Some(fs::read(place.path(&path)).unwrap())
        };
        let mut bytes: Vec<Option<Vec<u8>>> = (0..count).map(png).collect();
        if split == "train" {
            bytes[13] = None;
        }
        let bytes: BinaryArray = bytes.iter().map(Option::as_deref).collect();
        let image = StructArray::from(vec![(
            Arc::new(Field::new("bytes", DataType::Binary, true)),
            Arc::new(bytes) as ArrayRef,
        )]);
        let labels = Int64Array::from_iter_values((0..count as i64).map(|row| row % 10));
        let schema = Arc::new(Schema::new(vec![
            Field::new("img", image.data_type().clone(), true),
            Field::new("label", DataType::Int64, true),
        ]));
        let columns: Vec<ArrayRef> = vec![Arc::new(image), Arc::new(labels)];
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        fs::create_dir_all(place.path("cifar")).unwrap();
        let out = File::create(place.path(&format!("cifar/{split}-0.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(out, schema, None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }
    let said = place.run(
        "build cifar10-lt --source cifar --imbalance-ratio 1 --max-per-class 3 --split train --max-bad 1 --out out",
    );
    assert!(said.starts_with("exit 0"), "{said}");
    let quarantine = place.read("out/train/quarantine.jsonl");
    assert!(
        quarantine.contains("\"path\":\"train-0.parquet#13\"")
            && quarantine.contains("\"reason\":\"cannot decode: the file is empty\""),
        "{quarantine}"
    );
}
