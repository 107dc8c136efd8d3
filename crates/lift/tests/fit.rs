//! `lift fit` and `lift run` through the programs that `cargo test --workspace` has built beside this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use image::{Rgb, RgbImage};
use serde_json::Value;

const CLASSES: [(&str, [u8; 3]); 3] = [
    ("red circle", [200, 30, 30]),
    ("blue arrow", [30, 30, 200]),
    ("green star", [30, 200, 30]),
];

/// Class folders with images of one colour and some stripes.
fn photos(folder: &Path) {
    for (name, colour) in CLASSES {
        let class = folder.join(name);
        fs::create_dir_all(&class).unwrap();
        for nth in 0..8u32 {
            let image = RgbImage::from_fn(64, 64, |x, y| {
                let stripe = u8::from((x + y * nth).is_multiple_of(7)) * 40;
                Rgb(colour.map(|value| value.saturating_add(stripe)))
            });
            image.save(class.join(format!("{nth}.png"))).unwrap();
        }
    }
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes-clip")
}

fn lift(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lift"))
        .args(args)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn fit(folder: &Path, more: &[&str]) -> Value {
    let model = model().display().to_string();
    let args = ["fit", "photos", "--model", &model, "--json"];
    let train = ["--", "--device", "cpu", "--epochs", "1", "--tte", "none"];
    let output = lift(folder, &[&args[..], more, &train].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn photos_become_a_run_and_nothing_is_done_twice() {
    let dir = tempfile::tempdir().unwrap();
    photos(&dir.path().join("photos"));
    let first = fit(dir.path(), &[]);
    assert_eq!(first["run"], "runs/001");
    let ran = |found: &Value| -> Vec<String> {
        let commands = found["commands"].as_array().unwrap().iter();
        let first = |line: &Value| {
            let line = line.as_str().unwrap();
            line.split(" -").next().unwrap().to_owned()
        };
        commands.map(first).collect()
    };
    let (made, text_made) = ("lift-data build folder", "lift-text classifier");
    assert_eq!(
        ran(&first),
        [
            made,
            text_made,
            "lift-train advise",
            "lift-train",
            "lift-train report runs/001"
        ]
    );
    // A fifth of 8 images a class, by hand.
    let counts = &first["report"]["train_counts"];
    let test = first["report"]["evaluations"][0]["metrics"]["images"]
        .as_u64()
        .unwrap();
    let train: u64 = counts
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!((train + test, test), (24, 6));
    assert!(dir.path().join("runs/001/report.html").is_file());

    let again = fit(dir.path(), &[]);
    assert_eq!(again["run"], "runs/001");
    assert_eq!(ran(&again), [made, text_made, "lift-train advise"]);
    assert_eq!(again["report"], first["report"]);
    assert_eq!(fit(dir.path(), &["--again"])["run"], "runs/002");

    // Without --json: six lines, and the commands.
    let model = model().display().to_string();
    let train = ["--", "--device", "cpu", "--epochs", "1", "--tte", "none"];
    let args = ["fit", "photos", "--model", &model];
    let output = lift(dir.path(), &[&args[..], &train].concat());
    let said = text(&output.stdout);
    let words: Vec<&str> = said
        .lines()
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_whitespace().next().unwrap())
        .collect();
    assert_eq!(
        words,
        ["data", "model", "accuracy", "bands", "run", "report"]
    );
}

#[test]
fn what_fails_says_so_once_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    photos(&dir.path().join("photos"));
    let model = model().display().to_string();
    let output = lift(dir.path(), &["fit", "none", "--model", &model]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: none: not a folder\nhint: "));
    // What lift-train takes for wrong usage is wrong usage.
    let output = lift(
        dir.path(),
        &["fit", "photos", "--model", &model, "--", "--no-such-flag"],
    );
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.contains("--no-such-flag"), "{said}");
    assert_eq!(lift(dir.path(), &["fit"]).status.code(), Some(2));
    let wrong = ["fit", "photos", "--model", &model, "--holdout", "2"];
    let output = lift(dir.path(), &wrong);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("a share between 0 and 1"));
}

#[test]
fn a_recipe_is_done_from_its_data_to_its_report() {
    let dir = tempfile::tempdir().unwrap();
    photos(&dir.path().join("photos"));
    let model = model().display().to_string();
    let recipe = format!(
        "[data]\ndataset = \"folder\"\nsource = \"photos\"\nholdout = \"0.25\"\nout = \"shards\"\n\
         [text]\nshards = \"shards\"\nmodel = {model:?}\nout = \"head.safetensors\"\n\
         [train]\nshards = \"shards\"\nmodel = {model:?}\nhead = \"head.safetensors\"\nout = \"run\"\nepochs = 1\ntte = \"none\"\ndevice = \"cpu\"\n"
    );
    fs::write(dir.path().join("recipe.toml"), &recipe).unwrap();
    let run = || {
        let output = lift(dir.path(), &["run", "recipe.toml", "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let first = run();
    assert_eq!(first["report"]["evaluations"][0]["metrics"]["images"], 6);
    assert!(dir.path().join("run/report.html").is_file());
    assert_eq!(run()["commands"].as_array().unwrap().len(), 2);

    fs::write(dir.path().join("recipe.toml"), recipe + "[other]\n").unwrap();
    let output = lift(dir.path(), &["run", "recipe.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("recipe.toml: the table [other] is none of"),
        "{said}"
    );
}
