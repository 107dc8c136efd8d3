//! Shards that are not whole, are in each other's place, or have nothing to be judged on.

use std::{fs, path::Path, process::Output};

use lift_shards::Manifest;
use serde_json::Value;

use super::{demo_model, lift_train, prepare, stderr, stdout};

struct Place {
    dir: tempfile::TempDir,
    shards: String,
    model: String,
    head: String,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let path = |name: &str| dir.path().join(name).display().to_string();
        Self {
            shards: path("shards"),
            model: demo_model().display().to_string(),
            head: path("head.safetensors"),
            dir,
        }
    }

    fn split(&self, name: &str) -> std::path::PathBuf {
        Path::new(&self.shards).join(name)
    }

    fn train(&self, out: &Path) -> Output {
        let Self {
            shards,
            model,
            head,
            ..
        } = self;
        let paths = ["--shards", shards, "--model", model, "--head", head];
        let out = ["--out", out.to_str().unwrap()];
        let rest = "--epochs 1 --expand 5 --device cpu --tte none";
        let rest: Vec<&str> = rest.split(' ').collect();
        lift_train(&[&paths[..], &out, &rest].concat())
    }

    /// Training, zero-shot and bench end with this message and leave no run.
    fn refused(&self, message: &str) {
        let Self {
            shards,
            model,
            head,
            ..
        } = self;
        let out = self.dir.path().join("no-run");
        let zero_shot = [
            "zero-shot",
            "--shards",
            shards,
            "--model",
            model,
            "--head",
            head,
        ];
        let outputs = [
            self.train(&out),
            lift_train(&zero_shot),
            lift_train(&[
                "bench",
                "--shards",
                shards,
                "--seconds",
                "1",
                "--split",
                "test",
            ]),
        ];
        for output in outputs {
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains(message), "{said}");
        }
        assert!(!out.exists());
    }
}

#[test]
fn splits_in_each_others_place_are_refused() {
    let place = Place::new();
    let (train, test, x) = (place.split("train"), place.split("test"), place.split("x"));
    fs::rename(&train, &x).unwrap();
    fs::rename(&test, &train).unwrap();
    fs::rename(&x, &test).unwrap();
    place.refused("the folder is called ");
    let said = stderr(&place.train(&x));
    let expected = format!(
        "{}: the folder is called train and holds the test split\nhint: ",
        train.display()
    );
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_copy_of_the_training_split_is_not_judged_on() {
    let place = Place::new();
    let (train, test) = (place.split("train"), place.split("test"));
    fs::remove_dir_all(&test).unwrap();
    fs::create_dir(&test).unwrap();
    for entry in fs::read_dir(&train).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, test.join(path.file_name().unwrap())).unwrap();
    }
    place.refused(&format!(
        "{}: the folder is called test and holds the train split",
        test.display()
    ));
}

#[test]
fn an_unfinished_split_is_refused() {
    let place = Place::new();
    let test = place.split("test");
    fs::remove_file(test.join("manifest.json")).unwrap();
    let sign = "not complete: there are shards and no manifest.json";
    place.refused(&format!("{}: {sign}", test.display()));
    fs::create_dir(test.join(".lift-building")).unwrap();
    let sign = "not complete: a build has begun here and not ended";
    place.refused(&format!("{}: {sign}", test.display()));
}

#[test]
fn a_test_split_without_images_has_no_accuracy() {
    let place = Place::new();
    // As earlier versions built it when all of its images were bad.
    let test = place.split("test");
    let mut empty = Manifest::load(&test).unwrap();
    empty.class_counts = vec![0; 100];
    (empty.rows, empty.shards) = (0, Vec::new());
    fs::remove_file(test.join("test-00000.parquet")).unwrap();
    empty.save(&test).unwrap();

    let run = place.dir.path().join("run");
    let output = place.train(&run);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let warning = format!("warning: {}: the test split has no image", test.display());
    assert!(said.contains(&warning), "{said}");
    assert_eq!(
        stdout(&output),
        "     test-time  overall  mean class  many  medium  few\n\
         run  plain            -           -     -       -    -\n"
    );
    let report: Value =
        serde_json::from_slice(&fs::read(run.join("report.json")).unwrap()).unwrap();
    let metrics = &report["evaluations"][0]["metrics"];
    assert_eq!(metrics["images"], 0);
    for figure in [
        "overall",
        "mean_class",
        "few",
        "macro_f1",
        "calibration_error",
    ] {
        assert!(metrics[figure].is_null(), "{figure} is {}", metrics[figure]);
    }
    let compared = lift_train(&["compare", "--details", run.to_str().unwrap()]);
    let table = stdout(&compared);
    assert!(!table.contains("0.0"), "{table}");
    let said = lift_train(&["report", run.to_str().unwrap()]);
    assert_eq!(said.status.code(), Some(0), "{}", stderr(&said));
    assert!(!stdout(&said).contains(" 0.0"), "{}", stdout(&said));
}

#[test]
fn a_split_alone_names_the_folder_that_holds_both() {
    let mut place = Place::new();
    let shards = std::mem::take(&mut place.shards);
    for (split, other) in [("train", "test"), ("test", "train")] {
        place.shards = format!("{shards}/{split}");
        let said = stderr(&place.train(&place.dir.path().join("run")));
        let expected = format!(
            "{shards}/{split}: holds the split {split} alone, and {other} is wanted too\nhint: give {shards}\n"
        );
        assert!(said.ends_with(&expected), "{said}");
    }
}
