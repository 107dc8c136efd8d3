//! Tables of every form as sources, and what is chosen of them.

use std::fs;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch,
};
use arrow::datatypes::Int64Type;
use arrow::ipc::writer::{FileWriter, StreamWriter};
use lift_shards::ShardReader;
use lift_shards::manifest::Manifest;

use super::support::Workplace;
use super::{texts, write_parquet};

/// (path, class) of every row.
fn listed(place: &Workplace, dir: &str) -> Vec<(String, String)> {
    let reader = ShardReader::open(&place.path(dir)).unwrap();
    let names = &reader.manifest().class_names;
    let row = |index| {
        let class = names.name(reader.row(index).label).unwrap();
        (reader.path(index).to_owned(), class.to_owned())
    };
    (0..reader.len()).map(row).collect()
}

fn paths(place: &Workplace, dir: &str) -> Vec<String> {
    listed(place, dir)
        .into_iter()
        .map(|(path, _)| path)
        .collect()
}

fn pairs(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

/// Twelve images of three sites in `img/`, and a table of them in which a column says the split.
const META: &str = "\
path,label,split,site,width,license,day
0.png,ant,train,north,40,cc,2024-05-01
1.png,ant,train,north,64,cc,2024-05-02
2.png,ant,train,south,64,proprietary,2024-05-03
3.png,ant,train,south,90,cc,2024-05-04
4.png,bee,train,north,64,cc,2024-05-05
5.png,bee,train,east,80,,2024-05-06
6.png,bee,train,east,64,cc,2024-05-07
7.png,cow,train,south,10,proprietary,2024-05-08
8.png,ant,test,west,64,cc,2024-06-01
9.png,bee,test,west,64,cc,2024-06-02
10.png,bee,test,north,12,cc,2024-06-03
11.png,ant,test,west,64,cc,2024-06-04
";

fn meta(place: &Workplace) {
    for i in 0..12 {
        place.image(&format!("img/{i}.png"), 6 + i, 5);
    }
    place.write("meta.csv", META);
}

fn build(place: &Workplace, arguments: &str) -> String {
    place.run(&format!(
        "build table --source meta.csv --root img --encoding original {arguments}"
    ))
}

#[test]
fn a_single_table_names_its_splits() {
    let place = Workplace::new();
    meta(&place);
    insta::assert_snapshot!(build(&place, "--out out"), @r"
    exit 0
    ----
    train: 8 images of 3 classes, 3.6 kB in 1 shard, [time] -> out/train
    test: 4 images of 3 classes, 2.6 kB in 1 shard, [time] -> out/test
    ");
    let train = pairs(&[
        ("0.png", "ant"),
        ("1.png", "ant"),
        ("2.png", "ant"),
        ("3.png", "ant"),
        ("4.png", "bee"),
        ("5.png", "bee"),
        ("6.png", "bee"),
        ("7.png", "cow"),
    ]);
    assert_eq!(listed(&place, "out/train"), train);
    let test = pairs(&[
        ("8.png", "ant"),
        ("9.png", "bee"),
        ("10.png", "bee"),
        ("11.png", "ant"),
    ]);
    assert_eq!(listed(&place, "out/test"), test);
    // A plain table: the format stays what it was.
    let manifest = Manifest::load(&place.path("out/train")).unwrap();
    assert_eq!(
        (manifest.format_version, manifest.dataset.as_str()),
        (2, "table")
    );

    place.write(
        "odd.csv",
        "path,label,split\n0.png,0,train\n1.png,0,holdout\n",
    );
    insta::assert_snapshot!(place.run("build table --source odd.csv --root img --out odd"), @r"
    exit 1
    ----
    error: odd.csv:3: `holdout` in column `split` is no split
    hint: splits are train, val or test (validation, dev, eval); name another column with --split-column
    ");
    place.write(
        "odd.csv",
        "path,label,fold\n0.png,0,dev\n1.png,0,Train\n2.png,1,train\n",
    );
    insta::assert_snapshot!(place.run("stats odd.csv"), @r"
    exit 0
                                   all
    images                           3
    classes                          2
    largest class                    2
    smallest class                   1
    imbalance ratio                2.0
    Gini                         0.167
    many (> 100): classes            -
    many (> 100): images             -
    medium (20 to 100): classes      -
    medium (20 to 100): images       -
    few (< 20): classes              2
    few (< 20): images               3

    label  class  band  all
        0  0      few     2
        1  1      few     1
    ----
    ");
    let said = place.run("build table --source odd.csv --split-column fold --root img --out odd");
    assert!(said.starts_with("exit 0"), "{said}");
    assert_eq!(paths(&place, "odd/train"), ["1.png", "2.png"]);
    assert_eq!(paths(&place, "odd/test"), ["0.png"]);
    // A table that is called for a split says no other.
    place.write(
        "t/train.csv",
        "path,label,split\n0.png,0,train\n1.png,0,test\n",
    );
    insta::assert_snapshot!(place.run("build table --source t --root img --split train --out t2"), @r"
    exit 1
    ----
    error: t/train.csv:3: column `split` says `test`, and the file is called for the train split
    hint: rename the column, or give the rows of all splits as one table
    ");
}

#[test]
fn every_form_says_the_same() {
    let place = Workplace::new();
    meta(&place);
    let rows: Vec<Vec<&str>> = META
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    let column = |nth: usize| texts(rows.iter().map(|row| row[nth]));
    let columns = || -> Vec<(&str, ArrayRef)> {
        vec![
            ("path", column(0)),
            ("label", column(1)),
            ("split", column(2)),
        ]
    };
    write_parquet(&place.path("a.parquet"), columns(), None);
    let batch = RecordBatch::try_from_iter(columns()).unwrap();
    let create = |name: &str| fs::File::create(place.path(name)).unwrap();
    let mut file = FileWriter::try_new(create("b.arrow"), &batch.schema()).unwrap();
    file.write(&batch).unwrap();
    file.finish().unwrap();
    let mut stream = StreamWriter::try_new(create("c.arrow"), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    stream.finish().unwrap();
    let line = |row: &Vec<&str>| {
        let [path, label, split] = [row[0], row[1], row[2]];
        format!(
            "{{\"split\": {split:?}, \"path\": {path:?}, \"label\": {label:?}, \"boxes\": [1, 2]}}\n"
        )
    };
    place.write(
        "d.jsonl",
        &(String::from("\n") + &rows.iter().map(line).collect::<String>()),
    );
    let tabs: String = META.replace(',', "\t");
    let utf_16: Vec<u8> = "\u{feff}"
        .encode_utf16()
        .chain(tabs.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    fs::write(place.path("e.tsv"), utf_16).unwrap();
    place.write(
        "f.csv",
        &format!("\u{feff}{}", META.replace(',', ";").replace('\n', "\r\n")),
    );
    let said = build(&place, "--out out");
    assert!(said.starts_with("exit 0"), "{said}");
    for name in [
        "a.parquet",
        "b.arrow",
        "c.arrow",
        "d.jsonl",
        "e.tsv",
        "f.csv",
    ] {
        let said = place.run(&format!(
            "build table --source {name} --root img --encoding original --out of-{name}"
        ));
        assert!(said.starts_with("exit 0"), "{name}: {said}");
        for split in ["train", "test"] {
            let built = |out: &str| listed(&place, &format!("{out}/{split}"));
            assert_eq!(built(&format!("of-{name}")), built("out"), "{name}");
        }
    }
    for (name, text) in [
        ("g.jsonl", "{\"path\": \"0.png\", \"label\": 0}\n[1]\n"),
        ("h.arrow", "ARROW1 it is not"),
        ("i.arrow", ""),
        ("j.csv", "path,label,path\n0.png,0,1\n"),
    ] {
        place.write(name, text);
    }
    insta::assert_snapshot!(place.run("build table --source g.jsonl --split test --out no"), @r#"
    exit 1
    ----
    error: g.jsonl:2: not a JSON object: invalid type: sequence, expected a map at line 1 column 0
    hint: JSON lines hold one object a line, such as {"path": "a.jpg", "label": 0}
    "#);
    for name in ["h.arrow", "i.arrow"] {
        let said = place.run(&format!(
            "build table --source {name} --split test --out no"
        ));
        assert!(
            said.starts_with(&format!(
                "exit 1\n----\nerror: {name}: cannot read as Arrow: "
            )),
            "{said}"
        );
    }
    insta::assert_snapshot!(place.run("build table --source j.csv --split test --out no"), @r"
    exit 1
    ----
    error: j.csv: two columns are called `path`
    hint: give each column a name of its own
    ");
    insta::assert_snapshot!(place.run("build table --source img --split test --out no"), @r"
    exit 1
    ----
    error: img: it is no table, nor a folder with a table a split
    hint: tables end in csv, tsv, jsonl, ndjson, parquet, arrow, feather
    ");
}

#[test]
fn labels_are_whole_numbers_booleans_or_text() {
    let place = Workplace::new();
    meta(&place);
    let names = texts((0..4).map(|i| ["0.png", "1.png", "2.png", "3.png"][i]));
    let label = |name: &str, column: ArrayRef| {
        write_parquet(
            &place.path(name),
            vec![("path", names.clone()), ("label", column)],
            None,
        );
        place.run(&format!(
            "build table --source {name} --root img --split test --out of-{name}"
        ))
    };
    let labels = |name: &str| -> Vec<u32> {
        let reader = ShardReader::open(&place.path(&format!("of-{name}/test"))).unwrap();
        reader.rows().iter().map(|row| row.label).collect()
    };
    let floats = |values: [f64; 4]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
    label("whole.parquet", floats([10.0, 2.0, 0.0, 10.0]));
    assert_eq!(labels("whole.parquet"), [10, 2, 0, 10]);
    label(
        "flags.parquet",
        Arc::new(BooleanArray::from(vec![true, false, true, true])),
    );
    assert_eq!(labels("flags.parquet"), [1, 0, 1, 1]);
    assert_eq!(listed(&place, "of-flags.parquet/test")[1].1, "false");
    insta::assert_snapshot!(label("a.parquet", floats([0.0, 1.0, 1.5, 2.0])), @r"
    exit 1
    ----
    error: a.parquet: row 2: label 1.5 is no whole number
    hint: every row needs a label: a whole number from 0, or a class name
    ");
    insta::assert_snapshot!(label("b.parquet", floats([0.0, f64::NAN, 1.5, 2.0])), @r"
    exit 1
    ----
    error: b.parquet: row 1: the label is empty
    hint: every row needs a label: a whole number from 0, or a class name
    ");
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(
        (0..4).map(|i| Some(vec![Some(i), Some(7)])),
    );
    insta::assert_snapshot!(label("c.parquet", Arc::new(lists)), @r"
    exit 1
    ----
    error: c.parquet: column `label` holds List(Int64)
    hint: labels are whole numbers, booleans or class names, paths are text; take the part that says it into a column of its own
    ");
    let days = arrow::array::Date32Array::from(vec![1, 2, 3, 4]);
    label("days.parquet", Arc::new(days));
    assert_eq!(listed(&place, "of-days.parquet/test")[0].1, "1970-01-02");
    place.write("d.csv", "path,label\n0.png,3.0\n1.png,0\n2.png,0.5\n");
    insta::assert_snapshot!(place.run("build table --source d.csv --root img --split test --out d"), @r"
    exit 1
    ----
    error: d.csv:4: label 0.5 is no whole number
    hint: labels are whole numbers from 0 or class names; with --classnames a name may look like a number
    ");
    place.write("d.csv", "path,label\n0.png,3.0\n1.png,0\n2.png,11.0\n");
    place.run("build table --source d.csv --root img --split test --out d");
    let reader = ShardReader::open(&place.path("d/test")).unwrap();
    assert_eq!(
        reader
            .rows()
            .iter()
            .map(|row| row.label)
            .collect::<Vec<_>>(),
        [3, 0, 11]
    );
}

#[test]
fn an_sql_condition_chooses() {
    let place = Workplace::new();
    meta(&place);
    let words = |condition: &str, out: &str| {
        place.run_words(&[
            "build", "table", "--source", "meta.csv", "--root", "img", "--where", condition,
            "--out", out,
        ])
    };
    insta::assert_snapshot!(words("width >= 64 and license <> 'proprietary'", "a"), @r"
    exit 0
    ----
    note: meta.csv: 7 of 12 images chosen; without images, and left out: 1 class (cow)
    train: 4 images of 2 classes, 1.9 kB in 1 shard, [time] -> a/train
    test: 3 images of 2 classes, 1.9 kB in 1 shard, [time] -> a/test
    ");
    assert_eq!(
        paths(&place, "a/train"),
        ["1.png", "3.png", "4.png", "6.png"]
    );
    assert_eq!(paths(&place, "a/test"), ["8.png", "9.png", "11.png"]);
    let manifest = Manifest::load(&place.path("a/train")).unwrap();
    assert_eq!(manifest.format_version, 3);
    assert_eq!(manifest.class_names.as_slice(), ["ant", "bee"]);
    let chosen = manifest.chosen.unwrap();
    assert_eq!(
        chosen.condition.as_deref(),
        Some("width >= 64 and license <> 'proprietary'")
    );
    // More than one row may be asked for, and the split's name.
    words(
        "split = 'test' or path in (select min(path) from images where split = 'train' group by class)",
        "b",
    );
    assert_eq!(paths(&place, "b/train"), ["0.png", "4.png", "7.png"]);
    assert_eq!(paths(&place, "b/test").len(), 4);
    // The same choice goes on; another is another build.
    insta::assert_snapshot!(words("width >= 65", "a"), @r"
    exit 1
    ----
    note: meta.csv: 2 of 12 images chosen; without images, and left out: 1 class (cow)
    error: meta.csv: the test split has no image
    hint: check that this is the right folder or list
    ");
    insta::assert_snapshot!(words("widht >= 64", "c"), @r#"
    exit 1
    ----
    error: --where `widht >= 64`: not found: unable to find column "widht"
    hint: an SQL condition on path, label, class, split, site, width, license, day; text stands in single quotes
    "#);
    insta::assert_snapshot!(words("width", "c"), @r"
    exit 1
    ----
    error: --where `width`: filter predicate must be of type `Boolean`, got `Int64`
    hint: an SQL condition on path, label, class, split, width, site, license, day; text stands in single quotes
    ");
    insta::assert_snapshot!(words("width >", "c"), @r"
    exit 1
    ----
    error: --where `width >`: sql parser error: Expected: an expression, found: ) at Line: 1, Column: 45
    hint: an SQL condition on path, label, class, split, width, site, license, day; text stands in single quotes
    ");
    insta::assert_snapshot!(words("width > 1000", "c"), @r"
    exit 1
    ----
    error: none of 12 images is left
    hint: check --where, --exclude and --limit; `lift-data query` shows what a table holds
    ");
    // Class folders have paths and classes.
    place.class_folders("photos");
    insta::assert_snapshot!(place.run_words(&["build", "folder", "--source", "photos", "--where", "class <> 'cow' and path not like '%1%'", "--out", "f"]), @r"
    exit 0
    ----
    note: photos: 13 of 22 images chosen; without images, and left out: 1 class (cow)
    train: 11 images of 2 classes, 8.5 kB in 1 shard, [time] -> f/train
    test: 2 images of 2 classes, 1.9 kB in 1 shard, [time] -> f/test
    ");
}

#[test]
fn a_table_is_joined_and_another_leaves_out() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.write(
        "meta.csv",
        "file,site,day\ncat/0.png,a,3\ntrain/cat/1.png,b,4\ndog/2.png,a,\ndog/3.png,c,5\n",
    );
    let run = |arguments: &str| {
        place.run(&format!(
            "build folder --source photos --split train {arguments}"
        ))
    };
    insta::assert_snapshot!(run("--join meta.csv --on path=file --keep-columns all --out a"), @r"
    exit 0
    ----
    note: meta.csv: no row on 12 images, whose columns stay empty
    train: 16 images of 3 classes, 12.0 kB in 1 shard, [time] -> a/train
    ");
    let manifest = Manifest::load(&place.path("a/train")).unwrap();
    let reader = ShardReader::open(&place.path("a/train")).unwrap();
    let kept = reader.kept_columns().unwrap();
    let sites = kept.column_by_name("site").unwrap();
    let sites = sites.as_string_view();
    let days = kept.column_by_name("day").unwrap();
    let days = days.as_any().downcast_ref::<Int64Array>().unwrap();
    let found: Vec<_> = paths(&place, "a/train")
        .into_iter()
        .zip(sites.iter().zip(days.iter()))
        .filter_map(|(path, (site, day))| Some((path, site?, day)))
        .collect();
    let row = |path: &str, site, day| (path.to_owned(), site, day);
    assert_eq!(
        found,
        [
            row("cat/0.png", "a", Some(3)),
            row("cat/1.png", "b", Some(4)),
            row("dog/2.png", "a", None),
            row("dog/3.png", "c", Some(5))
        ]
    );
    assert_eq!(
        manifest.chosen.unwrap().join.unwrap().on.as_deref(),
        Some("path=file")
    );
    insta::assert_snapshot!(run("--join meta.csv --out b --keep-columns all"), @r"
    exit 1
    ----
    error: meta.csv: there is no column `path`
    hint: name the right one with --on; there are file, site, day
    ");
    place.write("twice.csv", "path,x\ncat/0.png,1\n\ncat/0.png,2\n");
    insta::assert_snapshot!(run("--join twice.csv --out b --keep-columns all"), @r"
    exit 1
    ----
    error: twice.csv:4: `cat/0.png` is there already, at twice.csv:2
    hint: a joined table has one row an image; --on names the column
    ");
    place.write("none.csv", "path,x\nCat/0.png,1\n");
    insta::assert_snapshot!(run("--join none.csv --out b --keep-columns all"), @r"
    exit 1
    ----
    error: none.csv: no row of it is of an image
    hint: its `path` are such as `Cat/0.png`, the images' `path` such as `cat/0.png`; other columns are named with --on OURS=THEIRS
    ");
    place.write(
        "bad.csv",
        "path,split\ndog/0.png,train\ndog/1.png,test\ndog/2.png,\nzebra.png,\n",
    );
    insta::assert_snapshot!(run("--exclude bad.csv --out c"), @r"
    exit 0
    ----
    note: bad.csv: 3 images left out; not in the source: 1 image
    note: photos: 19 of 22 images chosen
    train: 14 images of 3 classes, 10.4 kB in 1 shard, [time] -> c/train
    ");
    let kept = paths(&place, "c/train");
    assert!(
        kept.contains(&"dog/1.png".to_owned()) && kept.len() == 14,
        "{kept:?}"
    );
}

#[test]
fn what_a_report_found_is_left_out() {
    let place = Workplace::new();
    place.class_folders("photos");
    fs::copy(
        place.path("photos/test/cat/0.png"),
        place.path("photos/train/cat/copy.png"),
    )
    .unwrap();
    fs::copy(
        place.path("photos/train/dog/11.png"),
        place.path("photos/train/dog/twin.png"),
    )
    .unwrap();
    let said = place.run("build folder --source photos --out shards");
    assert!(said.starts_with("exit 0"), "{said}");
    let said = place.run("report shards --flags found");
    assert!(said.starts_with("exit 0"), "{said}");
    for end in ["csv", "parquet"] {
        // Small gradients are nearly equal: only what is equal is meant.
        let exact = "select * from duplicates where kind = 'exact'";
        let said = place.run_words(&["query", "found", exact, "--out", &format!("exact.{end}")]);
        assert!(said.starts_with("exit 0"), "{said}");
        let said = place.run(&format!(
            "build folder --source photos --exclude exact.{end} --out clean-{end}"
        ));
        assert!(said.starts_with("exit 0"), "{said}");
        let train = paths(&place, &format!("clean-{end}/train"));
        assert!(!train.contains(&"cat/copy.png".to_owned()), "{train:?}");
        assert!(
            train.contains(&"dog/11.png".to_owned()) && !train.contains(&"dog/twin.png".to_owned()),
            "{train:?}"
        );
        assert_eq!(paths(&place, &format!("clean-{end}/test")).len(), 6);
    }
}

#[test]
fn a_limit_keeps_all_classes() {
    let place = Workplace::new();
    place.class_folders("photos");
    let run =
        |arguments: &str| place.run(&format!("build folder --source photos --limit {arguments}"));
    insta::assert_snapshot!(run("8 --out a"), @r"
    exit 0
    ----
    note: photos: 14 of 22 images chosen
    train: 8 images of 3 classes, 6.3 kB in 1 shard, [time] -> a/train
    test: 6 images of 3 classes, 3.7 kB in 1 shard, [time] -> a/test
    ");
    let mut counts = [0; 3];
    for (_, class) in listed(&place, "a/train") {
        counts[["cat", "cow", "dog"]
            .iter()
            .position(|name| *name == class)
            .unwrap()] += 1;
    }
    assert_eq!(counts, [1, 1, 6]);
    insta::assert_snapshot!(run("2 --out b"), @r"
    exit 1
    ----
    error: --limit 2 leaves no image for some of the 3 classes of the train split
    hint: allow one image a class, or choose classes with --where
    ");
}

#[test]
fn groups_stay_together_and_folds_cover_all() {
    let place = Workplace::new();
    let mut table = "path,label,camera\n".to_owned();
    for i in 0..60 {
        place.image(&format!("img/{i}.png"), 5, 5);
        table += &format!("{i}.png,{},c{}\n", ["ant", "bee"][i % 2], i / 5);
    }
    place.write("meta.csv", &table);
    let run = |arguments: &str| {
        place.run(&format!(
            "build table --source meta.csv --root img --keep-columns camera {arguments}"
        ))
    };
    insta::assert_snapshot!(run("--holdout 0.2 --group-by camera --out a"), @r"
    exit 0
    ----
    note: test: 16.7 % of the images, 2 of 12 values of `camera`; of a class 13.3 to 20.0 %
    train: 50 images of 2 classes, 9.0 kB in 1 shard, [time] -> a/train
    test: 10 images of 2 classes, 2.7 kB in 1 shard, [time] -> a/test
    ");
    let cameras = |dir: &str| -> std::collections::BTreeSet<String> {
        let kept = ShardReader::open(&place.path(dir))
            .unwrap()
            .kept_columns()
            .unwrap();
        let column = kept
            .column_by_name("camera")
            .unwrap()
            .as_string_view()
            .clone();
        column.iter().flatten().map(str::to_owned).collect()
    };
    assert!(cameras("a/train").is_disjoint(&cameras("a/test")));
    let mut tested = std::collections::BTreeSet::new();
    for fold in 0..3 {
        let said = run(&format!(
            "--folds 3 --fold {fold} --group-by camera --out fold{fold}"
        ));
        assert!(said.starts_with("exit 0"), "{said}");
        let test = cameras(&format!("fold{fold}/test"));
        assert!(test.is_disjoint(&cameras(&format!("fold{fold}/train"))));
        for camera in test {
            assert!(tested.insert(camera), "a camera is tested twice");
        }
    }
    assert_eq!(tested.len(), 12);
    for wrong in [
        "--folds 3",
        "--fold 1",
        "--folds 3 --fold 3",
        "--group-by camera",
        "--folds 2 --fold 0 --holdout 0.1",
        "--on x",
    ] {
        let said = run(&format!("{wrong} --out no"));
        assert!(said.starts_with("exit 2"), "{wrong}: {said}");
    }
    insta::assert_snapshot!(run("--holdout 0.2 --group-by site --out no"), @r"
    exit 1
    ----
    error: --group-by: the images have no column `site`
    hint: there are camera
    ");
}

#[test]
fn kept_columns_come_back() {
    let place = Workplace::new();
    meta(&place);
    insta::assert_snapshot!(build(&place, "--keep-columns site,width --out a"), @r"
    exit 0
    ----
    train: 8 images of 3 classes, 4.1 kB in 1 shard, [time] -> a/train
    test: 4 images of 3 classes, 3.0 kB in 1 shard, [time] -> a/test
    ");
    insta::assert_snapshot!(build(&place, "--keep-columns site,colour --out b"), @r"
    exit 1
    ----
    error: --keep-columns: there is no column `colour` in the train split
    hint: columns come from the source's table or from --join
    ");
    // Another table is another build.
    place.write("meta.csv", &META.replace("north,40", "south,40"));
    insta::assert_snapshot!(build(&place, "--keep-columns site,width --out a"), @r"
    exit 1
    ----
    error: a/train: holds a finished dataset with other settings: the kept columns or their values differ (--keep-columns)
    hint: give the same settings to go on with it, remove it, or choose another --out
    ");
    insta::assert_snapshot!(place.run("export a/test --out e --format csv"), @r"
    exit 0
    ----
    test: 4 rows -> e/test.csv
    ");
    insta::assert_snapshot!(place.read("e/test.csv").replace('\r', ""), @r"
    id,path,label,class,width,height,num_bytes,checksum,file,site,table_width
    0,8.png,0,ant,14,5,161,cd4b5c7592c7175f,,west,64
    1,9.png,1,bee,15,5,166,d174b893ffba162a,,west,64
    2,10.png,1,bee,16,5,163,cd79a2abca9f103e,,north,12
    3,11.png,0,ant,17,5,167,0cc7fb43e47c118d,,west,64
    ");
    assert!(place.run("verify a").starts_with("exit 0"));
    insta::assert_snapshot!(place.run("inspect a/test --row 2"), @r"
    exit 0
    dataset       table test
    written by    lift-data 0.1.0 (libjpeg-turbo)
    format        3
    images        4
    classes       3
    encoding      original
    resized       sizes kept
    left out      0
    shards        1
    bytes         3.0 kB
    kept columns  site, table_width

    test-00000.parquet: 4 rows, 1 row group(s)
    message arrow_schema {
      REQUIRED INT64 id;
      REQUIRED BYTE_ARRAY path (STRING);
      OPTIONAL INT64 label;
      REQUIRED INT32 width;
      REQUIRED INT32 height;
      REQUIRED INT32 num_bytes;
      REQUIRED INT64 checksum (INTEGER(64,false));
      OPTIONAL BYTE_ARRAY site (STRING);
      OPTIONAL INT64 table_width;
      OPTIONAL group image {
        OPTIONAL BYTE_ARRAY bytes;
        OPTIONAL BYTE_ARRAY path (STRING);
      }
    }

    row          2
    id           2
    path         10.png
    class        1 (bee)
    pixels       16x5
    bytes        163
    checksum     cd79a2abca9f103e
    shard        test-00000.parquet
    site         north
    table_width  12
    ----
    ");
}

#[test]
fn shards_are_a_source() {
    let place = Workplace::new();
    meta(&place);
    for encoding in ["original", "rgb8"] {
        let said = place.run(&format!("build table --source meta.csv --root img --encoding {encoding} --keep-columns all --out {encoding}"));
        assert!(said.starts_with("exit 0"), "{said}");
    }
    // Taken as they are, whatever they are: the bytes, the columns, the settings.
    for encoding in ["original", "rgb8"] {
        let out = format!("again-{encoding}");
        let said = place.run(&format!(
            "build shards --source {encoding} --keep-columns all --shard-mib 1 --out {out}"
        ));
        assert!(said.starts_with("exit 0"), "{said}");
        for split in ["train", "test"] {
            let (old, new) = (format!("{encoding}/{split}"), format!("{out}/{split}"));
            assert_eq!(super::rows(&place, &old), super::rows(&place, &new));
            let [before, after] = [&old, &new].map(|dir| Manifest::load(&place.path(dir)).unwrap());
            assert_eq!(
                (before.encoding, before.short_side, &before.columns),
                (after.encoding, after.short_side, &after.columns)
            );
            let kept = |dir: &str| {
                ShardReader::open(&place.path(dir))
                    .unwrap()
                    .kept_columns()
                    .unwrap()
            };
            assert_eq!(kept(&old), kept(&new));
        }
    }
    insta::assert_snapshot!(place.run_words(&["build", "shards", "--source", "rgb8", "--where", "site = 'north' and width > 6", "--split", "train", "--encoding", "png", "--out", "north"]), @r"
    exit 0
    ----
    note: rgb8: 3 of 12 images chosen; without images, and left out: 1 class (cow)
    train: 2 images of 2 classes, 2.8 kB in 1 shard, [time] -> north/train
    ");
    assert_eq!(paths(&place, "north/train"), ["1.png", "4.png"]);
    // Pixels are the same as those of the files.
    let mut decoder = lift_image::decode::Decoder::default();
    let [pixels, png] =
        ["rgb8/train", "north/train"].map(|dir| ShardReader::open(&place.path(dir)).unwrap());
    let first = pixels.rgb(1, &mut decoder).unwrap().pixels.to_vec();
    assert_eq!(png.rgb(0, &mut decoder).unwrap().pixels, first);
    // Merged by the classes' names.
    place.class_folders("photos");
    place.run("build folder --source photos --encoding original --out more");
    insta::assert_snapshot!(place.run("build shards --source original --source more --out merged"), @r"
    exit 0
    ----
    train: 24 images of 5 classes, 9.8 kB in 1 shard, [time] -> merged/train
    test: 10 images of 5 classes, 5.3 kB in 1 shard, [time] -> merged/test
    ");
    let merged = listed(&place, "merged/train");
    assert_eq!(merged.len(), 8 + 16);
    assert!(merged.contains(&("cat/0.png".to_owned(), "cat".to_owned())));
    assert!(merged.contains(&("7.png".to_owned(), "cow".to_owned())));
    insta::assert_snapshot!(place.run("build shards --source original --source rgb8 --out no"), @r"
    exit 2
    ----
    error: the shards to be merged are stored by different settings; say with --encoding (and --short-side) how all of them are to be stored

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(place.run("build shards --source original --source original --out no"), @r"
    exit 1
    ----
    error: original: listed more than once, images: 12
      0.png: in train (image 0), in train (image 8)
      1.png: in train (image 1), in train (image 9)
      2.png: in train (image 2), in train (image 10)
      3.png: in train (image 3), in train (image 11)
      4.png: in train (image 4), in train (image 12)
      and 7 more
    hint: take out all but one line of each, or take them as they are with --allow-repeats
    ");
    insta::assert_snapshot!(place.run("build shards --source photos --out no"), @r"
    exit 1
    ----
    error: photos: holds images, and shards are wanted
    hint: build shards of them first: lift-data build folder --source photos --out OUT
    ");
    insta::assert_snapshot!(place.run("build shards --source rgb8 --encoding original --out no"), @r"
    exit 2
    ----
    error: --encoding original keeps files, and the shards hold pixels; choose png, which loses nothing

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(place.run("build folder --source photos --source img --out no"), @r"
    exit 2
    ----
    error: more than one --source is for shards, not for folder

    For more information, try '--help'.
    ");
    // A validation split of the training split.
    let said = place.run("build shards --source original --holdout val=0.3 --out val");
    assert!(said.starts_with("exit 0"), "{said}");
    assert_eq!(
        paths(&place, "val/train").len() + paths(&place, "val/val").len(),
        8
    );
}

#[test]
fn questions_are_asked_in_sql() {
    let place = Workplace::new();
    meta(&place);
    build(&place, "--keep-columns site --out shards");
    let ask = |path: &str, sql: &str| place.run_words(&["query", path, sql]);
    insta::assert_snapshot!(ask("shards", "select class, count(*) as n, avg(width) as width from train group by class order by n desc"), @r"
    exit 0
    class  n  width
    ant    4    7.5
    bee    3     11
    cow    1     13
    ----
    ");
    insta::assert_snapshot!(ask("shards", "select * from classes where test = 0"), @r"
    exit 0
    label  class  train  test  band
        2  cow        1     0  few
    ----
    ");
    insta::assert_snapshot!(ask("shards/test", "select path, site from test where site = 'west' order by path desc limit 2"), @r"
    exit 0
    path   site
    9.png  west
    8.png  west
    ----
    ");
    insta::assert_snapshot!(ask("meta.csv", "select site, count(*) as n from data where day >= '2024-06' group by site order by site"), @r"
    exit 0
    site   n
    north  1
    west   3
    ----
    ");
    insta::assert_snapshot!(ask("meta.csv", "select count(*) from meta"), @r"
    exit 0
    len
     12
    ----
    ");
    insta::assert_snapshot!(place.run_words(&["query", "shards", "select t.path, m.license from train t join m on t.path = m.path where m.license is null", "--with", "m=meta.csv", "--json"]), @r#"
    exit 0
    [
      {
        "license": null,
        "path": "5.png"
      }
    ]
    ----
    "#);
    place.class_folders("photos");
    insta::assert_snapshot!(ask("photos", "select class, train, test from classes order by train"), @r"
    exit 0
    class  train  test
    cow        1     2
    cat        3     2
    dog       12     2
    ----
    ");
    insta::assert_snapshot!(ask("shards", "select nothing from train"), @r#"
    exit 1
    ----
    error: the query cannot be answered: not found: unable to find column "nothing"
    hint: the tables are train (id, path, label, class, width, height, num_bytes, checksum, shard, site); test (id, path, label, class, width, height, num_bytes, checksum, shard, site); classes (label, class, train, test, band)
    "#);
    insta::assert_snapshot!(ask("shards", "select * from validation"), @r"
    exit 1
    ----
    error: the query cannot be answered: relation 'validation' was not found
    hint: the tables are train (id, path, label, class, width, height, num_bytes, checksum, shard, site); test (id, path, label, class, width, height, num_bytes, checksum, shard, site); classes (label, class, train, test, band)
    ");
    insta::assert_snapshot!(ask("shards", "selec"), @r"
    exit 1
    ----
    error: the query cannot be answered: sql parser error: Expected: an SQL statement, found: selec at Line: 1, Column: 1
    hint: the tables are train (id, path, label, class, width, height, num_bytes, checksum, shard, site); test (id, path, label, class, width, height, num_bytes, checksum, shard, site); classes (label, class, train, test, band)
    ");
    for end in ["csv", "json", "parquet"] {
        let out = format!("answer.{end}");
        let said = place.run_words(&[
            "query",
            "meta.csv",
            "select path, width from data where width < 41 order by path",
            "--out",
            &out,
        ]);
        assert!(said.starts_with("exit 0"), "{said}");
        if end != "json" {
            insta::allow_duplicates! { insta::assert_snapshot!(ask(&out, "select * from data"), @r"
            exit 0
            path    width
            0.png      40
            10.png     12
            7.png      10
            ----
            "); }
        }
    }
    assert_eq!(
        place.read("answer.csv"),
        "path,width\n0.png,40\n10.png,12\n7.png,10\n"
    );
    let said = place.run_words(&["query", "meta.csv", "select 1", "--out", "x.txt"]);
    assert!(said.starts_with("exit 2"), "{said}");
}

/// Names that stand in the way: dots, our own, twice, none.
#[test]
fn columns_may_be_called_anything() {
    let place = Workplace::new();
    place.image("img/0.png", 4, 4);
    place.image("img/1.png", 4, 4);
    let heading =
        "path,label,gps.lat,row,width,table_width,class,table_class,file,split,confidence";
    place.write(
        "m.csv",
        &format!("{heading}\n0.png,ant,1.5,7,8,9,x,y,f,0,1\n1.png,bee,2.5,8,9,10,x,z,g,1,2\n"),
    );
    let build = |arguments: &[&str]| {
        let fixed = [
            "build", "table", "--source", "m.csv", "--root", "img", "--split", "test", "--out",
        ];
        place.run_words(&[&fixed[..], arguments].concat())
    };
    insta::assert_snapshot!(build(&["all", "--keep-columns", "all"]), @r"
    exit 0
    ----
    note: m.csv: column `split` names no splits, and is a column as others are
    test: 2 images of 2 classes, 2.6 kB in 1 shard, [time] -> all/test
    ");
    let names = |dir: &str| -> Vec<String> {
        let manifest = Manifest::load(&place.path(dir)).unwrap();
        manifest
            .columns
            .into_iter()
            .map(|column| column.name)
            .collect()
    };
    assert_eq!(
        names("all/test"),
        [
            "gps.lat",
            "row",
            "table_width",
            "table_table_width",
            "table_class",
            "table_table_class",
            "file",
            "table_split",
            "confidence"
        ]
    );
    insta::assert_snapshot!(place.run_words(&["query", "all", "select \"gps.lat\" as lat, \"row\", table_table_width as w from test"]), @r"
    exit 0
    lat  row   w
    1.5    7   9
    2.5    8  10
    ----
    ");
    place.run("export all --out e --format csv");
    assert!(
        place
            .read("e/test.csv")
            .starts_with("id,path,label,class,width,height,num_bytes,checksum,file,gps.lat,row,")
    );
    assert!(place.read("e/test.csv").contains(",table_file,"));
    let said = build(&["some", "--where", "\"row\" = 8 and table_class = 'x'"]);
    assert!(said.contains("1 of 2 images chosen"), "{said}");
    let said = place.run("build shards --source all --out again");
    assert!(said.starts_with("exit 0"), "{said}");
    assert_eq!(names("again/test"), names("all/test"));
    let said = place.run("build shards --source all --keep-columns none --out bare");
    assert!(said.starts_with("exit 0"), "{said}");
    assert!(names("bare/test").is_empty());
    write_parquet(
        &place.path("m.parquet"),
        vec![
            ("path", texts(["0.png", "1.png"])),
            ("a.b", texts(["p", "q"])),
        ],
        None,
    );
    let said = build(&["joined", "--join", "m.parquet", "--keep-columns", "a.b"]);
    assert!(said.starts_with("exit 0"), "{said}");
    place.write("m.csv", ",path,label\n0,0.png,ant\n1,1.png,bee\n");
    insta::assert_snapshot!(build(&["no", "--keep-columns", "all"]), @r"
    exit 1
    ----
    error: --keep-columns: a column of the table has no name
    hint: name the columns that are wanted instead of `all` (pandas writes its index so)
    ");
    place.image("flat/ant/0.png", 4, 4);
    let said = place.run("build folder --source flat --split test --keep-columns all --out no");
    assert!(
        said.contains("error: --keep-columns: the test split has no columns"),
        "{said}"
    );
}

#[test]
fn moments_are_text_in_utc_and_groups_are_as_written() {
    let place = Workplace::new();
    for i in 0..4 {
        place.image(&format!("img/{i}.png"), 4, 4);
    }
    let paths = texts(["0.png", "1.png", "2.png", "3.png"]);
    let labels = texts(["a", "b", "a", "b"]);
    let taken = arrow::array::TimestampMillisecondArray::from(vec![0, 1, 86_400_000, 2])
        .with_timezone("Europe/Berlin");
    write_parquet(
        &place.path("m.parquet"),
        vec![
            ("path", paths),
            ("label", labels),
            ("taken", Arc::new(taken)),
        ],
        None,
    );
    let said = place.run_words(&[
        "query",
        "m.parquet",
        "select path from data where taken >= '1970-01-02'",
    ]);
    assert!(said.contains("2.png") && !said.contains("1.png"), "{said}");
    place.write(
        "m.csv",
        "path,label,version\n0.png,a,1.1\n1.png,a,1.10\n2.png,b,1.1\n3.png,b,1.10\n",
    );
    let said =
        place.run("build table --source m.csv --root img --holdout 0.5 --group-by version --out s");
    assert!(
        said.contains("50.0 % of the images, 1 of 2 values"),
        "{said}"
    );
}

/// Splits that are made, other spellings of splits and paths, and another data set's images.
#[test]
fn what_is_left_out_is_what_was_named() {
    let place = Workplace::new();
    for i in 0..10 {
        for class in ["ant", "bee"] {
            place.image(&format!("flat/{class}/{i}.png"), 4, 4);
        }
    }
    place.run("build folder --source flat --holdout 0.3 --out s");
    let test = paths(&place, "s/test");
    let excluded = |out: &str, rows: &str| {
        place.write("x.csv", rows);
        place.run(&format!(
            "build folder --source flat --holdout 0.3 --exclude x.csv --out {out}"
        ))
    };
    let all = |out: &str| {
        [
            paths(&place, &format!("{out}/train")),
            paths(&place, &format!("{out}/test")),
        ]
        .concat()
    };
    let said = excluded("a", &format!("path,split\n{},test\n", test[0]));
    assert!(
        said.starts_with("exit 0") && !all("a").contains(&test[0]),
        "{said}"
    );
    assert_eq!(all("a").len(), 19);
    excluded("b", "path,split\n./ant//0.png,Training\nbee\\1.png,\n");
    let left = all("b");
    assert!(
        left.len() == 18
            && !left.contains(&"ant/0.png".to_owned())
            && !left.contains(&"bee/1.png".to_owned())
    );
    insta::assert_snapshot!(excluded("c", "path,split\nant/0.png,holdout\n"), @r"
    exit 1
    ----
    error: x.csv:2: `holdout` is no split
    hint: splits are train, val or test; a row without one is of all splits
    ");
    // Of a pair with another data set ours goes; two of theirs are nothing to us.
    let pairs = "split,path,other_split,other_path\ntest,ant/3.png,other train,ant/4.png\nother train,bee/5.png,other test,bee/6.png\n";
    let said = excluded("d", pairs);
    assert!(
        said.starts_with("exit 0")
            && all("d").len() == 19
            && !all("d").contains(&"ant/3.png".to_owned()),
        "{said}"
    );
    // The same spellings in a joined table.
    place.write("j.csv", "path,site\n./ant/0.png,x\nant//1.png,x\n");
    place.run("build folder --source flat --split train --join j.csv --keep-columns site --out j");
    let kept = ShardReader::open(&place.path("j/train"))
        .unwrap()
        .kept_columns()
        .unwrap();
    assert_eq!(kept.column(0).null_count(), 18);
}

#[test]
fn a_limit_asks_nothing_of_other_splits() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.write("photos/test/zebra/0.png", "no image");
    let said = place.run("build folder --source photos --split train --limit 5 --out a");
    assert!(said.starts_with("exit 0"), "{said}");
    // A column `split` of something else is a column.
    place.write(
        "m.csv",
        "path,label,split\ntrain/cat/0.png,0,3\ntrain/cat/1.png,1,4\n",
    );
    insta::assert_snapshot!(place.run("build table --source m.csv --root photos --split test --out b"), @r"
    exit 0
    ----
    note: m.csv: column `split` names no splits, and is a column as others are
    test: 2 images of 2 classes, 2.3 kB in 1 shard, [time] -> b/test
    ");
    let keys: String = (0..9000)
        .map(|key| format!("{{\"k{key}\": 1}}\n"))
        .collect();
    place.write("k.jsonl", &keys);
    insta::assert_snapshot!(place.run_words(&["query", "k.jsonl", "select count(*) from data"]), @r"
    exit 1
    ----
    error: k.jsonl:8193: 8192 different members by this line
    hint: lines of a table have the same members; put what differs into one of text
    ");
    insta::assert_snapshot!(place.run_words(&["query", "m.csv", "select label, array_agg(path) as p from data group by label", "--json"]), @r"
    exit 1
    ----
    error: column `p` of the answer holds lists or structures
    hint: ask for one value a cell, such as array_to_string(array_agg(path), ' ')
    ");
    for (arguments, reason) in [
        (
            "folder --source photos --join m.csv --out no",
            "--join needs --where, --group-by or --keep-columns",
        ),
        (
            "shards --source a --enlarge --out no",
            "--enlarge has no effect on shards without --short-side",
        ),
        (
            "shards --source a --follow-outside --out no",
            "--follow-outside is for images that are files",
        ),
        (
            "shards --source a --max-pixels 9 --out no",
            "--max-pixels has no effect on shards",
        ),
    ] {
        let said = place.run(&format!("build {arguments}"));
        assert!(
            said.starts_with("exit 2") && said.contains(reason),
            "{said}"
        );
    }
    assert!(place.run("bench shards --source a").starts_with("exit 2"));
    // What was cut to a ratio stays known as such.
    place.run("build folder --source photos --split train --imbalance-ratio 3 --out tail");
    place.run("build shards --source tail --out copy");
    assert_eq!(
        Manifest::load(&place.path("copy/train"))
            .unwrap()
            .imbalance_ratio,
        Some(3.0)
    );
}
