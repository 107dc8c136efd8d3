//! Hugging Face Parquet that stores paths of images in place of their bytes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, StringArray, StructArray};
use arrow::datatypes::{DataType, Field};

use crate::support::{Workplace, rows};
use crate::{FEATURES, expected, numbers, photos, write_parquet};

/// An image's bytes, its path, and its label.
type Stored<'a> = (Option<&'a [u8]>, Option<String>, i64);

fn write(file: &Path, images: &[Stored<'_>], path_first: bool) {
    let bytes: ArrayRef = Arc::new(BinaryArray::from_iter(images.iter().map(|image| image.0)));
    let paths: ArrayRef = Arc::new(StringArray::from_iter(
        images.iter().map(|image| image.1.as_deref()),
    ));
    let mut fields = vec![
        (Arc::new(Field::new("bytes", DataType::Binary, true)), bytes),
        (Arc::new(Field::new("path", DataType::Utf8, true)), paths),
    ];
    if path_first {
        fields.reverse();
    }
    let image: ArrayRef = Arc::new(StructArray::from(fields));
    let kinds = numbers(images.iter().map(|image| image.2));
    write_parquet(file, vec![("img", image), ("kind", kinds)], Some(FEATURES));
}

fn label(class: &str) -> i64 {
    let names = ["cat", "cow", "dog"];
    names.iter().position(|&name| name == class).unwrap() as i64
}

#[test]
fn paths_and_bytes_may_be_mixed() {
    let place = Workplace::new();
    let photos = photos(&place);
    fs::create_dir(place.path("hf")).unwrap();
    fs::rename(place.path("photos"), place.path("hf/photos")).unwrap();
    let absolute = place.path("hf/photos/train").canonicalize().unwrap();
    // Row groups of five: all by path, some, none. Paths start at the file's folder, or the dataset's, or the system's root.
    let images: Vec<_> = (0..)
        .zip(&photos)
        .map(|(row, (path, class, bytes))| {
            let by_path = match row {
                0..5 => true,
                5..10 => row % 2 == 1,
                _ => false,
            };
            let stored = (!by_path).then_some(bytes.as_slice());
            let path = match row {
                3 => absolute.join(path).display().to_string(),
                7 => format!("photos/train/{path}"),
                _ => format!("train/./{path}"),
            };
            (stored, Some(path), label(class))
        })
        .collect();
    write(
        &place.path("hf/photos/train-0.parquet"),
        &images[..9],
        false,
    );
    write(&place.path("hf/photos/train-1.parquet"), &images[9..], true);
    for threads in [1, 3] {
        let out = format!("out-{threads}");
        insta::allow_duplicates! {
            insta::assert_snapshot!(place.run(&format!("build hf --source hf --subset photos --encoding original --out {out} --threads {threads}")).replace(&out, "out"), @r"
            exit 0
            ----
            train: 16 images of 3 classes, 7.2 kB in 1 shard, [time] -> out/train
            ");
        }
        assert_eq!(rows(&place, &format!("{out}/train")), expected(&photos));
    }
    assert_eq!(place.files("out-1"), place.files("out-3"));
    place.run(
        "build hf --source hf --subset photos --encoding original --order shuffled --out shuffled",
    );
    let mut shuffled = rows(&place, "shuffled/train");
    let mut in_order = expected(&photos);
    shuffled.sort();
    in_order.sort();
    assert_eq!(shuffled, in_order);
}

#[test]
fn a_path_that_leads_to_no_image_is_a_bad_image() {
    let place = Workplace::new();
    let photos = photos(&place);
    let bytes = |i: usize| Some(photos[i].2.as_slice());
    let path = |i: usize| Some(format!("photos/train/{}", photos[i].0));
    write(
        &place.path("train.parquet"),
        &[
            (bytes(0), None, 0),
            (None, Some("photos/train/gone.png".into()), 0),
            (None, path(1), 0),
            (None, None, 0),
            (None, Some(String::new()), 0),
            (bytes(2), Some("https://example.org/a.jpg".into()), 1),
            (bytes(3), None, 2),
        ],
        false,
    );
    insta::assert_snapshot!(place.run("build hf --source train.parquet --split train --encoding original --max-bad 3 --out out"), @r"
    exit 0
    ----
    train: 4 images of 3 classes, 3 bad left out (see quarantine.jsonl), 3.0 kB in 1 shard, [time] -> out/train
    ");
    insta::assert_snapshot!(place.read("out/train/quarantine.jsonl"), @r#"
    {"id":1,"path":"photos/train/gone.png","label":0,"reason":"cannot read: No such file or directory (os error 2)"}
    {"id":3,"path":"train.parquet#3","label":0,"reason":"cannot read: neither the image's bytes nor its path are stored"}
    {"id":4,"path":"train.parquet#4","label":0,"reason":"cannot read: neither the image's bytes nor its path are stored"}
    "#);
    let names: Vec<_> = [0, 1, 2, 3].map(|i| photos[i].2.clone()).into();
    let found: Vec<_> = rows(&place, "out/train")
        .into_iter()
        .map(|row| row.1)
        .collect();
    assert_eq!(found, names);
}

#[test]
fn a_path_may_lead_no_further_than_a_lists() {
    let place = Workplace::new();
    let photos = photos(&place);
    let bytes = Some(photos[0].2.as_slice());
    let image = |path: String| [(None, Some(path), 0), (bytes, None, 1), (bytes, None, 2)];
    write(
        &place.path("hf/train.parquet"),
        &image(format!("../photos/train/{}", photos[0].0)),
        false,
    );
    insta::assert_snapshot!(place.run("build hf --source hf --encoding original --out out"), @r"
    exit 1
    ----
    error: hf/train.parquet#0: `../photos/train/cat/0.png` lies outside of hf
    hint: paths start at the Parquet file's folder, or the dataset's; --follow-outside takes files that lie elsewhere
    ");
    let said = place.run("build hf --source hf --encoding original --follow-outside --out out");
    assert!(said.starts_with("exit 0"), "{said}");
    assert_eq!(rows(&place, "out/train")[0], expected(&photos[..1])[0]);
    // A file alone is named where a class has no image.
    write(
        &place.path("one.parquet"),
        &image("x.png".into())[1..],
        false,
    );
    insta::assert_snapshot!(place.run("build hf --source one.parquet --split train --out out-one"), @r"
    exit 1
    ----
    error: one.parquet: class 0 (cat) has no training image
    hint: every other class has images, as if labels began at 1: they count from 0, so take 1 off each label; or add images of it
    ");
    write(
        &place.path("net/train.parquet"),
        &image("https://example.org/a.jpg".into()),
        false,
    );
    insta::assert_snapshot!(place.run("build hf --source net --out out-net"), @r"
    exit 1
    ----
    error: net/train.parquet#0: only the address of the image is stored, https://example.org/a.jpg
    hint: images are not fetched: download them, and store their bytes or where they lie now
    ");
}
