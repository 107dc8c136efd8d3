//! Numbers that are none, ties, and classes that start alike: never scored, never gone on with in silence.

use std::{fs, path::Path};

use lift_models::{Head, TensorFile};
use lift_train::{
    classifier::ClassifierKind, command, config::TrainConfig, error::Error, stop::Stop,
};
use serde_json::Value;
use tch::{Tensor, kind::FLOAT_CPU};

use super::{
    demo_model, lift_train, prepare,
    resume::{result, tiny},
    stderr,
};

/// Changes a tensor of a run's tuned ones.
fn change(run: &Path, name: &str, change: impl FnOnce(Tensor) -> Tensor) {
    let path = run.join("tuned.safetensors");
    let mut file = TensorFile::read(&path).unwrap();
    let tensor = file.tensors.remove(name).unwrap().copy();
    file.tensors.insert(name.into(), change(tensor));
    file.write(&path).unwrap();
}

/// What `lift-train eval --json` says of a run, or its exit code and message.
fn eval(run: &Path, args: &[&str]) -> Result<Value, (Option<i32>, String)> {
    let run = run.display().to_string();
    let mut all = vec!["eval", "--run", &run, "--device", "cpu", "--json"];
    all.extend(args);
    let output = lift_train(&all);
    match output.status.code() {
        Some(0) => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        code => {
            assert!(output.stdout.is_empty(), "no figure beside an error");
            Err((code, stderr(&output)))
        }
    }
}

/// A run of no steps with a linear classifier.
fn linear(dir: &Path) -> TrainConfig {
    tch::set_num_threads(1);
    let config = TrainConfig {
        epochs: 0,
        classifier: ClassifierKind::Linear,
        ..tiny(dir)
    };
    command::train(&config).unwrap();
    config
}

#[test]
fn one_nan_in_the_classifier_is_refused_with_its_name_and_place() {
    let dir = tempfile::tempdir().unwrap();
    let config = linear(dir.path());
    change(&config.out, "classifier.weight", |weight| {
        let _ = weight.get(7).get(3).fill_(f64::NAN);
        weight
    });
    let (code, message) = eval(&config.out, &[]).unwrap_err();
    assert_eq!(code, Some(1));
    let path = config.out.join("tuned.safetensors").display().to_string();
    assert_eq!(
        message,
        format!(
            "error: {path}: classifier.weight holds values that are not finite: 1 of 6400, the first at [7, 3] is NaN\n\
             hint: bring the file back as the run wrote it, or train again\n"
        )
    );
}

#[test]
fn a_checkpoint_with_a_nan_is_refused_before_anything_is_computed() {
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    let mut file = TensorFile::read(&config.model).unwrap();
    let bias = file.tensors["blocks.1.mlp.fc1.bias"].copy();
    let _ = bias.get(3).fill_(f64::INFINITY);
    file.tensors.insert("blocks.1.mlp.fc1.bias".into(), bias);
    file.write(&config.model).unwrap();
    let message = command::train(&config).unwrap_err().to_string();
    assert_eq!(
        message,
        format!(
            "{}: nothing can be computed with this checkpoint:\n  \
             blocks.1.mlp.fc1.bias (here visual.transformer.resblocks.1.mlp.c_fc.bias) holds values that are not finite: \
             1 of 96, the first at [3] is inf\n\
             hint: fetch the model again; if its publisher's file is like that, it is of no use",
            config.model.display()
        )
    );
    assert!(!config.out.exists());
}

#[test]
fn logits_that_grow_too_large_are_refused_with_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let config = linear(dir.path());
    // Finite, and too much for a sum of 64 products.
    change(&config.out, "classifier.weight", |weight| {
        weight * 0.0 + 3e38
    });
    let (code, message) = eval(&config.out, &[]).unwrap_err();
    assert_eq!(code, Some(1));
    let last = message.lines().rev().nth(1).unwrap();
    assert!(
        last.starts_with("error: image ") && last.contains(".jpg) of "),
        "{message}"
    );
    assert!(
        last.ends_with(" test: its logits are not finite"),
        "{message}"
    );
}

#[test]
fn a_model_that_says_the_same_of_every_class_scores_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = linear(dir.path());
    change(&config.out, "classifier.weight", |weight| weight * 0.0);
    let predictions = dir.path().join("predictions.parquet").display().to_string();
    for tte in ["none", "five-crop"] {
        let args = ["--tte", tte, "--expand", "5", "--predictions", &predictions];
        let report = eval(&config.out, &args).unwrap();
        let metrics = &report["evaluations"][0]["metrics"];
        for key in [
            "overall",
            "mean_class",
            "few",
            "top5",
            "macro_f1",
            "worst_class",
        ] {
            assert_eq!(metrics[key], 0.0, "{tte} {key}");
        }
        // A confidence of 1/100 where nothing is right.
        let error = metrics["calibration_error"].as_f64().unwrap();
        assert!((error - 0.01).abs() < 1e-6, "{error}");
        let judged = lift_train::predictions::read_predictions(predictions.as_ref(), 100).unwrap();
        assert_eq!(judged.len(), 100);
        assert!(
            judged
                .iter()
                .all(|one| one.rank == 99 && one.label != one.predicted)
        );
    }
}

