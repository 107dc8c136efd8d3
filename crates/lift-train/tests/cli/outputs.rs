//! Files that are asked for: looked at before the work, CSV or Parquet by their name, and the table is printed also where
//! one cannot be written in the end.

use std::{fs, path::Path};

use super::{class_names, lift_train, prepare, stderr, stdout, streams::recipe};

/// A finished run, `run`, in the folder.
fn finished(dir: &Path) -> String {
    prepare(dir);
    let run = dir.join("run").display().to_string();
    let output = lift_train(&["--config", &recipe(dir), "--out", &run]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    run
}

#[test]
fn predictions_and_confusion_are_csv_or_parquet_by_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let run = finished(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    // Their folder is made.
    let files = [
        path("new/said.csv"),
        path("new/said.parquet"),
        path("new/pairs.CSV"),
    ];
    for args in [
        ["--predictions", &files[0], "--confusion", &files[2]],
        [
            "--predictions",
            &files[1],
            "--confusion",
            &path("new/pairs.parquet"),
        ],
    ] {
        let output = lift_train(&[&["eval", "--device", "cpu", "--run", &run][..], &args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let said = fs::read_to_string(&files[0]).unwrap();
    let mut lines = said.lines();
    assert_eq!(
        lines.next().unwrap(),
        "id,path,label,predicted,confidence,rank"
    );
    let judged = lift_train::predictions::read_predictions(files[1].as_ref(), 100).unwrap();
    assert_eq!(judged.len(), 100);
    for (line, one) in lines.zip(&judged) {
        let cells: Vec<&str> = line.split(',').collect();
        let wanted = [one.label, one.predicted, one.rank].map(|n| n.to_string());
        assert_eq!(
            [cells[2], cells[3], cells[5]],
            wanted.each_ref().map(String::as_str)
        );
        assert_eq!(cells[4].parse::<f32>().unwrap(), one.confidence);
    }
    let pairs = fs::read_to_string(&files[2]).unwrap();
    let first = &class_names()[0];
    let start = format!("label,class,predicted,predicted_class,images\n0,{first},");
    assert!(pairs.starts_with(&start), "{pairs}");
}

#[test]
fn files_that_cannot_be_written_are_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::create_dir_all(dir.path().join("folder.csv")).unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let (folder, under, one, txt) = (
        path("folder.csv"),
        path("file/x.csv"),
        path("one.csv"),
        path("x.txt"),
    );
    // None of the inputs is there: what is refused is refused before they are looked at.
    let zero_shot = [
        "zero-shot",
        "--device",
        "cpu",
        "--shards",
        "s",
        "--model",
        "m",
        "--head",
        "h",
    ];
    let init = [
        "init", "--device", "cpu", "--shards", "s", "--model", "m", "--init", "random",
    ];
    let cases: [(&[&str], &[&str], i32, &str); 8] = [
        (
            &zero_shot,
            &["--predictions", &folder],
            1,
            "folder.csv: cannot write: there is a folder of that name",
        ),
        (
            &zero_shot,
            &["--confusion", &under],
            1,
            "file/x.csv: cannot write: what should be its folder is a file",
        ),
        (
            &zero_shot,
            &["--predictions", &one, "--confusion", &one],
            2,
            "one.csv: --predictions and --confusion both name this file\nhint: ",
        ),
        (
            &zero_shot,
            &["--predictions", &txt],
            2,
            "x.txt: a table is written as .csv or .parquet\nhint: ",
        ),
        (
            &init,
            &["--out", &folder],
            1,
            "folder.csv: cannot write: there is a folder of that name",
        ),
        (
            &["report", "nowhere"],
            &["--html", &folder],
            1,
            "folder.csv: cannot write: there is a folder of that name",
        ),
        (
            &["report", "nowhere"],
            &["--md", &one, "--json", &one],
            2,
            "one.csv: --json and --md both name this file",
        ),
        (
            &zero_shot,
            &["--predictions", "/dev/null"],
            2,
            "/dev/null: a table is written as .csv or .parquet",
        ),
    ];
    for (command, args, code, message) in cases {
        let output = lift_train(&[command, args].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(message), "{args:?}: {said}");
    }
}

#[test]
fn the_table_is_printed_where_a_file_cannot_be_written_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let run = finished(dir.path());
    let file = dir.path().join("said.csv").display().to_string();
    // No file may have a byte.
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    let program = env!("CARGO_BIN_EXE_lift-train");
    let output = std::process::Command::new("sh")
        .args(["-c", script, "sh", program, "eval", "--device", "cpu"])
        .args(["--run", &run, "--predictions", &file])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stdout(&output)
            .lines()
            .nth(1)
            .unwrap()
            .starts_with("run  plain"),
        "{}",
        stdout(&output)
    );
    assert!(
        stderr(&output).contains("cannot write: File too large"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn runs_that_are_not_finished_are_left_out_of_a_comparison() {
    let dir = tempfile::tempdir().unwrap();
    let run = finished(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let begun = path("begun");
    fs::create_dir(&begun).unwrap();
    fs::copy(
        dir.path().join("run/config.toml"),
        dir.path().join("begun/config.toml"),
    )
    .unwrap();
    let recipe = path("recipe.toml");

    let output = lift_train(&["compare", &begun, &recipe, &run]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 2);
    assert_eq!(
        stderr(&output),
        format!(
            "note: {begun}: is not finished, `lift-train resume {begun}` goes on with it; left out\n\
             note: {recipe}: is no run; left out\n"
        )
    );
    // Nothing is left; a path that is not there is a mistake.
    for (runs, message) in [
        (
            &[begun.as_str()][..],
            "begun/report.json: there is none: is not finished, `lift-train resume ",
        ),
        (
            &[run.as_str(), "nowhere"],
            "nowhere/report.json: No such file",
        ),
    ] {
        let output = lift_train(&[&["compare"][..], runs].concat());
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(message), "{}", stderr(&output));
        assert!(output.stdout.is_empty());
    }

    // Other classes are not set beside these.
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    let text = fs::read_to_string(dir.path().join("run/report.json")).unwrap();
    let mut report: serde_json::Value = serde_json::from_str(&text).unwrap();
    report["class_hash"] = "00".into();
    report["class_names"][7] = "teal blob".into();
    fs::write(other.join("report.json"), report.to_string()).unwrap();
    let output = lift_train(&["compare", &run, &other.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains(&format!(
            "other: its classes are not those of {run}: label 7 is \"teal blob\", there \""
        )),
        "{said}"
    );
}
