//! Every tuner, loss and classifier from the command line: trained a few steps, judged again, with the same result.

use std::path::{Path, PathBuf};

use lift_clip::{Head, TensorFile};
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

fn succeed(args: &[&str]) -> String {
    let output = lift_train(args);
    let code = output.status.code();
    assert_eq!(code, Some(0), "{args:?}: {}", stderr(&output));
    stdout(&output)
}

/// A file of the reference data, or `None` and a printed reason when the data are not here at all.
fn shared(relative: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let base = std::env::var_os("LIFT_SHARED").map_or(beside, PathBuf::from);
    if base.is_dir() {
        return Some(base.join(relative));
    }
    eprintln!("skipped: the reference data {relative} are not on this machine (set LIFT_SHARED)");
    None
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
    std::fs::write(path("recipe.toml"), text).unwrap();
    path("recipe.toml")
}

/// A random image tower in timm's layout, small enough to train in no time: 2 blocks, 64 wide, 16 pixels.
fn tiny_vit(file: &Path) {
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
        "lift-train: --layers 6: block 6 counted from 0, the model has 6\n"
    );
}

#[test]
fn parity_refuses_what_is_no_reference_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let model = demo_model().display().to_string();
    let mut file = TensorFile::default();
    file.tensors.insert("losses".into(), Tensor::from(1.0));
    let parity = |run: &str| {
        let inputs = path("inputs.safetensors");
        let output = lift_train(&[
            "parity", "--model", &model, "--inputs", &inputs, "--run", run,
        ]);
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    assert!(parity("nowhere").contains("inputs.safetensors: No such file"));
    file.write(&dir.path().join("inputs.safetensors")).unwrap();
    file.write(&dir.path().join("run.safetensors")).unwrap();
    let message = parity(&path("run.safetensors"));
    assert!(
        message.contains("run.safetensors: no lr in the metadata"),
        "{message}"
    );
    for (key, value) in [
        ("lr", "0.1"),
        ("loss", "Hinge"),
        ("classifier", "CosineClassifier"),
    ] {
        file.metadata.insert(key.into(), value.into());
    }
    file.write(&dir.path().join("run.safetensors")).unwrap();
    let message = parity(&path("run.safetensors"));
    assert!(
        message.contains("run.safetensors: metadata loss: \"Hinge\" is not known"),
        "{message}"
    );
    file.metadata.insert("loss".into(), "LA".into());
    file.write(&dir.path().join("run.safetensors")).unwrap();
    let message = parity(&path("run.safetensors"));
    assert!(
        message.contains("run.safetensors: classifier.weight is missing"),
        "{message}"
    );
}

#[test]
fn parity_prints_deviations_and_exits_with_1_above_tolerance() {
    let Some(golden) = shared("golden") else {
        return;
    };
    let path = |name: &str| golden.join(name).display().to_string();
    let (model, inputs) = (
        path("clip-openai-layout.safetensors"),
        path("train-inputs.safetensors"),
    );
    let parity = |run: &str, more: &[&str]| {
        let mut args = vec![
            "parity", "--model", &model, "--inputs", &inputs, "--run", run,
        ];
        args.extend(more);
        lift_train(&args)
    };
    let run = path("tuners/lora.safetensors");
    let output = parity(&run, &["--tuner", "lora"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].ends_with(
            "lora.safetensors: tuner lora, cosine classifier, loss la, 25088 parameters, 6 steps"
        ),
        "{text}"
    );
    let whats: Vec<&str> = lines[2..].iter().map(|line| line[..16].trim()).collect();
    assert_eq!(
        whats,
        [
            "losses",
            "first logits",
            "eval logits",
            "five-crop logits",
            "final tensors",
            "gradient norms"
        ]
    );

    let output = parity(&run, &["--tuner", "adapter"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("its tensors are those of lora, not of adapter"));

    // A reference that says something else, and one that says nothing.
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other.safetensors");
    for value in [1.0, f64::NAN] {
        let mut file = TensorFile::read(&golden.join("tuners/lora.safetensors")).unwrap();
        let logits = &file.tensors["eval_logits"] + value;
        file.tensors.insert("eval_logits".into(), logits);
        file.write(&other).unwrap();
        let output = parity(&other.display().to_string(), &["--json"]);
        assert_eq!(output.status.code(), Some(1));
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(json["within_tolerance"], false);
        let output = parity(&other.display().to_string(), &[]);
        assert!(stdout(&output).contains("ABOVE"));
        assert!(
            stderr(&output).ends_with("other.safetensors: above tolerance: eval logits\n"),
            "{}",
            stderr(&output)
        );
    }
}