#[test]
fn classes_that_start_alike_are_refused_or_allowed() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = dir.path().join("head.safetensors");
    let head = Head::read(&path).unwrap();
    let (first, second) = (head.class_names[4].clone(), head.class_names[9].clone());
    for rows in [head.text_embeds.as_ref().unwrap(), &head.weight] {
        rows.get(9).copy_(&(rows.get(4) * 2.0));
    }
    head.write(&path).unwrap();
    let (shards, out) = (dir.path().join("shards"), dir.path().join("run"));
    let texts = [&shards, &demo_model(), &path, &out].map(|path| path.display().to_string());
    let [shards, model, file, out] = texts.each_ref().map(String::as_str);
    let expected = format!(
        "error: {file}: classes have the same row or class text, so that nothing tells them apart at the start:\n  \
         4 {first:?}, 9 {second:?}\n\
         hint: give them texts of their own (`lift-text classifier --descriptors`), join them, or go on with --allow-identical\n"
    );
    let base = [
        "--shards", shards, "--model", model, "--head", file, "--device", "cpu",
    ];
    let zero_shot: Vec<&str> = ["zero-shot"].into_iter().chain(base).collect();
    let mut train = base.to_vec();
    train.extend(["--out", out, "--epochs", "0", "--tte", "none"]);
    for mut args in [zero_shot, train] {
        let refused = lift_train(&args);
        assert_eq!(refused.status.code(), Some(1), "{args:?}");
        assert!(
            stderr(&refused).ends_with(&expected),
            "{}",
            stderr(&refused)
        );
        args.push("--allow-identical");
        let allowed = lift_train(&args);
        let said = stderr(&allowed);
        assert_eq!(allowed.status.code(), Some(0), "{args:?}: {said}");
        let warning =
            format!("warning: {file}: classes start alike:\n  4 {first:?}, 9 {second:?}\n");
        assert!(said.contains(&warning), "{said}");
    }
}

#[test]
fn a_zero_row_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    let path = config.head.clone().unwrap();
    let head = Head::read(&path).unwrap();
    let _ = head.weight.get(2).zero_();
    head.write(&path).unwrap();
    let message = command::train(&config).unwrap_err().to_string();
    let name = &head.class_names[2];
    assert_eq!(
        message,
        format!(
            "{}: weight: the row of class 2 ({name:?}) is zero, which has no direction\n\
             hint: make the file again with `lift-text classifier`",
            path.display()
        )
    );
}

#[test]
fn passes_go_on_with_fewer_crops_where_memory_does_not_suffice() {
    use lift_loader::{Draws, View};
    use lift_models::{Footprint, NoHooks, Normalisation, VisionTower};
    use lift_shards::shard::ShardReader;
    use lift_train::{
        passes::{Passes, Passing},
        transfer::{Target, Transfer},
    };
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    let tower = VisionTower::open(&config.model).unwrap();
    let reader = std::sync::Arc::new(ShardReader::open(&config.shards.join("test")).unwrap());
    let transfer = Transfer::open(Target::of(&tower, Normalisation::HALF)).unwrap();
    let features = |most: i64, limit: Option<&str>| {
        let passing = Passing {
            batch_size: 32,
            max_memory: limit.map(|limit| limit.parse().unwrap()),
            threads: 1,
            exact: false,
        };
        let footprint = Footprint {
            fixed: 0,
            each: 1 << 20,
        };
        let how = (View::FiveCrop { expand: 5 }, "evaluation");
        let reader = std::sync::Arc::clone(&reader);
        let passes = Passes::open(reader, &tower, &transfer, how, footprint, passing)?;
        let mut rows = Vec::new();
        let (mut sizes, seen) = (Vec::new(), std::cell::RefCell::new(Vec::new()));
        let forward = |patches: &Tensor| {
            seen.borrow_mut().push(patches.size()[0]);
            // An allocation that cannot be, as one that does not fit.
            let wanted = if patches.size()[0] > most { 1 << 48 } else { 1 };
            drop(Tensor::zeros([wanted], FLOAT_CPU));
            tower.features(patches, &NoHooks)
        };
        passes.each(Draws::in_order(12), forward, |features, _, labels| {
            assert_eq!(features.size()[0], 5 * labels.len() as i64);
            rows.push(features);
            Ok(())
        })?;
        sizes.extend(seen.into_inner());
        Ok::<_, Error>((Tensor::cat(&rows, 0), sizes))
    };
    // 6 images of 5 crops each in a batch.
    let (whole, sizes) = features(100, None).unwrap();
    assert_eq!((whole.size(), sizes), (vec![60, 64], vec![30, 30]));
    // 30 and 15 do not fit; 7 do, and the second batch begins with 7.
    let (parts, sizes) = features(7, None).unwrap();
    assert_eq!(sizes, [30, 15, 7, 7, 7, 7, 2, 7, 7, 7, 7, 2]);
    assert!((&whole - &parts).abs().max().double_value(&[]) < 1e-5);
    // A limit of 8 MiB lets 8 crops of a MiB through at once: one image a batch.
    let (limited, sizes) = features(100, Some("8MiB")).unwrap();
    assert_eq!(sizes, [5; 12]);
    assert!((&whole - &limited).abs().max().double_value(&[]) < 1e-5);
    let message = features(0, None).unwrap_err().to_string();
    assert!(
        message.starts_with("cpu: out of memory: 1048576.00 GiB more was asked for, of ")
            && message.ends_with(
                ", in evaluation with one crop at once\nhint: a smaller --model or --resolution takes less"
            ),
        "{message}"
    );
    assert_eq!(
        features(100, Some("1MB")).unwrap_err().to_string(),
        "--max-memory 1000000 B is too little: evaluation of one crop at once takes about 1.0 MiB"
    );
    // Gradients are kept track of again.
    let leaf = Tensor::zeros([1], FLOAT_CPU).set_requires_grad(true);
    assert!((leaf * 2.0).requires_grad());
}

