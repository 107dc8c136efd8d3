//! Reports seen by others: a page in Chromium, Croissant by the `mlcroissant` package, tables by pyarrow.
//!
//! The Python packages are in `.venv`, which `cargo xtask test` makes; Chromium is the system's. Without
//! them a test says so and is skipped.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::Workplace;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `.venv`'s Python, or the one that LIFT_TEST_PYTHON names, where it has `module`.
fn python(module: &str) -> Option<PathBuf> {
    let own = || root().join(".venv/bin/python");
    let python = std::env::var_os("LIFT_TEST_PYTHON").map_or_else(own, PathBuf::from);
    let import = Command::new(&python)
        .args(["-c", &format!("import {module}")])
        .output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: no Python with {module} (cargo xtask test makes .venv)");
    None
}

fn chromium() -> Option<&'static str> {
    let runs = |name: &&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| runs(name));
    if found.is_none() {
        eprintln!("skipped: no Chromium (apt-get install chromium)");
    }
    found
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// A list whose class names are as bad as file systems allow, with enough classes for a search field.
fn nasty(place: &Workplace) {
    let names = [
        "<script>window.harmed=1</script>".to_owned(),
        "\"><img src=x onerror=\"window.harmed=1\">".to_owned(),
        "'; alert(1) //".to_owned(),
        "right\u{202e}left\u{2066}".to_owned(),
        "</title></style><svg onload=window.harmed=1>".to_owned(),
    ];
    let names: Vec<String> = names
        .into_iter()
        .chain((5..40).map(|i| format!("class {i}")))
        .collect();
    let mut list = String::new();
    for label in 0..names.len() {
        for image in 0..=(label * label) % 37 {
            list += &format!("{label}/{image}.jpg {label}\n");
        }
    }
    place.write("lists/train.txt", &list);
    place.write("lists/classnames.txt", &(names.join("\n") + "\n"));
}

