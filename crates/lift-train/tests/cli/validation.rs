//! Validation while training: what is measured, which state is kept, when training ends, and how a run goes on with other
//! settings.

use std::{fs, path::Path, sync::Arc};

use lift_models::{Clip, Head, Normalisation, TensorFile};
use lift_shards::{ShardReader, Split};
use lift_train::{
    classifier::{Classifier, ClassifierKind},
    command,
    config::TrainConfig,
    eval::Tte,
    model::TunedModel,
    passes::Passing,
    report::Report,
    transfer::{Target, Transfer},
    tuner::{Tuner, TunerOptions},
    validation::{Kept, Monitor, ValEvery, Validation},
};
use serde_json::Value;
use tch::{Device, Kind};

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
    let shards = dir.path().join("with-val");
    build_splits(&images, &shards, &[Split::Train, Split::Val]);

    let visual = Clip::load(&super::demo_model()).unwrap().visual;
    let tuner = Tuner::new(&TunerOptions::new("none".parse().unwrap()), &visual, 100).unwrap();
    let head = Head::read(&dir.path().join("head.safetensors")).unwrap();
    let classifier = Classifier::new(ClassifierKind::Cosine, &head.weight, 25.0);
    let model = TunedModel::new(visual, tuner, classifier, Device::Cpu, Kind::Float);
    let transfer = Transfer::open(Target::of(&model.visual, Normalisation::HALF)).unwrap();
    let val = Arc::new(ShardReader::open(&shards.join("val")).unwrap());
    let passing = Passing {
        batch_size: 32,
        max_memory: None,
        threads: 1,
        exact: false,
    };
    let rules = (ValEvery::Epoch, Monitor::MeanClass, None);
    let validation = || Validation::new(Arc::clone(&val), &[2; 100], rules, (passing, 0));
    let mut keeps = validation();
    keeps.keep_features(&model, &transfer, dir.path()).unwrap();
    let seen = validation().judge(&model, &transfer).unwrap();
    assert_eq!(keeps.judge(&model, &transfer).unwrap(), seen);
    // A tower that has forgotten all is not asked again.
    for (_, tensor) in model.visual.named_tensors() {
        let _ = tch::no_grad(|| tensor.shallow_clone().zero_());
    }
    assert_eq!(keeps.judge(&model, &transfer).unwrap(), seen);
    assert_ne!(validation().judge(&model, &transfer).unwrap(), seen);

    let path = |name: &str| dir.path().join(name).display().to_string();
    let (shards, head, run) = (path("with-val"), path("head.safetensors"), path("run"));
    let model = super::demo_model().display().to_string();
    let files = [
        "--shards", &shards, "--head", &head, "--model", &model, "--out", &run,
    ];
    let kept = "features of 100 images of val, computed once before the first step, ";
    for (args, is_kept) in [
        (&["--tuner", "none", "--epochs", "2"][..], true),
        (&["--tuner", "none", "--epochs", "1"], false),
        (
            &["--tuner", "none", "--epochs", "1", "--val-every", "2"],
            true,
        ),
        (
            &["--tuner", "none", "--epochs", "2", "--val-every", "never"],
            false,
        ),
        (
            &["--tuner", "none", "--epochs", "2", "--no-feature-cache"],
            false,
        ),
        (&["--tuner", "lora", "--epochs", "2"], false),
    ] {
        let output = lift_train(&[&files[..], &["--dry-run", "--device", "cpu"], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(
            stdout(&output).contains(kept),
            is_kept,
            "{args:?}: {}",
            stdout(&output)
        );
    }
    let how = [
        "--tuner", "none", "--epochs", "2", "--tte", "none", "--device", "cpu",
    ];
    let output = lift_train(&[&files[..], &how].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains(kept));
    assert_eq!(validations(Path::new(&run)).len(), 2);
}
