//! Runs that are stopped, killed and gone on with: the same losses and weights, bit for bit; and what is refused.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use lift_loader::{Sampler, Shuffle};
use lift_models::{Head, Precision};
use lift_train::{
    command,
    config::{Start, TrainArgs, TrainConfig},
    error::Error,
    eval::Tte,
    head_init::HeadInit,
    run,
    stop::Stop,
};

use super::{demo_model, lift_train, methods::tiny_vit, prepare, stderr};

/// Two epochs of 13 steps, the last of them of 8 images, with a random tower.
pub fn tiny(dir: &Path) -> TrainConfig {
    prepare(dir);
    tiny_vit(&dir.join("tiny.safetensors"));
    let head = Head::read(&dir.join("head.safetensors")).unwrap();
    let head = Head {
        weight: head.weight.narrow(1, 0, 64).contiguous(),
        text_embeds: None,
        model: "tiny.safetensors".into(),
        ..head
    };
    head.write(&dir.join("tiny-head.safetensors")).unwrap();
    TrainArgs {
        shards: Some(dir.join("shards")),
        model: Some(dir.join("tiny.safetensors")),
        head: Some(dir.join("tiny-head.safetensors")),
        out: Some(dir.join("run")),
        epochs: Some(2),
        batch_size: Some(16),
        log_every: Some(4),
        tte: Some(Tte::None),
        device: Some("cpu".into()),
        threads: Some(1),
        ..TrainArgs::default()
    }
    .resolve()
    .unwrap()
}

/// What two runs must have in common: the log without its times, and the bytes of the weights.
pub fn result(run: &Path) -> (Vec<[String; 4]>, Vec<u8>) {
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        ["step", "epoch", "loss", "lr"].map(|key| line[key].to_string())
    });
    let lines = lines.collect();
    (lines, fs::read(run.join("tuned.safetensors")).unwrap())
}

/// Runs to the end with a stop after each of these steps.
pub fn with_stops(config: &TrainConfig, steps: &[usize]) {
    let mut outcome = None;
    for &step in steps {
        let stop = Stop::after(step);
        outcome = Some(match outcome {
            None => command::train_until(config, &[], &stop),
            Some(_) => command::resume(config, &stop),
        });
        let stopped = matches!(outcome, Some(Err(Error::Stopped { step: at, .. })) if at == step);
        assert!(stopped, "step {step}: {outcome:?}");
        assert!(!config.out.join("tuned.safetensors").exists());
    }
    command::resume(config, &Stop::default()).unwrap();
    assert!(!config.out.join("checkpoint").exists());
}

fn last_epoch_loss(run: &Path) -> serde_json::Value {
    let report = fs::read(run.join("report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    report["training"]["last_epoch_loss"].clone()
}

#[test]
fn runs_stopped_at_20_random_steps_end_like_runs_that_never_stopped() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = tiny(dir.path());
    let tuners = [
        "none",
        "adaptformer",
        "adapter",
        "lora",
        "vpt-shallow",
        "vpt-deep",
        "ssf",
        "bitfit",
        "layer-norm",
        "aft",
        "full",
        "lora:2,adaptformer:4",
        "bitfit,layer-norm",
    ];
    for (i, tuner) in tuners.into_iter().enumerate() {
        let whole = TrainConfig {
            out: dir.path().join(format!("whole-{i}")),
            tuner: tuner.parse().unwrap(),
            ..base.clone()
        };
        stops_change_nothing(&whole, i as u64, 20);
    }
}

/// A run of 26 steps, and the same with so many stops at random steps.
fn stops_change_nothing(whole: &TrainConfig, seed: u64, stops: usize) {
    command::train(whole).unwrap();
    let stopped = TrainConfig {
        out: whole.out.with_extension("stopped"),
        ..whole.clone()
    };
    let mut steps: Vec<usize> = Shuffle::new(26, seed, 0).rows().take(stops).collect();
    steps.sort_unstable();
    let steps: Vec<usize> = steps.into_iter().map(|step| step + 1).collect();
    with_stops(&stopped, &steps);
    let ((log, weights), (other_log, other_weights)) = (result(&whole.out), result(&stopped.out));
    let tuner = &whole.tuner;
    assert_eq!(log.len(), 8, "every 4 steps and at the end of an epoch");
    assert_eq!(log, other_log, "{tuner}");
    assert!(weights == other_weights, "{tuner}: other weights");
    assert_eq!(last_epoch_loss(&whole.out), last_epoch_loss(&stopped.out));
}

#[test]
fn stops_change_nothing_with_learned_prompts() {
    stops_of("coop", 0, 20);
}

#[test]
fn stops_change_nothing_with_a_projection() {
    stops_of("projection", 1, 20);
}

#[test]
fn stops_change_nothing_with_adapters_between_the_towers() {
    stops_of("clip-adapter", 2, 20);
}

#[test]
fn stops_change_nothing_with_parts_behind_both_towers() {
    stops_of("projection-both,clip-adapter-both", 1, 12);
}

#[test]
fn stops_change_nothing_in_fp16_and_with_activation_checkpointing() {
    stops_of("fp16", 3, 6);
    stops_of("recomputed", 4, 6);
}

fn stops_of(name: &str, seed: u64, stops: usize) {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let tiny = tiny(dir.path());
    let args = TrainArgs {
        shards: Some(tiny.shards.clone()),
        model: Some(demo_model()),
        out: Some(dir.path().join(name)),
        head: (!(name == "coop" || name.contains("-both")))
            .then(|| dir.path().join("head.safetensors")),
        tuner: (seed < 3).then(|| name.parse().unwrap()),
        precision: (name == "fp16").then_some(Precision::Fp16),
        activation_checkpointing: Some(name == "recomputed"),
        epochs: Some(2),
        batch_size: Some(16),
        log_every: Some(4),
        tte: Some(Tte::None),
        device: Some("cpu".into()),
        threads: Some(1),
        ..TrainArgs::default()
    };
    stops_change_nothing(&args.resolve().unwrap(), seed, stops);
}

#[test]
fn a_classifier_of_the_runs_own_and_repeated_images_are_gone_on_with() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = tiny(dir.path());
    for (init, sampler) in [
        (HeadInit::ClassMean, Sampler::ClassBalanced),
        (HeadInit::Random, Sampler::Progressive),
    ] {
        let whole = TrainConfig {
            out: dir.path().join(format!("whole-{init}")),
            head: None,
            init: Start::Head(init),
            sampler,
            ..base.clone()
        };
        command::train(&whole).unwrap();
        let stopped = TrainConfig {
            out: dir.path().join(format!("stopped-{init}")),
            ..whole.clone()
        };
        with_stops(&stopped, &[1, 5, 14, 20]);
        assert!(result(&whole.out) == result(&stopped.out), "{init}");
        let made = |run: &Path| fs::read(run.join("head.safetensors")).unwrap();
        assert!(made(&whole.out) == made(&stopped.out), "{init}");
    }
}

