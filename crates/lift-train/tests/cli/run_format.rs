//! `docs/run-format.md`: every tensor that a run can have stands in it with its shape, and its snippet reads a run.

use std::{collections::BTreeMap, path::Path, process::Command};

use lift_models::{TensorFile, VisionTower};
use lift_train::{
    classifier::{Classifier, ClassifierKind},
    tuner::{AftPlace, Choice, Layers, LoraTarget, Tuner, TunerKind, TunerOptions, Tuners},
};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

use super::{demo_model, methods::succeed, prepare};

const DOCUMENT: &str = include_str!("../../../../docs/run-format.md");

/// The tables' rows whose first cell is a name and whose second is a shape.
fn documented() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = DOCUMENT.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?;
        let shape = cells.next()?.strip_prefix('(')?.strip_suffix(')')?;
        let lengths = shape.split(", ").filter(|length| !length.is_empty());
        Some((name, lengths.collect()))
    });
    rows.collect()
}

/// Whether a shape is the documented one, letters standing for the sizes of `models/shapes-clip`; n, m, r and t take any length.
fn fits(documented: &[&str], shape: &[i64]) -> bool {
    let length = |letter: &str| match letter {
        "K" => Some(10),
        "d" => Some(128),
        "3 d" => Some(384),
        "h" => Some(512),
        "e" => Some(64),
        "n" | "m" | "r" | "t" => None,
        other => panic!("{other} is no letter of the document"),
    };
    let pairs = documented.iter().zip(shape);
    documented.len() == shape.len()
        && pairs
            .into_iter()
            .all(|(l, n)| length(l).is_none_or(|length| length == *n))
}

#[test]
fn every_tensor_of_every_tuner_and_classifier_is_documented_with_its_shape() {
    let documented = documented();
    let check = |name: &str, tensor: &Tensor| {
        let shape = documented.get(name);
        let shape = shape.unwrap_or_else(|| panic!("{name} is not in docs/run-format.md"));
        assert!(
            fits(shape, &tensor.size()),
            "{name}: {shape:?} {:?}",
            tensor.size()
        );
    };
    let tower = VisionTower::open(&demo_model()).unwrap();
    for kind in TunerKind::ALL
        .into_iter()
        .filter(|kind| !kind.is_between_towers())
    {
        let choice = Choice { kind, size: None };
        let options = TunerOptions {
            tuners: choice.to_string().parse::<Tuners>().unwrap(),
            layers: Layers::Last(1),
            size: None,
            lora_targets: LoraTarget::ALL.to_vec(),
            aft_place: AftPlace::All,
            aft_ratio: None,
            seed: 0,
        };
        let tuner = Tuner::new(&options, &tower, 10).unwrap();
        let tensors: Vec<_> = tuner
            .named_tensors()
            .into_iter()
            .chain(tuner.constants())
            .collect();
        assert!(!tensors.is_empty(), "{kind}");
        for (name, tensor) in tensors {
            check(
                name.strip_prefix("image_encoder.blocks.5.").unwrap(),
                &tensor,
            );
        }
    }
    let rows = Tensor::zeros([10, 128], FLOAT_CPU);
    let linear = Classifier::new(ClassifierKind::Linear, &rows, 1.0);
    let texts = Classifier::new(ClassifierKind::Text, &rows.narrow(1, 0, 64), 1.0);
    let of_classifiers = linear.named().into_iter().chain(texts.constants());
    of_classifiers.for_each(|(name, tensor)| check(&name, &tensor));
}

/// What the document's Python prints of the run in this folder, with `more` behind it; none without `.venv`.
fn snippet(run: &Path, more: &str) -> Option<String> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no .venv with numpy (cargo xtask test makes it)");
        return None;
    }
    let (_, code) = DOCUMENT.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let output = Command::new(python)
        .args(["-c", &format!("{code}\n{more}")])
        .current_dir(run)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_documents_snippet_reads_a_run() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let model = demo_model().display().to_string();
    let (shards, head, out) = (path("shards"), path("head.safetensors"), path("run"));
    succeed(&[
        "--shards", &shards, "--model", &model, "--head", &head, "--out", &out, "--epochs", "1",
        "--tuner", "lora", "--layers", "last:2", "--device", "cpu", "--tte", "none",
    ]);
    let more = "
rows = numpy.sin(numpy.arange(3 * 128, dtype=numpy.float32)).reshape(3, 128)
print(json.dumps([sorted(metadata), class_names, cosine_logits(rows, tuned).tolist()]))
head, _ = read_safetensors(\"../head.safetensors\")
print(json.dumps([float(head[\"weight\"][7, 5]), list(head[\"text_embeds\"].shape)]))
";
    let Some(printed) = snippet(&dir.path().join("run"), more) else {
        return;
    };
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[0], "100 classes, 2 blocks with modules");
    assert_eq!(lines[1], "classifier.weight (100, 128)");
    // Rank 2^floor(log2(100 / (4 * 2))) = 8.
    assert_eq!(lines[2], "image_encoder.blocks.4.attn.lora.q.down (128, 8)");
    let file = TensorFile::read(&dir.path().join("run/tuned.safetensors")).unwrap();
    assert_eq!(lines.len(), 1 + file.tensors.len() + 2);

    let value: serde_json::Value = serde_json::from_str(lines[lines.len() - 2]).unwrap();
    let names: Vec<&String> = file.metadata.keys().collect();
    assert_eq!(value[0], serde_json::json!(names));
    assert_eq!(value[1], serde_json::json!(lift_shapes::class_names()));
    let weight = &file.tensors["classifier.weight"];
    let classifier = Classifier::new(ClassifierKind::Cosine, weight, 25.0);
    let rows = Tensor::arange(3 * 128, (Kind::Float, Device::Cpu))
        .sin()
        .view([3, 128]);
    let ours = Vec::<f32>::try_from(classifier.forward(&rows).flatten(0, -1)).unwrap();
    let theirs = value[2]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((f64::from(*ours) - theirs.as_f64().unwrap()).abs() < 1e-4);
    }
    let value: serde_json::Value = serde_json::from_str(lines[lines.len() - 1]).unwrap();
    let head = lift_models::Head::read(&dir.path().join("head.safetensors")).unwrap();
    assert_eq!(value[0].as_f64(), Some(head.weight.double_value(&[7, 5])));
    assert_eq!(value[1], serde_json::json!([100, 64]));
}
