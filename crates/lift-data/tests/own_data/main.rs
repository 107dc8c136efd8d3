//! Data of the user's own: tables, Hugging Face Parquet, tar shards, long tails, hold-outs, bands.

mod by_path;
mod left_out;
mod other_forms;
mod repeats;
mod special_files;
mod split_names;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod text_files;
mod twins;
mod unpacked;

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, StructArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use support::{Workplace, flat, rows};

/// The images below `photos/train`, class by class, as (path, class name, bytes).
fn photos(place: &Workplace) -> Vec<(String, String, Vec<u8>)> {
    place.class_folders("photos");
    place
        .files("photos/train")
        .into_iter()
        .map(|(path, bytes)| {
            let path = path.to_str().unwrap().to_owned();
            let class = path.split('/').next().unwrap().to_owned();
            (path, class, bytes)
        })
        .collect()
}

fn write_parquet(file: &Path, columns: Vec<(&str, ArrayRef)>, metadata: Option<&str>) {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), true))
        .collect();
    let metadata = metadata.map(|text| ("huggingface".to_owned(), text.to_owned()));
    let schema = Arc::new(Schema::new_with_metadata(
        fields,
        metadata.into_iter().collect::<HashMap<_, _>>(),
    ));
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(5))
        .build();
    let out = File::create(file).unwrap();
    let mut writer = ArrowWriter::try_new(out, schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// The struct that `datasets` stores an image as.
fn images<'a>(bytes: impl IntoIterator<Item = &'a [u8]>) -> ArrayRef {
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter_values(bytes));
    let paths: ArrayRef = Arc::new(StringArray::new_null(bytes.len()));
    Arc::new(StructArray::from(vec![
        (Arc::new(Field::new("bytes", DataType::Binary, true)), bytes),
        (Arc::new(Field::new("path", DataType::Utf8, true)), paths),
    ]))
}

