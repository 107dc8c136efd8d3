//! Tables of every form as sources; below it what is chosen of them, kept and asked.

mod asked;
mod chosen;
mod kept;

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, ListArray, RecordBatch};
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
fn nothing_is_lost_behind_an_open_quote() {
    let place = Workplace::new();
    place.write(
        "q.csv",
        "path,label,note\n0.png,a,ok\n1.png,a,\"oops\n2.png,b,fine\n",
    );
    insta::assert_snapshot!(place.run_words(&["query", "q.csv", "select count(*) as n from data"]), @r"
    exit 1
    ----
    error: q.csv:3: a quote is opened in this row and never closed
    hint: close it, or write it twice where it belongs to the text
    ");
    // A quote that is text, and a line break that is quoted, are none.
    place.write(
        "q.csv",
        "path,label,note\n0.png,a,5\" pipe\n1.png,a,\"two\nlines\"\n",
    );
    let said = place.run_words(&["query", "q.csv", "select count(*) as n from data"]);
    assert!(said.contains("\n2\n"), "{said}");
    // What no whole number of ours holds is text, and costs no other column.
    let large = arrow::array::UInt64Array::from(vec![Some(7), None, Some(u64::MAX)]);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("path", texts(["a", "b", "c"])), ("hash", Arc::new(large))];
    write_parquet(&place.path("u.parquet"), columns, None);
    let said = place.run_words(&[
        "query",
        "u.parquet",
        "select path from data where hash = '18446744073709551615'",
    ]);
    assert!(said.contains("\nc\n"), "{said}");
}

#[test]
fn a_recipe_says_what_flags_say() {
    let place = Workplace::new();
    meta(&place);
    place.write(
        "r.toml",
        "[data]\ndataset = 'table'\nsource = 'meta.csv'\nroot = 'img'\nsplit = 'train'\nkeep_columns = 'site, day'\nwhere = \"width > 10\"\n",
    );
    let said = place.run("build --config r.toml --out a");
    assert!(said.starts_with("exit 0"), "{said}");
    let manifest = Manifest::load(&place.path("a/train")).unwrap();
    let names: Vec<&str> = manifest
        .columns
        .iter()
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(names, ["site", "day"]);
    assert_eq!(manifest.rows, 7);
    place.class_folders("photos");
    place.write(
        "h.toml",
        "[data]\ndataset = 'folder'\nsource = 'photos/train'\nholdout = 0.25\n",
    );
    let said = place.run("build --config h.toml --out b");
    assert!(said.contains("test: 4 images"), "{said}");
}
