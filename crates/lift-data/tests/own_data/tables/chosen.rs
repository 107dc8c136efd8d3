//! What is chosen of a source: conditions, joins, exclusions, limits, groups.

use std::fs;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array};
use lift_shards::ShardReader;
use lift_shards::manifest::Manifest;

use super::{listed, meta, paths};
use crate::support::Workplace;
use crate::{texts, write_parquet};

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
    note: meta.csv: 7 of 12 images chosen; without images, and left out: 1 class (`cow`)
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
    note: meta.csv: 2 of 12 images chosen; without images, and left out: 1 class (`cow`)
    error: meta.csv: the test split has no image
    hint: check that this is the right folder or list
    ");
    insta::assert_snapshot!(words("widht >= 64", "c"), @r#"
    exit 1
    ----
    error: --where `widht >= 64`: not found: unable to find column "widht"
    hint: an SQL condition on path, label, class, split, site, width, license, day; text stands in single quotes, a class's name is `class`, its number `label`
    "#);
    insta::assert_snapshot!(words("width", "c"), @r"
    exit 1
    ----
    error: --where `width`: filter predicate must be of type `Boolean`, got `Int64`
    hint: an SQL condition on path, label, class, split, width, site, license, day; text stands in single quotes, a class's name is `class`, its number `label`
    ");
    insta::assert_snapshot!(words("width >", "c"), @r"
    exit 1
    ----
    error: --where `width >`: sql parser error: Expected: an expression, found: ) at Line: 2, Column: 1
    hint: an SQL condition on path, label, class, split, width, site, license, day; text stands in single quotes, a class's name is `class`, its number `label`
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
    note: photos: 13 of 22 images chosen; without images, and left out: 1 class (`cow`)
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
    note: test: 16.7 % of the images, 2 of 12 values of `camera`; of a class 16.7 to 16.7 %
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
