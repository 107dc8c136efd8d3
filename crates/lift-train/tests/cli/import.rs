//! `lift-train import`: a run's tensors under the authors' names, in a file as `torch.save` writes it, are judged as the run was.

use std::{collections::BTreeMap, fs, path::Path};

use lift_models::TensorFile;
use serde_json::Value;
use tch::{Kind, Tensor};

use super::{demo_model, lift_train, methods::succeed, prepare, stderr, torch_file::dictionaries};

type Tensors = BTreeMap<String, Tensor>;

/// Trains with these modules; the tensors of the run, and its plain metrics.
fn trained(dir: &Path, name: &str, more: &[&str]) -> (Tensors, Value) {
    let path = |name: &str| dir.join(name).display().to_string();
    let (shards, head, out) = (path("shards"), path("head.safetensors"), path(name));
    let model = demo_model().display().to_string();
    let args = [
        "--shards", &shards, "--model", &model, "--head", &head, "--out", &out, "--epochs", "1",
        "--device", "cpu", "--tte", "none",
    ];
    succeed(&[&args[..], more].concat());
    let file = TensorFile::read(&dir.join(name).join("tuned.safetensors")).unwrap();
    let report = fs::read(dir.join(name).join("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    (file.tensors, report["evaluations"][0]["metrics"].clone())
}

fn import(dir: &Path, file: &str, out: &str, more: &[&str]) -> std::process::Output {
    let path = |name: &str| dir.join(name).display().to_string();
    let (file, shards, out) = (path(file), path("shards"), path(out));
    let model = demo_model().display().to_string();
    let args = [
        "import", &file, "--model", &model, "--shards", &shards, "--out", &out, "--device", "cpu",
    ];
    lift_train(&[&args[..], more].concat())
}

fn report_of(dir: &Path, out: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(out).join("report.json")).unwrap()).unwrap()
}

/// Under other names, by rules that are tried in order.
fn renamed(tensors: &Tensors, rules: &[(&str, &str)]) -> Tensors {
    let rename = |name: &String| {
        let rules = rules.iter();
        rules.fold(name.clone(), |name, (ours, theirs)| {
            name.replace(ours, theirs)
        })
    };
    tensors
        .iter()
        .map(|(name, tensor)| (rename(name), tensor.shallow_clone()))
        .collect()
}

#[test]
fn checkpoints_of_both_programs_are_judged_as_the_runs_they_are() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let more = [
        "--tuner",
        "adaptformer:4,lora:2",
        "--layers",
        "last:2",
        "--classifier",
        "linear",
    ];
    let (tensors, metrics) = trained(dir.path(), "run", &more);

    // LIFT+ as it is now, and as it was at first.
    let earlier = [("attn.lora.", "lora.")];
    for (file, rules) in [("now.pth.tar", &[][..]), ("first.pth.tar", &earlier)] {
        let bytes = dictionaries(&[("tuner", renamed(&tensors, rules))]);
        fs::write(dir.path().join(file), bytes).unwrap();
    }
    // LIFT: lists by module, the scale a row of one, the classifier by itself, in fp16 what its usual precision keeps so.
    let mut lift = Tensors::new();
    let mut head = Tensors::new();
    for (name, tensor) in &tensors {
        if let Some(name) = name.strip_prefix("classifier.") {
            head.insert(name.into(), tensor.shallow_clone());
            continue;
        }
        let (layer, rest) = name
            .strip_prefix("image_encoder.blocks.")
            .unwrap()
            .split_once('.')
            .unwrap();
        let rules = [
            ("attn.lora", "lora_list"),
            (".norm.", ".ln."),
            ("q.down", "q.lora_A"),
            ("q.up", "q.lora_B"),
            ("v.down", "v.lora_A"),
            ("v.up", "v.lora_B"),
            (".down.", ".down_proj."),
            (".up.", ".up_proj."),
            ("adaptformer.", "adaptformer_list."),
        ];
        let rest = rules.iter().fold(rest.to_owned(), |rest, (ours, theirs)| {
            rest.replace(ours, theirs)
        });
        let (list, rest) = rest.split_once('.').unwrap();
        let tensor = if rest == "scale" {
            tensor.view([1])
        } else {
            tensor.shallow_clone()
        };
        lift.insert(format!("{list}.{layer}.{rest}"), tensor);
    }
    assert!(
        lift.contains_key("adaptformer_list.4.down_proj.weight")
            && lift.contains_key("lora_list.5.v.lora_B")
    );
    let bytes = dictionaries(&[("tuner", lift), ("head", head)]);
    fs::write(dir.path().join("lift.pth.tar"), bytes).unwrap();

    for (file, preset) in [
        ("now.pth.tar", "lift+"),
        ("first.pth.tar", "lift+"),
        ("lift.pth.tar", "lift"),
    ] {
        let out = format!("from-{file}");
        let output = import(dir.path(), file, &out, &[]);
        assert_eq!(output.status.code(), Some(0), "{file}: {}", stderr(&output));
        let report = report_of(dir.path(), &out);
        assert_eq!(report["evaluations"][0]["metrics"], metrics, "{file}");
        let config = &report["config"];
        assert_eq!(config["preset"], preset);
        assert_eq!(config["tuner"], "lora:2,adaptformer:4");
        assert_eq!(config["layers"], "4,5");
        assert_eq!(config["classifier"], "linear");
        assert_eq!(config["epochs"], 0);
        let read =
            |run: &str| TensorFile::read(&dir.path().join(run).join("tuned.safetensors")).unwrap();
        let (ours, theirs) = (read("run"), read(&out));
        assert_eq!(ours.metadata["class_names"], theirs.metadata["class_names"]);
        assert_eq!(
            ours.tensors.keys().collect::<Vec<_>>(),
            theirs.tensors.keys().collect::<Vec<_>>()
        );
        for (name, tensor) in &ours.tensors {
            assert_eq!(tensor, &theirs.tensors[name], "{file}: {name}");
        }
    }
    // It is a run: judged again, and taken along.
    let path = |name: &str| dir.path().join(name).display().to_string();
    let run = path("from-lift.pth.tar");
    let json = succeed(&["eval", "--run", &run, "--device", "cpu", "--json"]);
    let again: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(again["evaluations"][0]["metrics"], metrics);
    succeed(&[
        "export",
        &run,
        "--format",
        "folder",
        "--out",
        &path("taken"),
    ]);
}