#[test]
fn other_inputs_and_settings_are_refused_by_name() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    let refused = |config: &TrainConfig| {
        let message = command::resume(config, &Stop::default())
            .unwrap_err()
            .to_string();
        message.replace(&dir.path().display().to_string(), "DIR")
    };
    assert!(refused(&config).starts_with("DIR/run/config.toml: No such file"));
    command::train_until(&config, &[], &Stop::after(5)).unwrap_err();

    // The same classes, another row.
    let head = Head::read(config.head.as_deref().unwrap()).unwrap();
    let other_head = dir.path().join("other-head.safetensors");
    let weight = &head.weight + 1e-3;
    Head { weight, ..head }.write(&other_head).unwrap();
    // The same images, in another folder and with another seed of their order.
    let other_shards = dir.path().join("other-shards");
    copy(&config.shards, &other_shards);
    let same_shards = TrainConfig {
        shards: other_shards.clone(),
        ..config.clone()
    };
    let manifest = other_shards.join("train/manifest.json");
    let other_model = dir.path().join("other.safetensors");
    tiny_vit(&other_model);
    let of_head = TrainConfig {
        head: Some(other_head),
        ..config.clone()
    };
    let of_model = TrainConfig {
        model: other_model,
        ..config.clone()
    };
    let of_tau = TrainConfig {
        tau: 0.5,
        ..config.clone()
    };
    for (config, start) in [
        (
            &of_head,
            "DIR/other-head.safetensors: not the classifier file that the run was started with (hash ",
        ),
        (
            &of_model,
            "DIR/other.safetensors: not the model that the run was started with (hash ",
        ),
        (
            &of_tau,
            "DIR/run/config.toml: tau is 0.5, the checkpoint has 1.0\nhint: ",
        ),
    ] {
        let message = refused(config);
        assert!(message.starts_with(start), "{message}");
    }

    // Shards that were moved are the same shards.
    let moved = command::resume(&same_shards, &Stop::after(6)).unwrap_err();
    assert!(matches!(moved, Error::Stopped { step: 6, .. }), "{moved}");
    let mut text = fs::read(&manifest).unwrap();
    text.push(b' ');
    fs::write(&manifest, text).unwrap();
    let message = refused(&same_shards);
    assert!(
        message
            .starts_with("DIR/other-shards: not the shards that the run was started with (hash "),
        "{message}"
    );

    // Another process has it.
    let lock = run::lock(&config.out).unwrap();
    assert_eq!(
        refused(&config),
        "DIR/run: another process is training in it"
    );
    drop(lock);

    // A log that lost lines cannot be cut back to the checkpoint.
    let log = config.out.join("metrics.jsonl");
    let lines = fs::read(&log).unwrap();
    fs::write(&log, &lines[1..]).unwrap();
    let message = refused(&config);
    assert!(
        message.starts_with("DIR/run/metrics.jsonl: holds "),
        "{message}"
    );
    fs::write(&log, lines).unwrap();

    command::resume(&config, &Stop::default()).unwrap();
    assert_eq!(
        refused(&config),
        "DIR/run: is finished, it has its report\nhint: `lift-train eval DIR/run` judges it again"
    );
}