/// Writes a tar of (name, bytes).
fn write_tar(file: &Path, members: &[(&str, &[u8])]) {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let mut tar = tar::Builder::new(File::create(file).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.finish().unwrap();
}

fn expected(photos: &[(String, String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    photos
        .iter()
        .map(|(_, class, bytes)| (class.clone(), bytes.clone()))
        .collect()
}

#[test]
fn a_csv_with_class_names_is_built() {
    let place = Workplace::new();
    let photos = photos(&place);
    let mut csv = "species,file\n".to_owned();
    for (path, class, _) in &photos {
        csv += &format!("\"{class}\",{path}\n");
    }
    place.write("all.csv", &csv);
    let flags = "--path-column file --label-column species";
    insta::assert_snapshot!(
        place.run(&format!("build list --source all.csv --root photos/train --split train {flags} --encoding original --out shards")), @r"
    exit 0
    ----
    train: 16 images of 3 classes, 6.7 kB in 1 shard, [time] -> shards/train
    ");
    assert_eq!(rows(&place, "shards/train"), expected(&photos));
    insta::assert_snapshot!(place.run(&format!("stats all.csv {flags} --bands 10,3")), @r"
    exit 0
                                 all
    images                        16
    classes                        3
    largest class                 12
    smallest class                 1
    imbalance ratio             12.0
    Gini                       0.458
    many (> 10): classes           1
    many (> 10): images           12
    medium (3 to 10): classes      1
    medium (3 to 10): images       3
    few (< 3): classes             1
    few (< 3): images              1

    label  class  band    all
        2  dog    many     12
        0  cat    medium    3
        1  cow    few       1
    ----
    ");
}

#[test]
fn a_parquet_list_has_numbers_or_names() {
    let place = Workplace::new();
    let photos = photos(&place);
    let paths = || texts(photos.iter().map(|(path, ..)| path.as_str()));
    let classes = texts(photos.iter().map(|(_, class, _)| class.as_str()));
    let label = |class: &str| ["cat", "cow", "dog"].iter().position(|&name| name == class);
    let labels = numbers(
        photos
            .iter()
            .map(|(_, class, _)| label(class).unwrap() as i64),
    );
    write_parquet(
        &place.path("names/train.parquet"),
        vec![("path", paths()), ("label", classes)],
        None,
    );
    write_parquet(
        &place.path("numbers/train.parquet"),
        vec![("path", paths()), ("label", labels)],
        None,
    );
    place.write("numbers/classnames.txt", "cat\ncow\ndog\n");
    for lists in ["names", "numbers"] {
        let build = format!(
            "build list --source {lists} --root photos/train --encoding original --out of-{lists}"
        );
        let said = place.run(&build);
        assert!(said.starts_with("exit 0"), "{said}");
        assert_eq!(
            rows(&place, &format!("of-{lists}/train")),
            expected(&photos)
        );
    }
}

const FEATURES: &str = r#"{"info": {"features": {"img": {"_type": "Image"},
    "kind": {"names": ["cat", "cow", "dog"], "_type": "ClassLabel"}}}}"#;

/// `hf/data` with the photos as two training files, and two images each to validate and to test.
fn hugging_face(place: &Workplace, photos: &[(String, String, Vec<u8>)]) {
    let label = |class: &str| match class {
        "cat" => 0,
        "cow" => 1,
        _ => 2,
    };
    let write = |file: &str, photos: &[(String, String, Vec<u8>)]| {
        let columns = vec![
            (
                "img",
                images(photos.iter().map(|(.., bytes)| bytes.as_slice())),
            ),
            (
                "kind",
                numbers(photos.iter().map(|(_, class, _)| label(class))),
            ),
        ];
        write_parquet(&place.path(file), columns, Some(FEATURES));
    };
    write("hf/data/train-00000-of-00002.parquet", &photos[..9]);
    write("hf/data/train-00001-of-00002.parquet", &photos[9..]);
    write("hf/data/validation-00000-of-00001.parquet", &photos[..2]);
    write("hf/data/test-00000-of-00001.parquet", &photos[2..4]);
}

#[test]
fn a_hugging_face_dataset_is_built_with_any_number_of_threads() {
    let place = Workplace::new();
    let photos = photos(&place);
    hugging_face(&place, &photos);
    insta::assert_snapshot!(place.run("build hf --source hf --encoding original --out out-1 --threads 1"), @r"
    exit 0
    ----
    train: 16 images of 3 classes, 7.7 kB in 1 shard, [time] -> out-1/train
    val: 2 images of 3 classes, 2.5 kB in 1 shard, [time] -> out-1/val
    test: 2 images of 3 classes, 2.4 kB in 1 shard, [time] -> out-1/test
    ");
    assert_eq!(rows(&place, "out-1/train"), expected(&photos));
    assert_eq!(rows(&place, "out-1/val"), expected(&photos[..2]));
    place.run("build hf --source hf --encoding original --out out-3 --threads 3");
    assert_eq!(place.files("out-1"), place.files("out-3"));
    for split in ["train", "val", "test"] {
        let said = place.run(&format!("verify out-1/{split}"));
        assert!(said.starts_with("exit 0\n"), "{said}");
    }
    // What is validated and tested on here are training images.
    insta::assert_snapshot!(place.run("verify out-1"), @r"
    exit 1
    out-1/train: whole: 16 images, 7.7 kB in 1 shard
    out-1/val/manifest.json: 2 of its 2 images are in out-1/train too (the first: row 0 of shard 0 here, row 0 of shard 0 there)
    out-1/test/manifest.json: 2 of its 2 images are in out-1/train too (the first: row 0 of shard 0 here, row 2 of shard 0 there)
    ----
    error: out-1: not whole, problems found: 2
    hint: build it again
    ");
    assert_eq!(place.run("stats hf"), place.run("stats out-1"));
    // Which classes there are does not depend on the split, and files must agree on them.
    place.run("build hf --source hf --split test --encoding original --out only");
    let manifest = |out: &str| place.read(&format!("{out}/test/manifest.json"));
    assert_eq!(manifest("only"), manifest("out-1"));
    let columns = vec![
        ("img", images([photos[0].2.as_slice()])),
        ("kind", numbers([0])),
    ];
    let other = FEATURES.replace("cow", "ant");
    write_parquet(
        &place.path("hf/data/train-9.parquet"),
        columns,
        Some(&other),
    );
    insta::assert_snapshot!(place.run("build hf --source hf --out no"), @r"
    exit 1
    ----
    error: hf/data/train-9.parquet: its metadata has other class names than the files before
    hint: all files must be of one dataset
    ");
    let one = place.run("stats hf/data/train-00000-of-00002.parquet");
    assert!(
        one.contains("few (< 20): images               9\n"),
        "{one}"
    );
}

#[test]
fn tar_shards_are_built() {
    let place = Workplace::new();
    let photos = photos(&place);
    let sample = |index: usize| format!("{index:04}");
    let mut members: Vec<(String, Vec<u8>)> = Vec::new();
    for (index, (_, class, bytes)) in photos.iter().enumerate() {
        let key = sample(index);
        members.push((format!("{key}.png"), bytes.clone()));
        // One label in each of the ways; what else lies in a sample is passed over.
        match index % 3 {
            0 => members.push((format!("{key}.cls"), format!("{class}\n").into_bytes())),
            1 => {
                members.push((
                    format!("{key}.json"),
                    format!("{{\"label\": \"{class}\"}}").into_bytes(),
                ));
                members.push((format!("{key}.txt"), b"a caption".to_vec()));
            }
            _ => members.push((format!("{key}.txt"), class.clone().into_bytes())),
        }
        members.push((format!("{key}.mask.npy"), vec![0; 700]));
    }
    let members: Vec<(&str, &[u8])> = members
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let (first, second) = members.split_at(
        members
            .iter()
            .position(|(name, _)| *name == "0007.png")
            .unwrap(),
    );
    write_tar(&place.path("tars/train-000000.tar"), first);
    write_tar(&place.path("tars/train-000001.tar"), second);
    write_tar(&place.path("tars/val/a.tar"), &first[..2]);
    insta::assert_snapshot!(place.run("build webdataset --source tars --encoding original --out out-1 --threads 1"), @r"
    exit 0
    ----
    train: 16 images of 3 classes, 7.3 kB in 1 shard, [time] -> out-1/train
    test: 1 image of 3 classes, 2.0 kB in 1 shard, [time] -> out-1/test
    ");
    assert_eq!(rows(&place, "out-1/train"), expected(&photos));
    place.run("build webdataset --source tars --encoding original --out out-3 --threads 3");
    assert_eq!(place.files("out-1"), place.files("out-3"));
    // Which classes there are does not depend on the split.
    place.run("build webdataset --source tars --split test --encoding original --out only");
    assert_eq!(rows(&place, "only/test"), expected(&photos[..1]));
    let manifest = |out: &str| place.read(&format!("{out}/test/manifest.json"));
    assert_eq!(manifest("only"), manifest("out-1"));
    // A tar alone is one split.
    place.run("build webdataset --source tars/train-000000.tar --split train --encoding original --out one");
    assert_eq!(rows(&place, "one/train"), expected(&photos[..7]));
    assert_eq!(place.run("stats tars"), place.run("stats out-1"));
    let one = place.run("stats tars/train-000000.tar");
    assert!(
        one.contains("few (< 20): images               7\n"),
        "{one}"
    );
}

#[test]
fn bad_containers_are_named() {
    let place = Workplace::new();
    let photos = photos(&place);
    let png = photos[0].2.as_slice();
    let tar = |name: &str, members: &[(&str, &[u8])]| {
        write_tar(&place.path(name), members);
        place.run(&format!(
            "build webdataset --source {name} --split test --out out"
        ))
    };
    insta::assert_snapshot!(tar("nolabel.tar", &[("a.png", png), ("b.png", png), ("b.cls", b"0")]), @r"
    exit 1
    ----
    error: nolabel.tar: sample `a` has no label; it holds a.png
    hint: the label is a .cls or .txt file or the field `label` of a .json file (--label-column names another)
    ");
    insta::assert_snapshot!(tar("noimage.tar", &[("a.cls", b"0")]), @r"
    exit 1
    ----
    error: noimage.tar: sample `a` has no image; it holds a.cls
    hint: every sample has one image, such as KEY.jpg, beside KEY.cls
    ");
    insta::assert_snapshot!(tar("twice.tar", &[("a.png", png), ("a.cls", b"0"), ("b.png", png), ("b.cls", b"0"), ("a.jpg", png), ("a.cls", b"0")]), @r"
    exit 1
    ----
    error: twice.tar: sample `a` is there twice
    hint: the files of a sample must follow each other; write the tar sorted by name
    ");
    insta::assert_snapshot!(tar("mixed.tar", &[("a.png", png), ("a.cls", b"0"), ("b.png", png), ("b.cls", b"x")]), @r"
    exit 1
    ----
    error: mixed.tar#b.png: `0` and `x` are both labels here: one is a number, the other is not
    hint: use numbers or names throughout; with --classnames a name may look like a number
    ");
    let whole = fs::read(place.path("mixed.tar")).unwrap();
    fs::write(place.path("cut.tar"), &whole[..600]).unwrap();
    insta::assert_snapshot!(place.run("build webdataset --source cut.tar --split test --out out"), @r"
    exit 1
    ----
    error: cut.tar: it ends within `a.png`
    hint: the tar is truncated; copy it again
    ");
    place.write(
        "text.tar",
        "not a tar at all, which a header of 512 bytes would be; ",
    );
    let said = place.run("build webdataset --source text.tar --split test --out out");
    assert!(
        said.contains("error: text.tar: cannot read as tar: "),
        "{said}"
    );
    insta::assert_snapshot!(place.run("build webdataset --source photos --out out"), @r"
    exit 1
    ----
    error: photos: there is no train-*.tar in it
    hint: the files of a split are called train-*.tar or lie in train/; files without such names are one split: say which with --split, or cut it with --holdout
    ");

    let hf = |name: &str, columns: Vec<(&str, ArrayRef)>| {
        write_parquet(&place.path(name), columns, None);
        place.run(&format!("build hf --source {name} --split test --out out"))
    };
    insta::assert_snapshot!(hf("a.parquet", vec![("image", images([png])), ("labels", numbers([0]))]), @r"
    exit 1
    ----
    error: a.parquet: there is no column `label`
    hint: name the right one with --label-column; there are image, labels
    ");
    insta::assert_snapshot!(hf("b.parquet", vec![("image", numbers([0])), ("label", numbers([0]))]), @r"
    exit 1
    ----
    error: b.parquet: column `image` is Int64, which holds no image bytes
    hint: images are a binary column, or a struct with `bytes`; name it with --image-column
    ");
    insta::assert_snapshot!(hf("c.parquet", vec![("image", images([png, png])), ("label", numbers([0, -1]))]), @r"
    exit 1
    ----
    error: c.parquet#1: label -1: this image has no label
    hint: splits whose labels were never published cannot be built: choose others with --split, or take its files out of the folder
    ");
    insta::assert_snapshot!(hf("d.parquet", vec![("image", images([png, b"no image"])), ("label", numbers([0, 0]))]), @r"
    exit 1
    ----
    error: d.parquet#1: cannot decode: not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF)
    hint: repair or remove the file, or leave out up to N bad ones with --max-bad N
    ");
    place.write("e.parquet", "PAR1 it is not");
    let said = place.run("build hf --source e.parquet --split test --out out");
    assert!(
        said.contains("error: e.parquet: cannot read as Parquet: "),
        "{said}"
    );
    assert_eq!(place.files("out").len(), 0, "failed builds leave nothing");
}

#[test]
fn bad_tables_are_named() {
    let place = Workplace::new();
    let csv = |text: &str| {
        place.write("t.csv", text);
        place.run("build list --source t.csv --split test --out out")
    };
    insta::assert_snapshot!(csv("file,label\na.png,0\n"), @r"
    exit 1
    ----
    error: t.csv: there is no column `path`
    hint: name the right one with --path-column; there are file, label
    ");
    insta::assert_snapshot!(csv("path,label\n\n\"a\nb.png\",0\n\nb.png\n"), @r"
    exit 1
    ----
    error: t.csv:6: 1 fields, the header has 2
    hint: a CSV list has a header line, and commas, semicolons or tabs throughout; quote values that hold one
    ");
    insta::assert_snapshot!(csv("\u{feff}path,label\r\na.png,0\r\n\r\n\r\nb.png,\r\n"), @r"
    exit 1
    ----
    error: t.csv:5: the label is empty
    hint: every row needs a label: a whole number from 0, or a class name
    ");
    insta::assert_snapshot!(csv("path,label\na.png,0\nb.png,zwei\n"), @r"
    exit 1
    ----
    error: t.csv:3: `0` and `zwei` are both labels here: one is a number, the other is not
    hint: use numbers or names throughout; with --classnames a name may look like a number
    ");
    insta::assert_snapshot!(csv("path,label\n"), @r"
    exit 1
    ----
    error: t.csv: the table has no row
    hint: every row is an image's path and its label
    ");
    place.write("t.csv", "path,label\na.png,ant\nb.png,bee\n");
    place.write("names.txt", "ant\nwasp\n");
    insta::assert_snapshot!(
        place.run("build list --source t.csv --split test --classnames names.txt --out out"), @r"
    exit 1
    ----
    error: t.csv:3: `bee` is not among the 2 class names
    hint: class names come from --classnames, or else from the source
    ");
    insta::assert_snapshot!(place.run("build list --source t.csv --out out"), @r"
    exit 1
    ----
    error: t.csv: a single table cannot be all splits
    hint: say which with --split train or --split test, cut it with --holdout, or name the column that says it with --split-column
    ");
}

#[test]
fn settings_that_do_not_fit_are_refused() {
    let place = Workplace::new();
    flat(&place);
    place.class_folders("photos");
    for (flags, message) in [
        ("--profile step", "--profile needs --imbalance-ratio"),
        (
            "--min-per-class 3",
            "--min-per-class needs --imbalance-ratio",
        ),
        (
            "--imbalance-ratio 2 --pareto-power 3",
            "--pareto-power needs --profile pareto",
        ),
        ("--image-column x", "unexpected argument '--image-column'"),
        (
            "--path-column x",
            "--path-column is for table, not for folder",
        ),
        (
            "--bands 5,20",
            "a class of 6 images would be both many (> 5) and few (< 20)",
        ),
        ("--holdout 1.5", "do not leave a training split"),
    ] {
        let said = place.run(&format!("split folder --source flat {flags} --out no"));
        assert!(
            said.starts_with("exit 2") && said.contains(message),
            "{said}"
        );
    }
    insta::assert_snapshot!(place.run("build folder --source photos --holdout 0.2 --out no"), @r"
    exit 1
    ----
    error: photos: it has a test split already
    hint: hold out the other one (--holdout val=F or test=F), or build the training split first and hold out of it with build shards
    ");
    insta::assert_snapshot!(place.run("split folder --source photos --imbalance-ratio 100 --out no"), @r"
    exit 1
    ----
    error: photos/train: imbalance ratio 100 leaves class 1 without an image: the largest class has 12
    hint: use a ratio of at most 12, or --min-per-class 1
    ");
    hugging_face(&place, &photos(&place));
    insta::assert_snapshot!(place.run("split hf --source hf --out no"), @r"
    exit 1
    ----
    error: hf/data/train-00000-of-00002.parquet#0: not a file of its own, so that no list can name it
    hint: build it directly: `lift-data build` takes the same settings
    ");
    assert_eq!(place.files("no").len(), 0);
}