#[test]
fn what_has_no_place_here_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let zeros = |shape: &[i64]| Tensor::zeros(shape, tch::kind::FLOAT_CPU);
    let head = || Tensors::from([("weight".to_owned(), zeros(&[100, 128]))]);
    let of = |name: &str, shape: &[i64]| Tensors::from([(name.to_owned(), zeros(shape))]);
    let cases = [
        (
            "mask",
            vec![
                (
                    "tuner",
                    of("masked_linear_list.0.mlp_in.optimized_bias", &[3]),
                ),
                ("head", head()),
            ],
            "tuner.masked_linear_list.0.mlp_in.optimized_bias: which entries were tuned is not in the checkpoint",
        ),
        (
            "words",
            vec![("tuner", of("text_encoder.ctx", &[4, 64]))],
            "tuner.text_encoder.ctx: has no place here",
        ),
        (
            "no-classifier",
            vec![("tuner", of("image_encoder.blocks.0.prompt", &[4, 128]))],
            "it has no classifier",
        ),
        (
            "classes",
            vec![("head", of("weight", &[7, 128]))],
            "its classifier has 7 classes, the shards ",
        ),
        (
            "width",
            vec![
                ("tuner", of("vpt_list.0.prompt", &[4, 96])),
                ("head", head()),
            ],
            "image_encoder.blocks.0.prompt has shape [4, 96], the model needs [4, 128]\nhint: give the model that it was trained on",
        ),
        (
            "other",
            vec![("optimizer", head())],
            "it holds no tensor under tuner or head",
        ),
    ];
    for (name, all, message) in cases {
        let file = format!("{name}.pth.tar");
        fs::write(dir.path().join(&file), dictionaries(&all)).unwrap();
        let output = import(dir.path(), &file, "out", &[]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(
            said.contains(&format!("{file}: ")) && said.contains(message),
            "{name}: {said}"
        );
        assert!(!dir.path().join("out").exists(), "{name}");
    }
    let half = head()
        .into_iter()
        .map(|(name, tensor)| (name, (tensor + 1.0).to_kind(Kind::Half)));
    fs::write(
        dir.path().join("half.pth.tar"),
        dictionaries(&[("head", half.collect())]),
    )
    .unwrap();
    let output = import(
        dir.path(),
        "half.pth.tar",
        "half",
        &["--classifier", "l2norm"],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(report_of(dir.path(), "half")["config"]["tuner"], "none");
}