#[test]
fn a_finished_run_removes_its_own_checkpoint_only() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    let stopped = command::train_until(&config, &[], &Stop::after(2));
    assert!(matches!(stopped, Err(Error::Stopped { .. })), "{stopped:?}");
    let folder = config.out.join("checkpoint");
    fs::copy(folder.join("latest.safetensors"), folder.join("mine")).unwrap();
    command::resume(&config, &Stop::default()).unwrap();
    let names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["mine"]);
}

/// What a run leaves that is killed before its first checkpoint.
fn killed_at_once(config: &TrainConfig) {
    let out = &config.out;
    run::create(config).unwrap();
    fs::write(out.join("metrics.jsonl"), "").unwrap();
    fs::create_dir(out.join("checkpoint")).unwrap();
    fs::write(out.join("checkpoint/.latest.safetensors.lift-tmp"), "ha").unwrap();
}

#[test]
fn a_run_that_was_killed_before_its_first_checkpoint_begins_again() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let whole = tiny(dir.path());
    command::train(&whole).unwrap();
    let of = |name: &str| TrainConfig {
        out: dir.path().join(name),
        ..whole.clone()
    };

    let (resumed, repeated) = (of("resumed"), of("repeated"));
    killed_at_once(&resumed);
    let output = lift_train(&["resume", &resumed.out.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = format!(
        "{}: has no checkpoint yet, and begins again",
        resumed.out.display()
    );
    assert!(stderr(&output).contains(&said), "{}", stderr(&output));
    killed_at_once(&repeated);
    command::train(&repeated).unwrap();
    for config in [&resumed, &repeated] {
        assert!(
            result(&config.out) == result(&whole.out),
            "{:?}",
            config.out
        );
    }

    // Another process is about to begin there; nobody's files are taken for a run's.
    let (locked, mine) = (of("locked"), of("mine"));
    killed_at_once(&locked);
    let lock = run::lock(&locked.out).unwrap();
    let message = command::train(&locked).unwrap_err().to_string();
    assert!(
        message.ends_with("locked: another process is training in it"),
        "{message}"
    );
    drop(lock);
    killed_at_once(&mine);
    fs::write(mine.out.join("notes.txt"), "").unwrap();
    let message = command::train(&mine).unwrap_err().to_string();
    assert!(
        message.contains("mine: exists and is not an empty folder\nhint: "),
        "{message}"
    );
    fs::remove_file(mine.out.join("notes.txt")).unwrap();
    fs::write(mine.out.join("config.toml"), "title = 'mine'\n").unwrap();
    let message = command::train(&mine).unwrap_err().to_string();
    assert!(
        message.contains("mine: exists and is not an empty folder\nhint: "),
        "{message}"
    );
}

#[test]
fn the_command_of_an_unfinished_run_names_what_goes_on_with_it() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    command::train_until(&config, &[], &Stop::after(5)).unwrap_err();
    let run = config.out.display();
    assert_eq!(
        command::train(&config).unwrap_err().to_string(),
        format!(
            "{run}: holds a run that is not finished\n\
             hint: `lift-train resume {run}` goes on with it; or choose another --out"
        )
    );
    // A file system that tears what was synced leaves half of it.
    let path = config.out.join("checkpoint/latest.safetensors");
    let bytes = fs::read(&path).unwrap();
    for length in [0, 5, bytes.len() / 2] {
        fs::write(&path, &bytes[..length]).unwrap();
        let message = command::resume(&config, &Stop::default())
            .unwrap_err()
            .to_string();
        assert!(
            message.starts_with(&format!("{}: not a whole checkpoint: ", path.display()))
                && message.ends_with("hint: remove the folder and start the run again"),
            "{message}"
        );
    }
    // It lost its checkpoint, and its log has steps: nothing begins again over it.
    fs::remove_file(config.out.join("checkpoint/latest.safetensors")).unwrap();
    let message = command::resume(&config, &Stop::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.ends_with("latest.safetensors: no checkpoint, though the run has begun\nhint: remove the folder and start again"),
        "{message}"
    );
}

