//! `lift-train parity`: its table, what it refuses, and reference runs of other sizes than the authors'.
//!
//! The latter are written here by a loop of their own over the library, so that what is tested is how files are read
//! and steps are scheduled, not the modules (their numbers are compared with the authors' in `tests/`).

use std::path::{Path, PathBuf};

use lift_models::{TensorFile, VisionTower};
use lift_train::{
    classifier::{Classifier, ClassifierKind},
    loss::{Loss, LossKind},
    model::TunedModel,
    optim::Sgd,
    tuner::{AftPlace, Layers, Tuner, TunerOptions, Tuners},
};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

use super::{demo_model, lift_train, methods::tiny_vit, stderr, stdout};

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

const CLASSES: i64 = 7;
const COUNTS: [u64; 7] = [40, 20, 9, 5, 3, 2, 1];

/// Four batches of three, five images to evaluate, two with three crops.
fn inputs(dir: &Path) -> TensorFile {
    let mut file = TensorFile::default();
    let images = |shape: &[i64]| Tensor::randn(shape, FLOAT_CPU).to_kind(Kind::Half);
    let counts: Vec<i64> = COUNTS.iter().map(|&n| n as i64).collect();
    for (name, tensor) in [
        ("train_images", images(&[4, 3, 3, 16, 16])),
        (
            "train_labels",
            Tensor::randint(CLASSES, [4, 3], (Kind::Int64, Device::Cpu)),
        ),
        ("class_counts", Tensor::from_slice(&counts)),
        ("eval_images", images(&[5, 3, 16, 16])),
        ("five_crop_images", images(&[2, 3, 3, 16, 16])),
    ] {
        file.tensors.insert(name.into(), tensor);
    }
    file.write(&dir.join("inputs.safetensors")).unwrap();
    file
}

struct Case {
    tuners: &'static str,
    layers: &'static str,
    loss: (LossKind, &'static str),
    classifier: (ClassifierKind, &'static str),
}

/// Trains two epochs of two steps, and keeps what a reference run keeps.
fn reference(dir: &Path, inputs: &TensorFile, case: &Case) {
    let options = TunerOptions {
        layers: case.layers.parse::<Layers>().unwrap(),
        aft_place: AftPlace::Mlp,
        ..TunerOptions::new(case.tuners.parse::<Tuners>().unwrap())
    };
    let visual = VisionTower::open(&dir.join("tiny.safetensors")).unwrap();
    let tuner = Tuner::new(&options, &visual, CLASSES as usize).unwrap();
    let rows = Tensor::randn([CLASSES, 64], FLOAT_CPU);
    let classifier = Classifier::new(case.classifier.0, &rows, 25.0);
    let model = TunedModel::new(visual, tuner, classifier, Device::Cpu, Kind::Float);
    let loss_function = Loss::new(case.loss.0, &COUNTS, 1.0, 25.0, Device::Cpu);
    let mut run = TensorFile::default();
    let mut keep = |prefix: &str| {
        for (name, tensor) in model.state() {
            run.tensors
                .insert(format!("{prefix}{name}"), tensor.detach().copy());
        }
    };
    keep("init.");
    let input = |name: &str| inputs.tensors[name].to_kind(Kind::Float);
    let mut sgd = Sgd::new(model.tuned().into_values().collect(), 0.9, 5e-4);
    let (mut losses, mut first) = (Vec::new(), None);
    // Half of the first epoch's learning rate in the second: a cosine of two epochs.
    for (step, lr) in [0.01, 0.01, 0.005, 0.005].into_iter().enumerate() {
        let logits = model.forward(&input("train_images").get(step as i64));
        let labels = inputs.tensors["train_labels"].get(step as i64);
        let loss = loss_function.forward(&logits, &labels);
        losses.push(loss.double_value(&[]));
        first.get_or_insert(logits.detach());
        sgd.zero_grad();
        loss.backward();
        sgd.step(lr, None).unwrap();
    }
    keep("final.");
    let crops = input("five_crop_images");
    let (eval, crops) = tch::no_grad(|| {
        let of_crop = |crop| model.forward(&crops.select(1, crop));
        let mean = (of_crop(0) + of_crop(1) + of_crop(2)) / 3.0;
        (model.forward(&input("eval_images")), mean)
    });
    for (name, tensor) in [
        ("losses", Tensor::from_slice(&losses)),
        ("first_logits", first.unwrap()),
        ("eval_logits", eval),
        ("five_crop_logits", crops),
    ] {
        run.tensors.insert(name.into(), tensor);
    }
    for (key, value) in [
        ("lr", "0.01"),
        ("loss", case.loss.1),
        ("classifier", case.classifier.1),
    ] {
        run.metadata.insert(key.into(), value.into());
    }
    run.write(&dir.join("run.safetensors")).unwrap();
}

#[test]
fn runs_of_other_sizes_are_read_off_their_files() {
    tch::manual_seed(5);
    tch::set_num_threads(1);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    tiny_vit(&dir.path().join("tiny.safetensors"));
    let inputs = inputs(dir.path());
    let cosine = (ClassifierKind::Cosine, "CosineClassifier");
    let case = |tuners, layers, loss, classifier| Case {
        tuners,
        layers,
        loss,
        classifier,
    };
    for case in [
        case(
            "adaptformer:3,lora:5",
            "last:1",
            (LossKind::La, "LA"),
            cosine,
        ),
        case(
            "vpt-deep:2,adapter:1",
            "all",
            (LossKind::Lade, "LADE"),
            (ClassifierKind::L2norm, "L2NormedClassifier"),
        ),
        case(
            "bitfit,layer-norm",
            "0",
            (LossKind::Cb, "CB"),
            (ClassifierKind::Linear, "LinearClassifier"),
        ),
        case("aft", "all", (LossKind::Ldam, "LDAM"), cosine),
        case(
            "vpt-shallow:3,full,ssf",
            "all",
            (LossKind::Focal, "Focal"),
            (ClassifierKind::Layernorm, "LayerNormClassifier"),
        ),
    ] {
        reference(dir.path(), &inputs, &case);
        let output = lift_train(&[
            "parity",
            "--model",
            &path("tiny.safetensors"),
            "--inputs",
            &path("inputs.safetensors"),
            "--run",
            &path("run.safetensors"),
            "--json",
        ]);
        let tuners = case.tuners;
        assert_eq!(
            output.status.code(),
            Some(0),
            "{tuners}: {}",
            stderr(&output)
        );
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(json["steps"], 4, "{tuners}");
        for deviation in json["deviations"].as_array().unwrap() {
            let largest = deviation["largest"].as_f64().unwrap();
            assert!(largest < 1e-5, "{tuners}: {deviation}");
        }
    }
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
            "lora.safetensors: tuner lora, cosine classifier, loss la, 25088 parameters, 6 steps, fp32 on cpu"
        ),
        "{text}"
    );
    let whats: Vec<&str> = lines[2..].iter().map(|line| line[..24].trim()).collect();
    assert_eq!(
        whats,
        [
            "losses",
            "first logits",
            "eval logits",
            "five-crop logits",
            "updates",
            "updates, angle",
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
