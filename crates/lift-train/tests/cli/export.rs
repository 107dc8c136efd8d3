//! `lift-train export`: a run that was moved is judged as before, a merged model gives the run's logits, an adapter holds what was
//! tuned, and a model card says what the report says.

#[path = "export/card.rs"]
mod card;
#[path = "export/merged.rs"]
mod merged;
#[path = "export/peft.rs"]
mod peft;

use std::{
    fs,
    path::{Path, PathBuf},
};

use lift_models::{NoHooks, TensorFile, VisionTower, normalize};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use super::{demo_model, lift_train, methods::succeed, prepare, stderr};

/// Trains one epoch on what [`prepare`] made in `dir`; the run's folder.
fn trained(dir: &Path, name: &str, model: &Path, head: &str, more: &[&str]) -> PathBuf {
    let path = |name: &str| dir.join(name).display().to_string();
    let (shards, head, out) = (path("shards"), path(head), path(name));
    let model = model.display().to_string();
    let args = [
        "--shards", &shards, "--model", &model, "--head", &head, "--out", &out, "--epochs", "1",
        "--device", "cpu", "--tte", "none",
    ];
    succeed(&[&args[..], more].concat());
    dir.join(name)
}

fn export(run: &Path, format: &str, out: &Path) -> std::process::Output {
    let (run, out) = (run.display().to_string(), out.display().to_string());
    lift_train(&["export", &run, "--format", format, "--out", &out])
}

fn exported(run: &Path, format: &str, out: &Path) -> String {
    let output = export(run, format, out);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(output.stdout.is_empty());
    said
}

fn refused(run: &Path, format: &str, out: &Path) -> String {
    let output = export(run, format, out);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(!out.exists(), "{} is there", out.display());
    stderr(&output)
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The files below a folder, by name.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let below = self::names(&entry.path()).into_iter();
            names.extend(below.map(|file| format!("{name}/{file}")));
        } else {
            names.push(name);
        }
    }
    names.sort();
    names
}

/// The metrics of an evaluation of what lies in `run`.
fn judged(run: &Path, shards: &Path) -> Value {
    let (run, shards) = (run.display().to_string(), shards.display().to_string());
    let args = [
        "eval", "--run", &run, "--shards", &shards, "--device", "cpu", "--json",
    ];
    let report: Value = serde_json::from_str(&succeed(&args)).unwrap();
    report["evaluations"][0]["metrics"].clone()
}