#[test]
fn a_page_works_in_chromium() {
    let (Some(python), Some(chromium)) = (python("aiohttp"), chromium()) else {
        return;
    };
    let place = Workplace::new();
    nasty(&place);
    place.run("report lists --html page.html");
    let script = root().join("xtask/pages/chromium.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg(chromium)
        .arg(place.path("page.html"))
        .args(["--sort", "3"]);
    let seen: serde_json::Value = serde_json::from_str(&output(&mut command)).unwrap();
    assert_eq!(seen["console"], serde_json::json!([]));
    // The page itself and nothing else.
    let requests = seen["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert!(requests[0].as_str().unwrap().starts_with("file:"));
    for (key, wanted) in [
        ("harmed", false),
        ("overflow", false),
        ("overflow_on_a_phone", false),
        ("focused", true),
    ] {
        assert_eq!(seen[key], wanted, "{key}");
    }
    assert_eq!(
        (&seen["scripts"], &seen["handlers"]),
        (&1.into(), &0.into())
    );
    // Two drawings of one chart: for wide and for narrow windows.
    assert_eq!(seen["charts"], 2);
    let column = |key: &str| -> Vec<u64> {
        let cells = seen[key].as_array().unwrap();
        cells
            .iter()
            .map(|cell| cell.as_str().unwrap().trim().parse().unwrap())
            .collect()
    };
    let mut sorted = column("before");
    sorted.sort_unstable();
    assert_eq!(
        (column("twice"), &seen["second"]),
        (sorted.clone(), &"ascending".into())
    );
    sorted.reverse();
    assert_eq!(
        (column("once"), &seen["first"]),
        (sorted, &"descending".into())
    );
    assert_eq!((&seen["found"], &seen["rows"]), (&1.into(), &40.into()));
}

/// On paper: a table that crosses sheets has its heading on each, no heading stands alone, no row is lost, nothing is in the margin.
#[test]
fn a_printed_page_keeps_its_headings_and_margins() {
    let (Some(python), Some(chromium)) = (python("pypdfium2"), chromium()) else {
        return;
    };
    let place = Workplace::new();
    let mut list = String::new();
    for label in 0..120 {
        for image in 0..=(label * label) % 37 {
            list += &format!("kind_{label}/{image}.jpg {label}\n");
        }
    }
    place.write("lists/train.txt", &list);
    place.run("report lists --html page.html");
    let mut command = Command::new(python);
    command.arg(root().join("xtask/pages/printed.py"));
    command.arg(chromium).arg(place.path("page.html"));
    let sheets: serde_json::Value = serde_json::from_str(&output(&mut command)).unwrap();
    let (mut rows, mut crossed) = (Vec::new(), 0);
    for sheet in sheets.as_array().unwrap() {
        let width = sheet["width"].as_f64().unwrap();
        let lines = sheet["lines"].as_array().unwrap();
        for line in lines {
            let end = |key: &str| line[key].as_f64().unwrap();
            assert!(
                end("left") >= 20.0 && end("right") <= width - 20.0,
                "{line}"
            );
        }
        let texts: Vec<&str> = lines
            .iter()
            .map(|line| line["text"].as_str().unwrap())
            .collect();
        let is_row = |text: &&str| text.starts_with("kind_");
        let is_heading = |text: &&str| text.starts_with("class label band train");
        assert!(
            !texts.last().is_some_and(is_heading),
            "a heading alone: {texts:?}"
        );
        if let Some(first) = texts.iter().position(&is_row) {
            assert!(
                first > 0 && is_heading(&texts[first - 1]),
                "no heading: {texts:?}"
            );
            crossed += 1;
        }
        rows.extend(
            texts
                .iter()
                .filter(|text| is_row(text))
                .map(|text| text.to_string()),
        );
    }
    assert!(crossed >= 3, "the table has {crossed} sheets");
    let mut names: Vec<&str> = rows
        .iter()
        .filter_map(|row| row.split(' ').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!((rows.len(), names.len()), (120, 120));
}

const CROISSANT: &str = "
import json, sys
import mlcroissant
dataset = mlcroissant.Dataset(sys.argv[1])
assert not dataset.metadata.ctx.issues.errors, dataset.metadata.ctx.issues.errors
train = list(dataset.records('train'))
classes = list(mlcroissant.Dataset(sys.argv[1]).records('classes'))
print(json.dumps([[(r['train/id'], r['train/label']) for r in train], [str(c['classes/name']) for c in classes]], default=int))
";

#[test]
fn mlcroissant_reads_the_metadata() {
    let Some(python) = python("mlcroissant") else {
        return;
    };
    let place = Workplace::new();
    place.class_folders("photos");
    for encoding in ["rgb8", "png"] {
        place.run(&format!(
            "build folder --source photos --out {encoding} --encoding {encoding}"
        ));
        let run = place.run(&format!(
            "report {encoding} --croissant {encoding}/croissant.json"
        ));
        assert!(run.starts_with("exit 0"), "{run}");
        let mut command = Command::new(&python);
        command
            .args(["-c", CROISSANT])
            .arg(place.path(&format!("{encoding}/croissant.json")));
        let seen: serde_json::Value = serde_json::from_str(&output(&mut command)).unwrap();
        let rows: Vec<(u64, u64)> = serde_json::from_value(seen[0].clone()).unwrap();
        // 3 cats, 1 cow, 12 dogs, in their order.
        let labels = [vec![0; 3], vec![1], vec![2; 12]].concat();
        let wanted: Vec<(u64, u64)> = (0..).zip(labels).collect();
        assert_eq!(rows, wanted);
        assert_eq!(seen[1], serde_json::json!(["cat", "cow", "dog"]));
    }
}

#[test]
fn pyarrow_reads_the_tables_and_they_equal_the_csv() {
    let Some(python) = python("pyarrow") else {
        return;
    };
    let place = Workplace::new();
    place.class_folders("photos");
    place.write("photos/train/dog/broken.png", "no image");
    let flat = image::RgbImage::from_pixel(8, 8, image::Rgb([9; 3]));
    flat.save(place.path("photos/train/dog/flat.png")).unwrap();
    flat.save(place.path("photos/test/cat/flat.png")).unwrap();
    place.run("build folder --source photos --out shards --max-bad 1");
    place.run("report shards --flags flags");
    let script = "
import sys, csv, pyarrow.parquet as pq
for name in ('flags', 'duplicates'):
    rows = pq.read_table(f'{sys.argv[1]}/{name}.parquet').to_pylist()
    text = list(csv.DictReader(open(f'{sys.argv[1]}/{name}.csv')))
    assert [list(r) for r in rows] == [list(r) for r in text]
    same = lambda a, b: (a is None and b == '') or str(a) == b or float(a) == float(b)
    assert all(same(a[k], b[k]) for a, b in zip(rows, text) for k in a)
    print(len(rows))
";
    let printed = output(
        Command::new(python)
            .args(["-c", script])
            .arg(place.path("flags")),
    );
    let lines: Vec<usize> = printed.lines().map(|line| line.parse().unwrap()).collect();
    let written = place.read("flags/flags.csv").lines().count() - 1;
    // The broken one, and what the two flat ones are: dark, grey, blurry and of low information.
    assert!(written >= 9, "{written}");
    let pairs = place.read("flags/duplicates.csv").lines().count() - 1;
    // The flat ones are equal, at least.
    assert!(pairs >= 1);
    assert_eq!(lines, [written, pairs]);
}
