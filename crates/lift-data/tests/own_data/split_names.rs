//! The whole name of a file or folder says which split it is, by the same words for every kind of source.

use super::support::{Workplace, rows};
use super::{FEATURES, images, numbers, write_parquet, write_tar};

/// Two classes of two images in `root/FOLDER` for each folder.
fn folders(place: &Workplace, root: &str, folders: &[&str]) {
    for folder in folders {
        for class in ["cat", "dog"] {
            for i in 0..2 {
                place.image(&format!("{root}/{folder}/{class}/{i}.png"), 4, 4);
            }
        }
    }
}

/// A PNG of its own for each number.
fn png(place: &Workplace, number: usize) -> Vec<u8> {
    let path = format!("drawn/{number}.png");
    place.image(&path, 4, 4);
    std::fs::read(place.path(&path)).unwrap()
}

#[test]
fn class_folders_go_by_any_word_in_any_case() {
    let place = Workplace::new();
    for (root, there) in [
        ("valid", &["train", "valid"][..]),
        ("validation", &["TRAINING", "validation"]),
        ("capital", &["train", "Test"]),
    ] {
        folders(&place, root, there);
        let said = place.run(&format!("build folder --source {root} --out out/{root}"));
        assert!(said.starts_with("exit 0\n----\ntrain: 4 images"), "{said}");
        assert!(said.contains("\ntest: 4 images of 2 classes"), "{said}");
    }
    folders(&place, "three", &["train", "dev", "eval", "train_extra"]);
    insta::assert_snapshot!(place.run("build folder --source three --short-side 0 --out out/three"), @r"
    exit 0
    ----
    note: three: of no split, and left out: train_extra/
    train: 4 images of 2 classes, 1.5 kB in 1 shard, [time] -> out/three/train
    val: 4 images of 2 classes, 1.5 kB in 1 shard, [time] -> out/three/val
    test: 4 images of 2 classes, 1.5 kB in 1 shard, [time] -> out/three/test
    ");
    folders(&place, "two", &["train", "val", "valid"]);
    insta::assert_snapshot!(place.run("build folder --source two --out out/two"), @r"
    exit 1
    ----
    error: two: val and valid are names of the test split, and they are not joined
    hint: leave one of them there, or build another split with --split
    ");
}

#[test]
fn a_class_may_be_called_train() {
    let place = Workplace::new();
    for class in ["bus", "car", "train"] {
        place.image(&format!("vehicles/{class}/0.png"), 4, 4);
    }
    let said = place.run("build folder --source vehicles --split train --out out");
    assert!(said.contains("train: 3 images of 3 classes"), "{said}");
    // A folder of classes beside folders of images: it cannot be told.
    place.image("unclear/train/cat/0.png", 4, 4);
    place.image("unclear/bus/0.png", 4, 4);
    insta::assert_snapshot!(place.run("build folder --source unclear --split train --out no"), @r"
    exit 1
    ----
    error: unclear/train: a split or a class? Beside it, bus/ holds images as a class does
    hint: if it is the split, name train/ itself as --source, with --split; if it is a class, move all class folders into a folder of their own, such as train/
    ");
    let said = place.run("build folder --source unclear/train --split train --out inner");
    assert!(said.contains("train: 1 image of 1 class"), "{said}");
}

/// A Parquet file with so many images from `first` on.
fn parquet(place: &Workplace, path: &str, first: usize, count: usize) {
    let bytes: Vec<Vec<u8>> = (first..first + count).map(|i| png(place, i)).collect();
    let columns = vec![
        ("img", images(bytes.iter().map(Vec::as_slice))),
        ("kind", numbers((0..count).map(|i| i as i64 % 3))),
    ];
    write_parquet(&place.path(path), columns, Some(FEATURES));
}

/// The stored bytes of a split.
fn stored(place: &Workplace, dir: &str) -> Vec<Vec<u8>> {
    rows(place, dir)
        .into_iter()
        .map(|(_, bytes)| bytes)
        .collect()
}

#[test]
fn parquet_of_another_split_is_not_joined() {
    let place = Workplace::new();
    for (name, first, count) in [
        ("train", 0, 4),
        ("train_extra", 20, 4),
        ("test", 40, 3),
        ("test_corrupted", 60, 3),
    ] {
        parquet(
            &place,
            &format!("hf/data/{name}-00000-of-00001.parquet"),
            first,
            count,
        );
    }
    let said = place.run("build hf --source hf --encoding original --out out");
    let note = "note: hf: of no split, and left out: data/test_corrupted-00000-of-00001.parquet, data/train_extra-00000-of-00001.parquet\n";
    assert!(said.starts_with(&format!("exit 0\n----\n{note}")), "{said}");
    let pngs =
        |numbers: std::ops::Range<usize>| numbers.map(|i| png(&place, i)).collect::<Vec<_>>();
    assert_eq!(stored(&place, "out/train"), pngs(0..4));
    assert_eq!(stored(&place, "out/test"), pngs(40..43));
    parquet(&place, "dev/data/train-00000-of-00001.parquet", 0, 3);
    parquet(&place, "dev/data/dev-00000-of-00001.parquet", 40, 3);
    place.run("build hf --source dev --encoding original --out of-dev");
    assert_eq!(stored(&place, "of-dev/test"), pngs(40..43));
    // Only names that are nearly a split's: none is taken for it.
    parquet(&place, "only/train_extra-0.parquet", 0, 3);
    insta::assert_snapshot!(place.run("build hf --source only --split train --out no"), @r"
    exit 1
    ----
    error: only: there is no train-*.parquet in it; there are train_extra-0.parquet
    hint: the files of a split are called train-*.parquet or lie in train/; files without such names are one split: say which with --split, or cut it with --holdout
    ");
}

#[test]
fn configurations_are_found_and_chosen() {
    let place = Workplace::new();
    parquet(&place, "hf/default/train/0000.parquet", 0, 3);
    parquet(&place, "hf/default/test-00000-of-00001.parquet", 10, 3);
    place.run("build hf --source hf --encoding original --out one");
    let pngs =
        |numbers: std::ops::Range<usize>| numbers.map(|i| png(&place, i)).collect::<Vec<_>>();
    assert_eq!(stored(&place, "one/train"), pngs(0..3));
    assert_eq!(stored(&place, "one/test"), pngs(10..13));
    parquet(&place, "hf/small/train-00000-of-00001.parquet", 20, 3);
    insta::assert_snapshot!(place.run("build hf --source hf --out no"), @r"
    exit 1
    ----
    error: hf: it has several subsets: default, small
    hint: choose one with --subset of `lift-data build`, or name its folder
    ");
    place.run("build hf --source hf --subset small --split train --encoding original --out small");
    assert_eq!(stored(&place, "small/train"), pngs(20..23));
    insta::assert_snapshot!(place.run("build hf --source hf --subset large --out no"), @r"
    exit 1
    ----
    error: hf: there is no subset large in it
    hint: there are default, small
    ");
    let said = place.run("build folder --source hf --subset large --out no");
    assert!(
        said.contains("--subset is for hf and webdataset, not for folder"),
        "{said}"
    );
}

#[test]
fn tars_may_be_named_for_their_data_set() {
    let place = Workplace::new();
    for (name, first, count) in [
        ("imagenet1k-train-0000", 0, 4),
        ("imagenet1k-validation-00", 10, 2),
    ] {
        let pngs: Vec<_> = (first..first + count).map(|i| png(&place, i)).collect();
        let names: Vec<_> = (0..count)
            .map(|i| (format!("{i}.png"), format!("{i}.cls")))
            .collect();
        let members = names.iter().zip(&pngs).flat_map(|((image, label), png)| {
            [
                (image.as_str(), png.as_slice()),
                (label.as_str(), &b"0"[..]),
            ]
        });
        let members: Vec<_> = members.collect();
        write_tar(&place.path(&format!("wds/{name}.tar")), &members);
    }
    place.run("build webdataset --source wds --encoding original --out out");
    let pngs =
        |numbers: std::ops::Range<usize>| numbers.map(|i| png(&place, i)).collect::<Vec<_>>();
    assert_eq!(stored(&place, "out/train"), pngs(0..4));
    assert_eq!(stored(&place, "out/test"), pngs(10..12));
}

#[test]
fn lists_and_tables_go_by_the_same_words() {
    let place = Workplace::new();
    folders(&place, "photos", &["train", "test"]);
    place.write("lists/Train.txt", "train/cat/0.png 0\ntrain/dog/0.png 1\n");
    place.write("lists/validation.txt", "test/cat/0.png 0\n");
    place.write("lists/train_extra.txt", "train/cat/1.png 0\n");
    place.write("lists/classnames.txt", "cat\ndog\n");
    insta::assert_snapshot!(place.run("build list --source lists --root photos --short-side 0 --out out"), @r"
    exit 0
    ----
    note: lists: of no split, and left out: train_extra.txt
    train: 2 images of 2 classes, 1.3 kB in 1 shard, [time] -> out/train
    test: 1 image of 2 classes, 1.1 kB in 1 shard, [time] -> out/test
    ");
    place.write("lists/train.csv", "path,label\ntrain/cat/1.png,cat\n");
    insta::assert_snapshot!(place.run("build list --source lists --root photos --out no"), @r"
    exit 1
    ----
    error: lists: it holds both tables and lists of splits
    hint: leave one kind there, or name one file as --source, with --split
    ");
    place.write("tables/train.csv", "path,label\ntrain/cat/0.png,cat\n");
    place.write("tables/Valid.CSV", "path,label\ntest/cat/1.png,cat\n");
    let said = place.run("build list --source tables --root photos --split test --out of-tables");
    assert!(said.contains("test: 1 image of 1 class"), "{said}");
    place.write("tables/TRAIN.csv", "path,label\ntrain/cat/1.png,cat\n");
    let said = place.run("build list --source tables --root photos --split train --out no");
    assert!(
        said.contains("error: tables: TRAIN.csv and train.csv are names of the train split"),
        "{said}"
    );
}
