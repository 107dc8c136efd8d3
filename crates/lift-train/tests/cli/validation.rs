//! Validation while training: what is measured, which state is kept, when training ends, and how a run goes on with other
//! settings.

use std::{fs, path::Path};

use lift_models::TensorFile;
use lift_shards::Split;
use lift_train::{
    command,
    config::TrainConfig,
    eval::Tte,
    report::Report,
    validation::{Kept, ValEvery},
};
use serde_json::Value;

use super::{build_splits, lift_train, resume, stderr, stdout};

/// The run of [`resume::tiny`], whose shards get a validation split: its test split, under that name.
fn tiny(dir: &Path) -> TrainConfig {
    let config = resume::tiny(dir);
    let images = dir.join("images");
    fs::rename(images.join("test"), images.join("val")).unwrap();
    let out = dir.join("with-val");
    build_splits(&images, &out, &[Split::Train, Split::Val]);
    TrainConfig {
        shards: out,
        ..config
    }
}

fn log(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn validations(run: &Path) -> Vec<Value> {
    log(run)
        .into_iter()
        .filter(|line| !line["validation"].is_null())
        .collect()
}

fn tensors(path: &Path) -> Vec<(String, Vec<u32>)> {
    let file = TensorFile::read(path).unwrap();
    let bits = |tensor: &tch::Tensor| {
        let values = Vec::<f32>::try_from(&tensor.to_kind(tch::Kind::Float).view([-1])).unwrap();
        values.into_iter().map(f32::to_bits).collect()
    };
    file.tensors
        .iter()
        .map(|(name, t)| (name.clone(), bits(t)))
        .collect()
}

#[test]
fn validation_is_what_eval_says_and_changes_nothing() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = tiny(dir.path());
    let with = TrainConfig {
        keep: vec![Kept::Last, Kept::Best],
        lr: 0.5,
        epochs: 3,
        ..base.clone()
    };
    let report = command::train(&with).unwrap();
    let run = &with.out;
    let found = validations(run);
    let steps: Vec<u64> = found
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [13, 26, 39]);
    // The test split is not there: the run is judged on val, and says so.
    let evaluation = &report.evaluations[0];
    assert_eq!(evaluation.split.as_str(), "val");
    let last = &found[2]["validation"];
    assert_eq!(last["mean_class"].as_f64(), evaluation.metrics.mean_class);
    assert_eq!(last["overall"].as_f64(), evaluation.metrics.overall);
    let values: Vec<f64> = found
        .iter()
        .map(|line| line["validation"]["mean_class"].as_f64().unwrap())
        .collect();
    let best = values.iter().copied().fold(f64::MIN, f64::max);
    let selection = report.selection.unwrap();
    assert_eq!(selection.best.unwrap().value, best);
    let first_best = values.iter().position(|&value| value == best).unwrap();
    assert_eq!(selection.best.unwrap().step as u64, steps[first_best]);
    assert_eq!(selection.kept, Kept::Last);

    // The best state judged again gives the best figure.
    let kept = run.join("tuned-best.safetensors");
    let moved = dir.path().join("best");
    fs::create_dir(&moved).unwrap();
    fs::copy(run.join("config.toml"), moved.join("config.toml")).unwrap();
    fs::copy(kept, moved.join("tuned.safetensors")).unwrap();
    let said = lift_train(&[
        "eval",
        moved.to_str().unwrap(),
        "--split",
        "val",
        "--device",
        "cpu",
        "--json",
    ]);
    let again: Value = serde_json::from_str(&stdout(&said)).unwrap();
    assert_eq!(
        again["evaluations"][0]["metrics"]["mean_class"].as_f64(),
        Some(best)
    );

    let without = TrainConfig {
        val_every: Some(ValEvery::Never),
        keep: Kept::usual(),
        out: dir.path().join("without"),
        ..with.clone()
    };
    command::train(&without).unwrap();
    assert!(validations(&without.out).is_empty());
    let tuned = |run: &Path| tensors(&run.join("tuned.safetensors"));
    assert_eq!(tuned(run), tuned(&without.out));

    // Of the training images too, by band: here all 100 classes have two images.
    for line in log(&without.out) {
        assert!((0.0..=1.0).contains(&line["train_few"].as_f64().unwrap()));
        assert_eq!(line["train_few"], line["train_accuracy"]);
        assert!(line["train_many"].is_null());
    }
}

