//! Questions in SQL.

use super::{build, meta};
use crate::support::Workplace;

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
    error: the query cannot be answered: only questions are answered, which begin with `select` or `with`
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

#[test]
fn a_reports_table_is_joined_and_asked() {
    let place = Workplace::new();
    place.class_folders("photos");
    place.run("build folder --source photos --out shards");
    assert!(place.run("report shards --flags r").starts_with("exit 0"));
    // Paths are there in train and in test: the rows say which.
    for source in ["folder --source photos", "shards --source shards"] {
        let words: Vec<&str> = source.split(' ').collect();
        let fixed = [
            "--join",
            "r/measures.parquet",
            "--where",
            "table_width > 9 or sharpness >= 0 and width >= 9",
        ];
        let to = format!("of-{}", words[0]);
        let out = ["--keep-columns", "sharpness,luma", "--out", &to];
        let said = place.run_words(&[&["build"][..], &words[..], &fixed[..], &out[..]].concat());
        if words[0] == "folder" {
            assert!(said.contains("unable to find column"), "{said}");
        } else {
            assert!(said.starts_with("exit 0"), "{said}");
        }
    }
    let said = place.run_words(&[
        "build",
        "folder",
        "--source",
        "photos",
        "--join",
        "r/measures.parquet",
        "--where",
        "sharpness >= 0 and (width > 10 or class = 'cow')",
        "--out",
        "f",
    ]);
    assert!(said.contains("of 22 images chosen"), "{said}");
    let sql = "select path, split from measures where width > 12 order by split, path limit 3";
    let said = place.run_words(&["query", "r", sql, "--out", "wide.jsonl"]);
    assert!(said.starts_with("exit 0"), "{said}");
    let said = place.run("build folder --source photos --exclude wide.jsonl --out g");
    assert!(said.contains("wide.jsonl: 3 images left out"), "{said}");
    for (arguments, reason) in [
        (
            &["query", "shards", "select 1", "--with", "train=wide.jsonl"][..],
            "there is a table of that name",
        ),
        (
            &["report", "shards", "--fail-if", "exif_rotated > 0"],
            "exif_rotated",
        ),
        (
            &["query", "shards", "drop table train"],
            "only questions are answered",
        ),
    ] {
        let said = place.run_words(arguments);
        assert!(
            !said.starts_with("exit 0") && said.contains(reason),
            "{said}"
        );
    }
}
