//! `--init RUN`: training goes on from what a run has tuned, all of it or its classifier alone.

use std::{fs, path::Path};

use lift_models::TensorFile;
use serde_json::Value;
use tch::Kind;

use super::{demo_model, lift_train, methods::succeed, prepare, stderr};

fn json(path: impl AsRef<Path>) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_run_starts_from_another_ones_tensors() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (shards, head, model) = (
        path("shards"),
        path("head.safetensors"),
        demo_model().display().to_string(),
    );
    let (first, again, tuned) = (path("first"), path("again"), path("tuned"));
    let train = |out: &str, args: &[&str]| {
        let common = [
            "--shards", &shards, "--device", "cpu", "--tte", "none", "--lr", "0.05", "--out", out,
        ];
        succeed(&[&common[..], args].concat())
    };
    train(
        &first,
        &[
            "--model",
            &model,
            "--head",
            &head,
            "--tuner",
            "lora:2,adaptformer",
            "--epochs",
            "1",
        ],
    );

    // Nothing but the run is named; without a step the model is that run's.
    train(&again, &["--init", &first, "--epochs", "0"]);
    let tensors = |run: &str| TensorFile::read(&Path::new(run).join("tuned.safetensors")).unwrap();
    assert_eq!(tensors(&first).tensors, tensors(&again).tensors);
    let (report, of_again) = (
        json(format!("{first}/report.json")),
        json(format!("{again}/report.json")),
    );
    assert_eq!(
        report["evaluations"][0]["metrics"],
        of_again["evaluations"][0]["metrics"]
    );
    assert_eq!(of_again["config"]["tuner"], "lora:2,adaptformer");

    // The classifier alone, with the modules as the run left them; what the model was before is the run.
    let plan = train(
        &path("not-there"),
        &["--init", &first, "--freeze-modules", "--dry-run"],
    );
    assert!(
        plan.ends_with(&format!("start    the run {first}, its modules frozen\n")),
        "{plan}"
    );
    train(
        &tuned,
        &[
            "--init",
            &first,
            "--freeze-modules",
            "--epochs",
            "1",
            "--loss",
            "ce",
            "--activation-checkpointing",
        ],
    );
    let (before, after) = (tensors(&first), tensors(&tuned));
    for (name, tensor) in &before.tensors {
        let moved = (tensor - &after.tensors[name])
            .abs()
            .max()
            .to_kind(Kind::Double);
        assert_eq!(
            moved.double_value(&[]) > 0.0,
            name == "classifier.weight",
            "{name}"
        );
    }
    let page = path("page.json");
    succeed(&["report", &tuned, "--json", &page, "--device", "cpu"]);
    let start = fs::read(format!("{tuned}/predictions-before.parquet")).unwrap();
    assert!(start == fs::read(format!("{first}/predictions-plain.parquet")).unwrap());

    // Its settings begin the same run again, and it travels without the run that it came from.
    let config = format!("{tuned}/config.toml");
    let (repeated, taken) = (path("repeated"), path("taken"));
    succeed(&["--config", &config, "--out", &repeated]);
    assert_eq!(tensors(&repeated).tensors, after.tensors);
    succeed(&["export", &tuned, "--format", "folder", "--out", &taken]);
    let settings = fs::read_to_string(format!("{taken}/config.toml")).unwrap();
    assert!(!settings.contains("first"), "{settings}");
    succeed(&["eval", &taken, "--shards", &shards, "--device", "cpu"]);
}

#[test]
fn what_cannot_be_started_from_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (shards, head, model) = (
        path("shards"),
        path("head.safetensors"),
        demo_model().display().to_string(),
    );
    let (first, other) = (path("first"), path("other"));
    let with = |args: &[&str]| {
        let common = [
            "--shards", &shards, "--device", "cpu", "--tte", "none", "--epochs", "0", "--out",
        ];
        let output = lift_train(&[&common[..], args].concat());
        (output.status.code(), stderr(&output))
    };
    let start = [
        &first[..],
        "--model",
        &model,
        "--head",
        &head,
        "--tuner",
        "lora:2",
    ];
    assert_eq!(with(&start).0, Some(0));
    fs::create_dir(&other).unwrap();
    let unfinished = path("unfinished");
    fs::create_dir(&unfinished).unwrap();
    fs::copy(
        format!("{first}/config.toml"),
        format!("{unfinished}/config.toml"),
    )
    .unwrap();
    let out = path("out");
    for (args, code, message) in [
        (
            &["--init", &first, "--tuner", "lora:4"][..],
            1,
            "tuned.safetensors: image_encoder.blocks.0.attn.lora.q.down [128, 4] is not in it, which --tuner and its settings ask for\nhint: leave them out, and they are the run's",
        ),
        (
            &["--init", &first, "--tuner", "none"],
            1,
            "tuned.safetensors: image_encoder.blocks.0.attn.lora.q.down belongs to a module that --tuner does not name\n",
        ),
        (&["--init", &other], 1, "other/config.toml: "),
        (
            &["--init", &unfinished],
            1,
            "unfinished: is not finished, `lift-train resume ",
        ),
        (
            &["--init", "clas-mean"],
            2,
            "none of head, class-mean, linear-probe, random, and no folder of a finished run",
        ),
        (
            &["--init", &first, "--head", &head],
            2,
            "gives the classifier itself, and --head",
        ),
        (
            &["--model", &model, "--head", &head, "--freeze-modules"],
            2,
            "--freeze-modules keeps modules as they start",
        ),
    ] {
        let (found, said) = with(&[&[&out[..]], args].concat());
        assert_eq!(found, Some(code), "{args:?}: {said}");
        assert!(said.contains(message), "{args:?}: {said}");
        assert!(!Path::new(&out).exists(), "{args:?}");
    }
}
