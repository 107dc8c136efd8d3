//! Every tuner, loss and classifier from the command line: trained a few steps, judged again, with the same result.

use std::path::Path;

use lift_models::{Head, TensorFile};
use tch::{Tensor, kind::FLOAT_CPU};

use super::{demo_model, lift_train, prepare, stderr, stdout};

const TUNERS: [&str; 13] = [
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
    "adaptformer:4,lora:2",
    "bitfit,layer-norm",
];
const LOSSES: [&str; 8] = ["la", "ce", "focal", "ldam", "cb", "grw", "bs", "lade"];
const CLASSIFIERS: [&str; 4] = ["cosine", "linear", "l2norm", "layernorm"];

pub fn succeed(args: &[&str]) -> String {
    let output = lift_train(args);
    let code = output.status.code();
    assert_eq!(code, Some(0), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// A recipe for the inputs of [`prepare`].
fn recipe(dir: &Path, model: &Path, head: &str) -> String {
    let path = |name: &str| dir.join(name).display().to_string();
    let text = format!(
        "[train]\nshards = '{}'\nmodel = '{}'\nhead = '{}'\nepochs = 1\nlr = 0.001\ndevice = 'cpu'\ntte = 'none'\n",
        path("shards"),
        model.display(),
        path(head)
    );
    // As Windows' editors save it.
    let text = format!("\u{feff}{}", text.replace('\n', "\r\n"));
    std::fs::write(path("recipe.toml"), text).unwrap();
    path("recipe.toml")
}

/// A random image tower in timm's layout, small enough to train in no time: 2 blocks, 64 wide, 16 pixels.
pub fn tiny_vit(file: &Path) {
    let mut vit = TensorFile::default();
    let mut add = |name: String, shape: &[i64], base: f64| {
        let tensor = Tensor::randn(shape, FLOAT_CPU) * 0.05 + base;
        vit.tensors.insert(name, tensor);
    };
    add("cls_token".into(), &[1, 1, 64], 0.0);
    add("pos_embed".into(), &[1, 5, 64], 0.0);
    add("patch_embed.proj.weight".into(), &[64, 3, 8, 8], 0.0);
    add("patch_embed.proj.bias".into(), &[64], 0.0);
    add("norm.weight".into(), &[64], 1.0);
    add("norm.bias".into(), &[64], 0.0);
    for block in 0..2 {
        for (name, out, input) in [
            ("attn.qkv", 192, 64),
            ("attn.proj", 64, 64),
            ("mlp.fc1", 96, 64),
            ("mlp.fc2", 64, 96),
        ] {
            add(format!("blocks.{block}.{name}.weight"), &[out, input], 0.0);
            add(format!("blocks.{block}.{name}.bias"), &[out], 0.0);
        }
        for norm in ["norm1", "norm2"] {
            add(format!("blocks.{block}.{norm}.weight"), &[64], 1.0);
            add(format!("blocks.{block}.{norm}.bias"), &[64], 0.0);
        }
    }
    vit.write(file).unwrap();
}

#[test]
fn every_tuner_loss_and_classifier_trains_and_is_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let (vit, head) = (dir.path().join("tiny.safetensors"), "tiny-head.safetensors");
    tiny_vit(&vit);
    let clip_head = Head::read(&dir.path().join("head.safetensors")).unwrap();
    let tiny_head = Head {
        weight: clip_head.weight.narrow(1, 0, 64).contiguous(),
        text_embeds: None,
        model: "tiny.safetensors".into(),
        ..clip_head
    };
    tiny_head.write(&dir.path().join(head)).unwrap();
    let recipe = recipe(dir.path(), &vit, head);
    for (i, tuner) in TUNERS.iter().enumerate() {
        let (loss, classifier) = (LOSSES[i % 8], CLASSIFIERS[i % 4]);
        let run = dir.path().join(format!("run-{i}"));
        let out = run.display().to_string();
        succeed(&[
            "--config",
            &recipe,
            "--out",
            &out,
            "--tuner",
            tuner,
            "--loss",
            loss,
            "--classifier",
            classifier,
        ]);
        let json = succeed(&["eval", "--run", &out, "--device", "cpu", "--json"]);
        let again: serde_json::Value = serde_json::from_str(&json).unwrap();
        let report = std::fs::read(run.join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        let loss = report["training"]["last_epoch_loss"].as_f64();
        assert!(loss.is_some_and(f64::is_finite), "{tuner}: {loss:?}");
        assert_eq!(
            again["evaluations"][0]["metrics"], report["evaluations"][0]["metrics"],
            "{tuner}"
        );
        assert_eq!(again["parameters"], report["parameters"], "{tuner}");
    }
}

#[test]
fn tuners_between_the_towers_train_and_are_judged_again() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let recipe = recipe(dir.path(), &demo_model(), "head.safetensors");
    for (i, args) in [
        &["--tuner", "coop"][..],
        &[
            "--tuner",
            "coop",
            "--coop-init",
            "a photo of a",
            "--coop-position",
            "middle",
        ],
        &["--tuner", "coop:2,adaptformer", "--coop-position", "front"],
        &["--tuner", "clip-adapter", "--loss", "ldam"],
        &["--tuner", "clip-adapter:8,projection"],
        &["--tuner", "projection", "--activation-checkpointing"],
        &["--tuner", "projection-both", "--max-memory", "2GiB"],
        &["--tuner", "clip-adapter-both:8,projection-both,adaptformer"],
        &[
            "--tuner",
            "lora",
            "--classifier",
            "text",
            "--precision",
            "fp16",
        ],
        &[
            "--tuner",
            "adaptformer",
            "--precision",
            "fp16",
            "--activation-checkpointing",
        ],
    ]
    .iter()
    .enumerate()
    {
        let run = dir.path().join(format!("run-{i}"));
        let out = run.display().to_string();
        let mut all = vec!["--config", &recipe, "--out", &out, "--log-every", "1"];
        all.extend(*args);
        succeed(&all);
        let json = succeed(&["eval", "--run", &out, "--device", "cpu", "--json"]);
        let again: serde_json::Value = serde_json::from_str(&json).unwrap();
        let report = std::fs::read(run.join("report.json")).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
        assert_eq!(
            again["evaluations"][0]["metrics"], report["evaluations"][0]["metrics"],
            "{args:?}"
        );
        assert_eq!(again["parameters"], report["parameters"], "{args:?}");
        assert!(
            report["parameters"]["modules"].as_u64().unwrap() > 0,
            "{args:?}"
        );
        let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let scaled = log.lines().all(|line| line.contains("\"loss_scale\":"));
        assert_eq!(scaled, args.contains(&"fp16"), "{args:?}");
    }
}

#[test]
fn what_does_not_go_with_class_texts_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let recipe_clip = recipe(dir.path(), &demo_model(), "head.safetensors");
    let head = dir.path().join("head.safetensors").display().to_string();
    for (args, message) in [
        (
            &["--tuner", "coop", "--head", &head][..],
            "--tuner coop makes the class texts itself",
        ),
        (
            &["--tuner", "projection", "--classifier", "cosine"],
            "--tuner projection works on class texts, and --classifier cosine has none",
        ),
        (
            &["--tuner", "none", "--classifier", "text"],
            "--classifier text is not tuned itself",
        ),
        (
            &["--tuner", "lora", "--coop-init", "a photo of a"],
            "--coop-init is given, and no --tuner coop",
        ),
        (
            &["--tuner", "projection-both", "--head", &head],
            "--tuner projection-both makes the class texts itself",
        ),
        (
            &["--tuner", "clip-adapter,clip-adapter-both"],
            "--tuner clip-adapter and clip-adapter-both tune the same part in two ways",
        ),
        (
            &["--tuner", "coop,projection-both"],
            "--tuner projection-both and coop tune the same part in two ways",
        ),
        (
            &["--tuner", "coop", "--layers", "last:2"],
            "--layers is given, and no tuner to have it",
        ),
        (
            &["--tuner", "coop:2", "--coop-init", "a photo of a"],
            "coop was given a size",
        ),
        (
            &["--tuner", "coop:14"],
            "tokens with 14 learned words, the text tower reads 16",
        ),
    ] {
        let mut all = vec!["--config", &recipe_clip, "--out", "run", "--dry-run"];
        all.extend(args);
        let output = lift_train(&all);
        assert!(
            stderr(&output).contains(message),
            "{args:?}: {}",
            stderr(&output)
        );
        let usage = if args.contains(&"coop:14") { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(usage), "{args:?}");
    }
    let vit = dir.path().join("tiny.safetensors");
    tiny_vit(&vit);
    let head = Head::read(head.as_ref()).unwrap();
    let head = Head {
        weight: head.weight.narrow(1, 0, 64).contiguous(),
        ..head
    };
    head.write(&dir.path().join("tiny-head.safetensors"))
        .unwrap();
    let recipe_vit = recipe(dir.path(), &vit, "tiny-head.safetensors");
    let output = lift_train(&[
        "--config",
        &recipe_vit,
        "--out",
        "run",
        "--dry-run",
        "--tuner",
        "projection",
    ]);
    assert!(
        stderr(&output).contains("hint: use a CLIP"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn plans_name_modules_sizes_and_blocks() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let recipe = recipe(dir.path(), &demo_model(), "head.safetensors");
    let plan = |args: &[&str]| {
        let mut all = vec!["--config", &recipe, "--out", "run", "--dry-run"];
        all.extend(args);
        let plan = succeed(&all);
        plan.lines().nth(1).unwrap().to_owned()
    };
    // By hand for 6 blocks, 128 wide, 100 classes.
    for (args, starts) in [
        (
            &["--tuner", "lora,adaptformer:16", "--layers", "last:2"][..],
            // 100 / (4 x 2) = 12.5 -> 8.
            "tune     lora (size 8) + adaptformer (size 16) in 2 of 6 blocks, ",
        ),
        (&["--preset", "fft"], "tune     full, 1189632 parameters, "),
        (&["--preset", "aft"], "tune     aft, "),
        // 4 words of 64.
        (
            &["--preset", "coop"],
            "tune     coop (size 4), 256 parameters, ",
        ),
        (
            &["--preset", "lp"],
            "tune     the classifier alone, 0.00 % ",
        ),
        (
            &["--preset", "zs"],
            "tune     the classifier alone, 0.00 % ",
        ),
    ] {
        let line = plan(args);
        assert!(line.starts_with(starts), "{args:?}: {line}");
    }

    let output = lift_train(&[
        "--config",
        &recipe,
        "--out",
        "run",
        "--dry-run",
        "--layers",
        "6",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        stderr(&output),
        "error: --layers 6: block 6 counted from 0, the model has 6\n"
    );
}

/// What a frozen tower gives is computed once, and the run is the same but for rounding; with modules, or crops by chance,
/// there is nothing to keep.
#[test]
fn features_of_a_frozen_tower_are_computed_once() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let recipe = recipe(dir.path(), &demo_model(), "head.safetensors");
    let path = |name: &str| dir.path().join(name).display().to_string();
    let train = |name: &str, args: &[&str]| {
        let run = path(name);
        let common = ["--config", &recipe, "--epochs", "3", "--out", &run];
        let output = lift_train(&[&common[..], args].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let kept = said.contains("features of 200 images, computed once before the first step, ");
        let tuned = dir.path().join(name).join("tuned.safetensors");
        (TensorFile::read(&tuned).unwrap(), kept)
    };
    for (tuner, lr) in [("none", "0.05"), ("coop", "0.002"), ("projection", "0.002")] {
        let plain = ["--tuner", tuner, "--lr", lr, "--augment", "plain"];
        let (kept, was_kept) = train(&format!("{tuner}-kept"), &plain);
        let anew = [&plain[..], &["--no-feature-cache"]].concat();
        let (whole, was_kept_again) = train(&format!("{tuner}-whole"), &anew);
        assert!(was_kept && !was_kept_again, "{tuner}");
        for (name, whole) in &whole.tensors {
            let largest = |tensor: &Tensor| tensor.abs().max().double_value(&[]);
            let difference = largest(&(&kept.tensors[name] - whole));
            let size = largest(whole).max(1.0);
            assert!(
                difference < 1e-4 * size,
                "{tuner} {name}: {difference} of {size}"
            );
        }
    }
    let files = std::fs::read_dir(path("none-kept")).unwrap();
    let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    assert!(names.all(|name| !name.starts_with('.')));
    for args in [
        ["--tuner", "lora", "--augment", "plain", "--epochs", "3"],
        ["--tuner", "none", "--augment", "mda", "--epochs", "3"],
        ["--tuner", "none", "--augment", "plain", "--epochs", "1"],
    ] {
        let run = path("not-there");
        let common = ["--config", &recipe, "--out", &run, "--dry-run"];
        let plan = succeed(&[&common[..], &args].concat());
        assert!(!plan.contains("features"), "{args:?}: {plan}");
    }
}