#[test]
fn evaluations_are_the_same_for_any_batch_and_limit() {
    let dir = tempfile::tempdir().unwrap();
    let config = linear(dir.path());
    let metrics = |args: &[&str]| {
        let mut all = vec!["--tte", "five-crop", "--expand", "5"];
        all.extend(args);
        let report = eval(&config.out, &all).unwrap();
        report["evaluations"][0]["metrics"].clone()
    };
    let whole = metrics(&[]);
    for args in [
        ["--eval-batch-size", "1"],
        ["--batch-size", "7"],
        ["--max-memory", "2MiB"],
    ] {
        let other = metrics(&args);
        for key in [
            "overall",
            "mean_class",
            "top5",
            "macro_f1",
            "intervals",
            "per_class",
        ] {
            assert_eq!(whole[key], other[key], "{args:?} {key}");
        }
        let error = |metrics: &Value| metrics["calibration_error"].as_f64().unwrap();
        assert!((error(&whole) - error(&other)).abs() < 1e-6, "{args:?}");
    }
    let (code, message) = eval(&config.out, &["--max-memory", "1kB"]).unwrap_err();
    assert_eq!(code, Some(2));
    let start =
        "error: --max-memory 1000 B is too little: evaluation of one crop at once takes about ";
    assert!(message.starts_with(start), "{message}");
}

#[test]
fn a_run_goes_on_with_less_at_once() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let whole = tiny(dir.path());
    command::train(&whole).unwrap();
    let stopped = TrainConfig {
        out: dir.path().join("stopped"),
        ..whole.clone()
    };
    command::train_until(&stopped, &[], &Stop::after(5)).unwrap_err();
    let run = stopped.out.display().to_string();
    let mut args = vec!["resume", &run];
    args.extend(["--max-memory", "1GiB", "--accumulate", "3"]);
    args.extend(["--eval-batch-size", "9"]);
    let output = lift_train(&args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(
        said.contains(&format!(
            "{run}: goes on with other amounts at once: the same result but for rounding\n"
        )),
        "{said}"
    );
    let kept = lift_train::run::read_config(&stopped.out).unwrap();
    assert_eq!((kept.accumulate, kept.eval_batch_size), (3, Some(9)));
    assert_eq!(kept.max_memory, Some("1GiB".parse().unwrap()));
    let tensors = |run: &Path| {
        let file = TensorFile::read(&run.join("tuned.safetensors")).unwrap();
        file.tensors
    };
    let (a, b) = (tensors(&whole.out), tensors(&stopped.out));
    for (name, tensor) in &a {
        let difference = (tensor - &b[name]).abs().max().double_value(&[]);
        assert!(difference < 1e-3, "{name}: {difference}");
    }
    assert_eq!(result(&whole.out).0.len(), result(&stopped.out).0.len());
    // What decides the result stays.
    let text = fs::read_to_string(whole.out.join("config.toml")).unwrap();
    assert!(text.contains("batch_size = 16"));
    let refused = lift_train(&["resume", &run, "--batch-size", "8"]);
    assert_eq!(refused.status.code(), Some(2));
}