#[test]
fn the_best_state_survives_stops_and_patience_ends_training() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = TrainConfig {
        val_every: Some(ValEvery::Steps(3)),
        keep: vec![Kept::Best, Kept::Last],
        ..tiny(dir.path())
    };
    let whole = TrainConfig {
        out: dir.path().join("whole"),
        ..base.clone()
    };
    command::train(&whole).unwrap();
    let steps: Vec<u64> = validations(&whole.out)
        .iter()
        .map(|line| line["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [3, 6, 9, 12, 15, 18, 21, 24, 26]);
    let stopped = TrainConfig {
        out: dir.path().join("stopped"),
        ..base.clone()
    };
    resume::with_stops(&stopped, &[5, 6, 13, 20]);
    for file in ["tuned.safetensors", "tuned-last.safetensors"] {
        assert_eq!(
            tensors(&whole.out.join(file)),
            tensors(&stopped.out.join(file)),
            "{file}"
        );
    }
    assert_eq!(validations(&whole.out), validations(&stopped.out));

    // A learning rate of nothing: no validation is better than the first.
    let patient = TrainConfig {
        lr: 0.0,
        patience: Some(2),
        out: dir.path().join("patient"),
        ..base
    };
    let report = command::train(&patient).unwrap();
    let selection = report.selection.unwrap();
    assert!(selection.ended_early);
    assert_eq!(selection.best.unwrap().step, 3);
    assert_eq!(report.training.unwrap().steps, 9);
}

#[test]
fn what_validation_cannot_do_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = resume::tiny(dir.path());
    let refused = |config: &TrainConfig| command::train(config).unwrap_err().to_string();
    let asks = [
        TrainConfig {
            patience: Some(1),
            ..config.clone()
        },
        TrainConfig {
            keep: vec![Kept::Best],
            ..config.clone()
        },
        TrainConfig {
            val_every: Some(ValEvery::Epoch),
            ..config.clone()
        },
    ];
    for (config, flag) in asks
        .iter()
        .zip(["--patience", "--keep best", "--val-every epoch"])
    {
        let message = refused(config);
        assert!(
            message.contains(&format!("{flag} goes by the val split")),
            "{message}"
        );
        assert!(!config.out.exists());
    }
    let out = config.out.display().to_string();
    let output = lift_train(&[
        "--shards",
        &config.shards.display().to_string(),
        "--model",
        "m",
        "--head",
        "h",
        "--out",
        &out,
        "--keep",
        "best",
        "--val-every",
        "never",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("--keep best goes by the val split, and --val-every is never")
    );
}

#[test]
fn a_run_without_a_test_split_ends_without_accuracy_and_is_judged_later() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        epochs: 1,
        ..resume::tiny(dir.path())
    };
    let test = config.shards.join("test");
    fs::rename(&test, dir.path().join("test")).unwrap();
    let report = command::train(&config).unwrap();
    assert!(report.evaluations.is_empty());
    let run = config.out.display().to_string();
    let output = lift_train(&["report", &run]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("had no split to be judged on"),
        "{}",
        stderr(&output)
    );
    fs::rename(dir.path().join("test"), &test).unwrap();
    let output = lift_train(&["eval", &run, "--device", "cpu"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn a_run_is_extended_and_gone_back_to_and_says_so() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        keep_checkpoints: 2,
        tte: Tte::None,
        ..resume::tiny(dir.path())
    };
    command::train(&config).unwrap();
    let run = config.out.display().to_string();
    let resume = |args: &[&str]| lift_train(&[&["resume", run.as_str()], args].concat());
    let output = resume(&["--epochs", "3", "--lr", "0.01"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(said.contains("goes back to step 26"), "{said}");
    assert!(
        said.contains("epochs: 2 until here, 3 from here on"),
        "{said}"
    );
    let report = Report::read(&config.out).unwrap();
    assert_eq!(report.training.unwrap().steps, 39);
    assert!(config.out.join("report-1.json").exists());
    let provenance: Value =
        serde_json::from_slice(&fs::read(config.out.join("provenance.json")).unwrap()).unwrap();
    let changes = provenance["changes"].as_array().unwrap();
    assert_eq!(
        changes[0],
        serde_json::json!({"step": 26, "setting": "epochs", "from": 2, "to": 3})
    );
    assert_eq!(
        (&changes[1]["setting"], &changes[1]["to"]),
        (&"lr".into(), &0.01.into())
    );
    let extended = fs::read(config.out.join("tuned.safetensors")).unwrap();

    // Back to where it was extended from, it ends as before.
    let output = resume(&["--from-step", "26"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(
        fs::read(config.out.join("tuned.safetensors")).unwrap(),
        extended
    );
    let output = resume(&["--from-step", "7"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output)
            .contains("keeps no checkpoint of step 7\nhint: there are those of steps 26, 39"),
        "{}",
        stderr(&output)
    );
}

/// Of a frozen tower the features of `val` are computed once too, whatever is done to training images, and say the same.
#[test]
fn a_frozen_tower_looks_at_val_once() {
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    super::prepare(dir.path());
    fs::rename(images.join("test"), images.join("val")).unwrap();
    build_splits(
        &images,
        &dir.path().join("with-val"),
        &[Split::Train, Split::Val],
    );
    let model = super::demo_model().display().to_string();
    let found = ["kept", "anew"].map(|name| {
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (shards, head, run) = (path("with-val"), path("head.safetensors"), path(name));
        let files = [
            "--shards", &shards, "--head", &head, "--model", &model, "--out", &run,
        ];
        let how = [
            "--tuner", "none", "--epochs", "3", "--lr", "0.5", "--tte", "none", "--device", "cpu",
        ];
        let anew: &[&str] = if name == "anew" {
            &["--no-feature-cache"]
        } else {
            &[]
        };
        let output = lift_train(&[&files[..], &how, anew].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let is_kept =
            said.contains("features of 100 images of val, computed once before the first step, ");
        assert_eq!(is_kept, name == "kept", "{said}");
        validations(Path::new(&run))
    });
    assert_eq!(found[0].len(), 3);
    for (kept, anew) in found[0].iter().zip(&found[1]) {
        let accuracy = |line: &Value| line["validation"]["mean_class"].as_f64().unwrap();
        assert!(
            (accuracy(kept) - accuracy(anew)).abs() <= 0.01,
            "{kept} {anew}"
        );
    }
}
