//! Options of optimiser and schedule: what each changes in a run, and what it must not.

use std::{collections::BTreeMap, path::Path};

use lift_models::TensorFile;
use lift_train::{
    command,
    config::TrainConfig,
    loss::{Loss, LossKind},
    optim::{OptimiserKind, ScheduleKind},
    run,
};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

use super::{
    lift_train,
    resume::{result, tiny, with_stops},
    stderr,
};

fn tuned(run: &Path) -> BTreeMap<String, Tensor> {
    let file = TensorFile::read(&run.join("tuned.safetensors")).unwrap();
    file.tensors
}

fn losses(run: &Path) -> Vec<f64> {
    let (log, _) = result(run);
    log.iter()
        .map(|[_, _, loss, _]| loss.parse().unwrap())
        .collect()
}

fn rates(run: &Path) -> Vec<f64> {
    let (log, _) = result(run);
    log.iter()
        .map(|[_, _, _, lr]| lr.parse().unwrap())
        .collect()
}

fn largest_difference(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> f64 {
    assert!(a.keys().eq(b.keys()));
    let of = |name: &String| (&a[name] - &b[name]).abs().max().double_value(&[]);
    a.keys().map(of).fold(0.0, f64::max)
}

#[test]
fn accumulated_parts_give_the_result_of_the_whole_step() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = tiny(dir.path());
    for loss in [
        LossKind::La,
        LossKind::Focal,
        LossKind::Ldam,
        LossKind::Cb,
        LossKind::Grw,
    ] {
        let run = |accumulate| {
            let config = TrainConfig {
                out: dir.path().join(format!("{loss}-{accumulate}")),
                loss,
                accumulate,
                epochs: 1,
                clip_grad: Some(1.0),
                ..base.clone()
            };
            command::train(&config).unwrap();
            config.out
        };
        // 16 images a step, in parts of 6, 6 and 4; the last step has 8: 3, 3 and 2.
        let (whole, parts) = (run(1), run(3));
        for (a, b) in losses(&whole).iter().zip(losses(&parts)) {
            assert!(
                (a - b).abs() < 1e-4 * a.abs().max(1.0),
                "{loss}: {a} and {b}"
            );
        }
        let difference = largest_difference(&tuned(&whole), &tuned(&parts));
        assert!(difference < 1e-4, "{loss}: {difference}");
    }
}

#[test]
fn a_limit_of_memory_passes_steps_in_parts_with_the_result_of_the_whole() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = TrainConfig {
        epochs: 1,
        ..tiny(dir.path())
    };
    let run = |limit: &str| {
        let config = TrainConfig {
            max_memory: Some(limit.parse().unwrap()),
            out: dir.path().join(limit),
            ..base.clone()
        };
        command::train(&config).map(|_| config.out)
    };
    let message = run("1kB").unwrap_err().to_string();
    assert!(
        message.starts_with(
            "--max-memory 1000 B is too little: a step of 16 images, one at once, takes about "
        ),
        "{message}"
    );
    let limits = (0..12).map(|doublings| format!("{}kB", 256 << doublings));
    let limited = limits
        .into_iter()
        .find_map(|limit| run(&limit).ok())
        .unwrap();
    let whole = run("1TiB").unwrap();
    let parts = |run: &Path| run::read_config(run).unwrap().accumulate;
    assert_eq!(parts(&whole), 1);
    assert!(
        parts(&limited) > 1,
        "the smallest limit that holds an image"
    );
    let difference = largest_difference(&tuned(&whole), &tuned(&limited));
    assert!(difference < 1e-4, "{difference}");
    let lade = TrainConfig {
        loss: LossKind::Lade,
        max_memory: run::read_config(&limited).unwrap().max_memory,
        out: dir.path().join("lade"),
        ..base
    };
    let message = command::train(&lade).unwrap_err().to_string();
    assert!(message.contains("--loss lade looks at all 16"), "{message}");
}

#[test]
fn runs_with_all_options_are_gone_on_with() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = TrainConfig {
        optimizer: OptimiserKind::Adamw,
        lr: 0.001,
        head_lr: Some(0.0005),
        schedule: ScheduleKind::CosineStep,
        warmup: 5,
        accumulate: 2,
        clip_grad: Some(1.0),
        label_smoothing: 0.1,
        log_every: 1,
        ..tiny(dir.path())
    };
    for tuner in ["adaptformer", "aft", "lora:2,vpt-deep:3"] {
        let of = |name: &str| TrainConfig {
            out: dir.path().join(format!("{name}-{tuner}")),
            tuner: tuner.parse().unwrap(),
            ..base.clone()
        };
        let (whole, stopped) = (of("whole"), of("stopped"));
        command::train(&whole).unwrap();
        with_stops(&stopped, &[1, 4, 5, 6, 12, 13, 14, 20, 25, 26]);
        let (whole_result, stopped_result) = (result(&whole.out), result(&stopped.out));
        assert_eq!(whole_result.0, stopped_result.0, "{tuner}");
        assert!(whole_result.1 == stopped_result.1, "{tuner}: other weights");
        // Five steps of warm-up, then half a cosine over the other 21.
        let rates = rates(&whole.out);
        let wanted = [(0, 1.0 / 6.0), (4, 5.0 / 6.0), (5, 1.0)];
        for (step, wanted) in wanted {
            assert!(
                (rates[step] / 0.001 - wanted).abs() < 1e-9,
                "step {step}: {rates:?}"
            );
        }
        assert!(rates[5..].is_sorted_by(|a, b| a > b), "{rates:?}");
    }
}

