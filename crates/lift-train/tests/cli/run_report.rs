//! `lift-train consistency` and `lift-train report` on a run of a random tower: what they compute, keep and refuse.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use lift_shards::ShardReader;
use lift_train::{command, config::TrainConfig, provenance::Provenance, report::Report};
use serde_json::Value;

use super::{lift_train, resume::tiny, stderr, stdout};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_report_computes_what_the_run_did_not_keep_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    let untouched = TrainConfig {
        epochs: 0,
        out: dir.path().join("untouched"),
        ..config.clone()
    };
    let trained = command::train_until(
        &config,
        &["lift-train".into(), "--out".into(), "a b".into()],
        &lift_train::stop::Stop::default(),
    )
    .unwrap();
    let start = command::train(&untouched).unwrap();
    assert!(trained.training.unwrap().peak_memory_bytes > Some(1 << 20));

    let files = ["report.html", "report.json", "report.md"].map(|name| dir.path().join(name));
    let [html, out, md] = files.each_ref().map(|path| text(path));
    let run = text(&config.out);
    let args = [
        "report",
        run,
        "--compare",
        text(&untouched.out),
        "--html",
        html,
        "--json",
        out,
        "--md",
        md,
    ];
    let output = lift_train(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("computing: predictions before tuning"));

    let report = json(&files[1]);
    let close = |found: &Value, expected: f64| {
        assert!(
            (found.as_f64().unwrap() - expected).abs() < 1e-12,
            "{found} {expected}"
        );
    };
    let [before, after] = [&report["accuracy"][0], &report["accuracy"][1]];
    assert_eq!(
        (&before["state"], &after["state"]),
        (&"before-tuning".into(), &"after-tuning".into())
    );
    // Before tuning is what a run without a step finds.
    let first = &start.evaluations[0].metrics;
    close(&before["overall"]["value"], first.overall.unwrap());
    close(
        &before["calibration_error"],
        first.calibration_error.unwrap(),
    );
    let metrics = &trained.evaluations[0].metrics;
    close(&after["overall"]["value"], metrics.overall.unwrap());
    close(&after["few"]["value"], metrics.few.unwrap());
    for (line, accuracy) in report["per_class"]
        .as_array()
        .unwrap()
        .iter()
        .zip(&metrics.per_class)
    {
        close(&line["after"], accuracy.unwrap());
    }
    assert_eq!(report["reproduce"]["command"], "lift-train --out 'a b'");
    let origins = Provenance::read(&config.out).unwrap().unwrap().origins;
    assert_eq!(report["reproduce"]["shards"], origins.shards.as_str());
    assert_eq!(
        report["curves"].as_array().unwrap().last().unwrap()["step"],
        26
    );
    assert_eq!(report["compared"][1]["name"], "untouched");
    let page = fs::read_to_string(&files[0]).unwrap();
    assert!(page.contains("data:image/jpeg;base64,") && page.len() < 2_000_000);
    assert!(
        fs::read_to_string(&files[2])
            .unwrap()
            .starts_with("# Run run\n")
    );

    // Slices of the test images: what they have right is what all have.
    let test = ShardReader::open(&config.shards.join("test")).unwrap();
    let mut table = "half,path\n".to_owned();
    for row in 0..test.len() {
        let half = ["odd", "even"][usize::from(row % 2 == 0)];
        table += &format!("{half},{}\n", test.path(row));
    }
    let meta = dir.path().join("meta.csv");
    fs::write(&meta, table).unwrap();
    let sliced = dir.path().join("sliced.json");
    let slice = ["--by", "half", "--slice", text(&meta)];
    let args = [
        &["report", run, "--recorded", "--json", text(&sliced)][..],
        &slice[..],
    ]
    .concat();
    let output = lift_train(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let sliced = json(&sliced);
    let rows = sliced["slices"]["rows"].as_array().unwrap();
    let images = |row: &Value| row["images"].as_f64().unwrap();
    let right: f64 = rows
        .iter()
        .map(|row| images(row) * row["accuracy"].as_f64().unwrap())
        .sum();
    let all: f64 = rows.iter().map(images).sum();
    assert_eq!((rows.len(), all), (2, test.len() as f64));
    assert!((right / all - metrics.overall.unwrap()).abs() < 1e-12);
    let output = lift_train(&[&["report", run, "--recorded"][..], &slice[..]].concat());
    assert!(
        stdout(&output).contains("mean class  classes\neven "),
        "{}",
        stdout(&output)
    );
    let output = lift_train(&["report", run, "--recorded", "--by", "site"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("there is no column `site`"),
        "{}",
        stderr(&output)
    );

    // Asked again it computes nothing, and needs no shards.
    fs::rename(&config.shards, dir.path().join("away")).unwrap();
    let again = dir.path().join("again.json");
    let args = [
        "report",
        run,
        "--recorded",
        "--compare",
        text(&untouched.out),
        "--json",
        text(&again),
    ];
    let output = lift_train(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(json(&again), report);
    let output = lift_train(&["report", run, "--recorded"]);
    assert!(
        stdout(&output).contains("after tuning"),
        "{}",
        stderr(&output)
    );
    let output = lift_train(&["report", run]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("shards"), "{}", stderr(&output));

    // One test image a class has no distance to another.
    let output = lift_train(&[
        "consistency",
        "--run",
        run,
        "--shards",
        text(&dir.path().join("away")),
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stderr(&output).contains("no class has two images of each split"),
        "{}",
        stderr(&output)
    );
    let output = lift_train(&["consistency", "--run", run, "--images-per-class", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--images-per-class 1 must be a number from 2"));

    // What is kept must be this run's.
    fs::write(config.out.join("predictions-plain.parquet"), "no").unwrap();
    let output = lift_train(&["report", run, "--recorded"]);
    assert_eq!(output.status.code(), Some(1));
    let message = stderr(&output);
    assert!(
        message.contains("predictions-plain.parquet: not a file of predictions"),
        "{message}"
    );
    assert!(message.contains("\nhint: "), "{message}");
}

#[test]
fn a_folder_that_is_no_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let none = text(dir.path());
    for args in [["report", none], ["consistency", "--run"]] {
        let mut args = args.to_vec();
        if args[1] == "--run" {
            args.push(none);
        }
        let output = lift_train(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let message = stderr(&output);
        assert!(
            message.contains("No such file") && message.contains("\nhint: "),
            "{message}"
        );
    }
    assert!(Report::read(dir.path()).is_err());
}

/// `.venv`'s Python, or the one that LIFT_TEST_PYTHON names, where it has aiohttp.
fn python() -> Option<PathBuf> {
    let own = || root().join(".venv/bin/python");
    let python = std::env::var_os("LIFT_TEST_PYTHON").map_or_else(own, PathBuf::from);
    let import = Command::new(&python)
        .args(["-c", "import aiohttp"])
        .output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: no Python with aiohttp (cargo xtask test makes .venv)");
    None
}

fn chromium() -> Option<&'static str> {
    let runs = |name: &&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    };
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.into_iter().find(|name| runs(name));
    if found.is_none() {
        eprintln!("skipped: no Chromium (apt-get install chromium)");
    }
    found
}

/// Each sheet with classes has their table's heading above them, no heading stands alone, and nothing is in the margin.
fn on_paper(python: &Path, chromium: &str, page: &Path) {
    let output = Command::new(python)
        .arg(root().join("xtask/pages/printed.py"))
        .arg(chromium)
        .arg(page)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let sheets: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut with_classes = 0;
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
        let text = |line: &Value| line["text"].as_str().unwrap().to_owned();
        let texts: Vec<String> = lines.iter().map(text).collect();
        let is_heading = |text: &String| text.starts_with("class label train band test");
        assert!(!texts.last().is_some_and(is_heading), "{texts:?}");
        let is_row = |text: &&String| {
            let colours = [
                "brown", "gray", "green", "orange", "pink", "purple", "yellow",
            ];
            let bands = [" many ", " medium ", " few "];
            colours.iter().any(|name| text.starts_with(name))
                && bands.iter().any(|band| text.contains(band))
        };
        if let Some(first) = texts.iter().position(|text| is_row(&text)) {
            assert!(texts[..first].iter().any(is_heading), "{texts:?}");
            with_classes += 1;
        }
    }
    assert!(
        with_classes >= 2,
        "the table of classes has {with_classes} sheets"
    );
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_page_of_a_run_works_in_chromium_whatever_its_classes_are_called() {
    let (Some(python), Some(chromium)) = (python(), chromium()) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    command::train(&config).unwrap();
    let run = text(&config.out);
    let made = lift_train(&["report", run]);
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let mut report = Report::read(&config.out).unwrap();
    let harm = [
        "<script>window.harmed=1</script>",
        "\"><img src=x onerror=\"window.harmed=1\">",
        "two\nlines",
        "right\u{202e}left\u{2066}",
        "</title></style><svg onload=window.harmed=1>",
    ];
    for (name, harm) in report.class_names.iter_mut().zip(harm) {
        *name = harm.into();
    }
    report.name = "</h1><script>window.harmed=1</script>".into();
    report.write(&config.out).unwrap();
    let page = dir.path().join("page.html");
    let output = lift_train(&["report", run, "--compare", run, "--html", text(&page)]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        !stderr(&output).contains("computing"),
        "{}",
        stderr(&output)
    );

    // The fourth table is that of the classes, its second column the labels.
    let output = Command::new(&python)
        .arg(root().join("xtask/pages/chromium.py"))
        .arg(chromium)
        .arg(&page)
        .args(["--table", "3", "--sort", "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
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
    // Each chart is drawn for wide and for narrow windows: five curves, bands, frequency, two of calibration; the classes
    // against each other once.
    assert_eq!(seen["charts"], 19);
    let labels = |key: &str| -> Vec<u32> {
        let cells = seen[key].as_array().unwrap().iter();
        cells
            .map(|cell| cell.as_str().unwrap().trim().parse().unwrap())
            .collect()
    };
    let ascending: Vec<u32> = (0..100).collect();
    let descending: Vec<u32> = (0..100).rev().collect();
    assert_eq!((labels("once"), labels("twice")), (descending, ascending));
    assert_eq!(
        (&seen["first"], &seen["second"]),
        (&"descending".into(), &"ascending".into())
    );
    assert_eq!(seen["rows"], 100);
    on_paper(&python, chromium, &page);
    assert!(seen["found"].as_u64().unwrap() < 100);
}