#[test]
fn a_folder_is_judged_as_its_run_wherever_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let model = dir.path().join("base.safetensors");
    fs::copy(demo_model().join("model.safetensors"), &model).unwrap();
    for beside in ["config.json", "tokenizer.json"] {
        fs::copy(demo_model().join(beside), dir.path().join(beside)).unwrap();
    }
    let run = trained(dir.path(), "run", &model, "head.safetensors", &[]);
    let out = dir.path().join("taken");
    exported(&run, "folder", &out);
    assert_eq!(
        names(&out),
        [
            "README.md",
            "classes.json",
            "config.toml",
            "metrics.jsonl",
            "model/config.json",
            "model/model.safetensors",
            "model/tokenizer.json",
            "preprocessor_config.json",
            "provenance.json",
            "report.json",
            "start.safetensors",
            "tuned.safetensors"
        ]
    );
    assert_eq!(
        fs::read(out.join("model/model.safetensors")).unwrap(),
        fs::read(&model).unwrap()
    );
    // Nothing of the machine that it was made on.
    let machine = dir.path().display().to_string();
    for name in names(&out) {
        let bytes = fs::read(out.join(&name)).unwrap();
        let holds = bytes
            .windows(machine.len())
            .any(|part| part == machine.as_bytes());
        assert!(!holds, "{name} holds {machine}");
    }
    assert_eq!(
        json(&out.join("classes.json"))[99],
        lift_shapes::class_names()[99]
    );
    assert_eq!(
        json(&out.join("preprocessor_config.json"))["size"]["shortest_edge"],
        54
    );

    // The same export again gives the same bytes.
    let again = dir.path().join("again");
    exported(&run, "folder", &again);
    for name in names(&out) {
        let read = |folder: &Path| fs::read(folder.join(&name)).unwrap();
        assert_eq!(read(&out), read(&again), "{name}");
    }

    // Moved, and all that it was made from is gone.
    let report = json(&run.join("report.json"));
    let moved = dir.path().join("else where");
    fs::rename(&out, &moved).unwrap();
    fs::remove_dir_all(&run).unwrap();
    fs::remove_file(&model).unwrap();
    let metrics = judged(&moved, &dir.path().join("shards"));
    assert_eq!(metrics, report["evaluations"][0]["metrics"]);
    // It is a run, which can be taken along again.
    exported(&moved, "folder", &dir.path().join("third"));
    for name in ["config.toml", "report.json", "README.md"] {
        let read = |folder: &Path| fs::read(folder.join(name)).unwrap();
        assert_eq!(read(&dir.path().join("third")), read(&moved), "{name}");
    }

    let output = lift_train(&["eval", "--run", &moved.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("else where/shards: no such folder"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn what_is_there_is_kept_and_what_cannot_be_taken_along_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let out = dir.path().join("out");
    let demo = demo_model();
    let run = trained(dir.path(), "run", &demo, "head.safetensors", &[]);
    let said = refused(&run, "merged", &out);
    assert!(
        said.ends_with(
            "run: adaptformer adds a path with a ReLU to each MLP, which no tensor of the model can stand for\n\
             hint: --format folder takes every tuner along, and --format onnx makes one graph of it\n"
        ),
        "{said}"
    );
    let said = refused(&run, "peft", &out);
    assert!(
        said.contains(
            "what is tuned is adaptformer, and PEFT's LoRA holds lora alone\nhint: --format folder"
        ),
        "{said}"
    );

    let between = ["--tuner", "projection,bitfit", "--augment", "plain"];
    let between = trained(dir.path(), "between", &demo, "head.safetensors", &between);
    let said = refused(&between, "merged", &out);
    assert!(
        said.contains("projection lies between the two towers, which no tensor"),
        "{said}"
    );
    let said = refused(&between, "peft", &out);
    assert!(
        said.contains("what is tuned is bitfit,projection, and PEFT's LoRA holds lora alone\nhint: --format folder"),
        "{said}"
    );
    // A folder takes these along too.
    exported(&between, "folder", &dir.path().join("taken"));
    let report = json(&between.join("report.json"));
    assert_eq!(
        judged(&dir.path().join("taken"), &dir.path().join("shards")),
        report["evaluations"][0]["metrics"]
    );
    let lora = ["--tuner", "lora", "--resolution", "64"];
    let lora = trained(dir.path(), "lora", &demo, "head.safetensors", &lora);
    let said = refused(&lora, "peft", &out);
    assert!(
        said.contains("trained at 64 pixels and its model is for 48: "),
        "{said}"
    );

    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(demo.join("config.json"), other.join("config.json")).unwrap();
    let mut file = base_file(&demo);
    let tensor = file
        .tensors
        .get_mut("vision_model.post_layernorm.bias")
        .unwrap();
    *tensor = &*tensor + 1.0;
    file.write(&other.join("model.safetensors")).unwrap();
    let [run_text, out_text, other] = [&run, &out, &other].map(|path| path.display().to_string());
    let args = [
        "export", &run_text, "--format", "folder", "--out", &out_text,
    ];
    let output = lift_train(&[&args[..], &["--model", &other]].concat());
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(
        said.contains("other: not the model that the run was started with"),
        "{said}"
    );

    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "").unwrap();
    let output = lift_train(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("out: exists and is not an empty folder"));
    assert_eq!(names(&out), ["mine"]);
    fs::remove_dir_all(&out).unwrap();

    fs::rename(run.join("report.json"), run.join("kept.json")).unwrap();
    let said = refused(&run, "folder", &out);
    assert!(said.contains("run: is not finished, "), "{said}");
    let output = lift_train(&["export", &run_text, "--out", &out_text]);
    assert_eq!(output.status.code(), Some(2));
    // Nothing half-written is left beside the place.
    let left = names(dir.path());
    assert!(
        !left.iter().any(|name| name.contains("lift-tmp")),
        "{left:?}"
    );
}

/// Normalised images that are the same ones each time.
fn images(count: i64, side: i64) -> Tensor {
    let numbers = Tensor::arange(count * 3 * side * side, (Kind::Double, Device::Cpu));
    (numbers * 0.37)
        .sin()
        .to_kind(Kind::Float)
        .view([count, 3, side, side])
}

/// The largest difference, over the largest value.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    ((a - b).abs().max() / a.abs().max()).double_value(&[])
}

/// The logits of a merged model by its files alone: its tower without any tuner, and its classifier by its formula.
fn logits_of_merged(folder: &Path, images: &Tensor) -> Tensor {
    let tower = VisionTower::open(folder).unwrap();
    let x = tch::no_grad(|| tower.features(images, &NoHooks));
    let file = TensorFile::read(&folder.join("classifier.safetensors")).unwrap();
    let (weight, scale) = (&file.tensors["weight"], &file.metadata["scale"]);
    match file.metadata["kind"].as_str() {
        "cosine" => normalize(&x).matmul(&normalize(weight).tr()) * scale.parse::<f64>().unwrap(),
        "linear" => x.matmul(&weight.tr()) + &file.tensors["bias"],
        "l2norm" => x.matmul(&normalize(weight).tr()),
        other => panic!("{other}"),
    }
}

fn base_file(model: &Path) -> TensorFile {
    let file = if model.is_file() {
        model.to_owned()
    } else {
        model.join("model.safetensors")
    };
    TensorFile::read(&file).unwrap()
}