#[test]
fn the_classifier_may_have_a_learning_rate_of_its_own() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = TrainConfig {
        epochs: 1,
        optimizer: OptimiserKind::Adamw,
        ..tiny(dir.path())
    };
    let run = |lr, head_lr, epochs| {
        let config = TrainConfig {
            out: dir.path().join(format!("{lr}-{head_lr}-{epochs}")),
            lr,
            head_lr: Some(head_lr),
            epochs,
            ..base.clone()
        };
        command::train(&config).unwrap();
        tuned(&config.out)
    };
    let (start, modules, head) = (run(0.0, 0.0, 0), run(0.01, 0.0, 1), run(0.0, 0.01, 1));
    for (name, tensor) in &start {
        let is_head = name == "classifier.weight";
        assert_eq!(tensor != &modules[name], !is_head, "{name}");
        assert_eq!(tensor != &head[name], is_head, "{name}");
    }
}

#[test]
fn smoothed_losses_are_the_mix_they_are_defined_as() {
    tch::manual_seed(3);
    let counts = [50, 10, 4, 2];
    let logits = Tensor::randn([6, 4], FLOAT_CPU);
    let labels = Tensor::from_slice(&[0i64, 1, 2, 3, 0, 1]);
    let loss = |kind| Loss::new(kind, &counts, 1.0, 25.0, Device::Cpu);
    let smoothed = loss(LossKind::Ce).forward_smoothed(&logits, &labels, 0.2);
    let shares = logits.log_softmax(-1, Kind::Float);
    let to_all = -shares.mean(Kind::Float);
    let to_label = loss(LossKind::Ce).forward(&logits, &labels);
    let wanted: Tensor = to_label * 0.8 + to_all * 0.2;
    assert!((&smoothed - wanted).abs().double_value(&[]) < 1e-6);
    for kind in [LossKind::La, LossKind::Ldam, LossKind::Cb, LossKind::Lade] {
        let plain = loss(kind).forward(&logits, &labels);
        assert_eq!(loss(kind).forward_smoothed(&logits, &labels, 0.0), plain);
        assert_ne!(
            loss(kind).forward_smoothed(&logits, &labels, 0.2),
            plain,
            "{kind}"
        );
    }
}

#[test]
fn options_that_have_no_meaning_together_exit_with_2() {
    let paths = ["--shards", "s", "--model", "m", "--head", "h", "--out", "o"];
    let cases: [(&[&str], &str); 5] = [
        (
            &["--loss", "focal", "--label-smoothing", "0.1"],
            "--label-smoothing has no meaning for --loss focal",
        ),
        (
            &["--loss", "lade", "--accumulate", "2"],
            "--accumulate would change --loss lade",
        ),
        (
            &["--accumulate", "0"],
            "--accumulate 0 must be a number from 1",
        ),
        (&["--clip-grad", "0"], "--clip-grad 0 must be above 0"),
        (
            &["--schedule", "step"],
            "[possible values: cosine-epoch, cosine-step, constant]",
        ),
    ];
    for (args, message) in cases {
        let args: Vec<&str> = paths.iter().chain(args).copied().collect();
        let output = lift_train(&args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(message),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_with_its_likely_cause() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = tiny(dir.path());
    let refused = |name: &str, change: &dyn Fn(&mut TrainConfig)| {
        let mut config = TrainConfig {
            out: dir.path().join(name),
            ..base.clone()
        };
        change(&mut config);
        let error = command::train(&config).unwrap_err().to_string();
        assert!(!config.out.join("tuned.safetensors").exists());
        error
    };
    let error = refused("fast", &|config| config.lr = 1e6);
    assert!(error.starts_with("the loss is "), "{error}");
    assert!(
        error.contains("hint: --lr 1000000 is 50000000 times the 0.02 of the preset"),
        "{error}"
    );
}

#[test]
fn a_warmup_longer_than_the_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        warmup: 27,
        ..tiny(dir.path())
    };
    let error = command::train(&config).unwrap_err().to_string();
    assert_eq!(
        error,
        "--warmup 27 is longer than the run, which has 26 steps"
    );
    assert!(!config.out.exists());
}