#[test]
fn constants_and_test_shards_that_changed_are_refused() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let config = tiny(dir.path());
    let refused = |config: &TrainConfig| {
        let message = command::resume(config, &Stop::default())
            .unwrap_err()
            .to_string();
        message.replace(&dir.path().display().to_string(), "DIR")
    };
    command::train_until(&config, &[], &Stop::after(5)).unwrap_err();

    let constants = dir.path().join("preprocessor_config.json");
    fs::write(&constants, r#"{"image_std": [1, 2, 3]}"#).unwrap();
    let message = refused(&config);
    assert!(
        message.starts_with(
            "DIR/tiny.safetensors: not the normalisation of pixels (preprocessor_config.json or config.json) that the run was started with (hash "
        ),
        "{message}"
    );
    fs::remove_file(&constants).unwrap();

    let manifest = config.shards.join("test/manifest.json");
    let text = fs::read(&manifest).unwrap();
    fs::write(&manifest, [&text[..], b" "].concat()).unwrap();
    let message = refused(&config);
    assert!(
        message.starts_with("DIR/shards: not the test shards that the run was started with (hash "),
        "{message}"
    );
    fs::write(&manifest, text).unwrap();
    command::resume(&config, &Stop::default()).unwrap();
}

#[test]
fn words_are_learned_with_the_tokenizer_they_began_with() {
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let base = tiny(dir.path());
    let model = dir.path().join("clip");
    copy(&demo_model(), &model);
    let args = TrainArgs {
        shards: Some(base.shards),
        model: Some(model.clone()),
        out: Some(dir.path().join("coop")),
        tuner: Some("coop".parse().unwrap()),
        epochs: Some(1),
        batch_size: Some(16),
        tte: Some(Tte::None),
        device: Some("cpu".into()),
        threads: Some(1),
        ..TrainArgs::default()
    };
    let config = args.resolve().unwrap();
    command::train_until(&config, &[], &Stop::after(2)).unwrap_err();
    let tokenizer = model.join("tokenizer.json");
    let text = fs::read_to_string(&tokenizer).unwrap();
    fs::write(&tokenizer, text + "\n").unwrap();
    let message = command::resume(&config, &Stop::default())
        .unwrap_err()
        .to_string();
    assert!(
        message.contains(
            "clip: not the text tower and tokenizer that the run was started with (hash "
        ),
        "{message}"
    );
}

/// Starts the program and waits until its log has this many lines.
fn start_and_wait(args: &[&str], run: &Path, lines: usize) -> Child {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lift-train"))
        .args(args)
        .env("OMP_NUM_THREADS", "1")
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let log = run.join("metrics.jsonl");
    while fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < lines {
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn the_program_goes_on_after_sigterm_and_sigkill() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = |name: &str| dir.path().join(name);
    let recipe = format!(
        "[train]\nshards = '{}'\nmodel = '{}'\nhead = '{}'\nepochs = 2\nbatch_size = 16\nlog_every = 1\n\
         checkpoint_every = 3\ndevice = 'cpu'\ntte = 'none'\n",
        path("shards").display(),
        demo_model().display(),
        path("head.safetensors").display()
    );
    fs::write(path("recipe.toml"), recipe).unwrap();
    let recipe = path("recipe.toml").display().to_string();
    let (whole, stopped) = (path("whole"), path("stopped"));
    let (out, run) = (whole.display().to_string(), stopped.display().to_string());
    let output = lift_train(&["--config", &recipe, "--out", &out]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let child = start_and_wait(&["--config", &recipe, "--out", &run], &stopped, 4);
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let text = stderr(&output);
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("error: {run}: stopped after step "))
            && last.ends_with(&format!("; `lift-train resume {run}` goes on")),
        "{text}"
    );
    let step = fs::read_to_string(stopped.join("metrics.jsonl"))
        .unwrap()
        .lines()
        .count();

    // Killed at once, in the middle of whatever it does.
    let mut child = start_and_wait(&["resume", &run], &stopped, step + 5);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!stopped.join("tuned.safetensors").exists());

    let output = lift_train(&["resume", &run]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains(&format!("{run}: goes on after step ")));
    let ((log, weights), (other_log, other_weights)) = (result(&whole), result(&stopped));
    assert_eq!(log.len(), 26);
    assert_eq!(log, other_log);
    assert!(weights == other_weights, "other weights");
    let output = lift_train(&["resume", &run]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("is finished"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_run_that_diverges_leaves_no_weights() {
    let dir = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        lr: 1e6,
        tuner: "full".parse().unwrap(),
        accumulate: 3,
        ..tiny(dir.path())
    };
    let message = command::train(&config).unwrap_err().to_string();
    assert!(
        message.starts_with("the loss is ") && message.contains("learning rate 1000000"),
        "{message}"
    );
    for file in ["tuned.safetensors", "report.json"] {
        assert!(!config.out.join(file).exists(), "{file}");
    }
}

fn copy(from: &Path, to: &PathBuf) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
