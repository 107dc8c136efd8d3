//! What the authors tune between the towers, step by step as PyTorch has it (`fixtures/joint/make.py`).

use std::{collections::BTreeMap, fs, path::Path};

use lift_models::{Clip, Footprint, Precision, VisionTower};
use lift_shards::BandEdges;
use lift_tests::{demo_model, numbers};
use lift_train::{
    classifier::ClassifierKind,
    joint::{ClassFeatures, Joint, TextPart, TextSide},
    loss::LossKind,
    model::TunedModel,
    optim::{OptimSettings, OptimiserKind, Schedule, ScheduleKind},
    step::{Step, StepSettings},
    tuner::{TunerOptions, Tuners},
};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

const IMAGES: i64 = 10;
const CLASSES: i64 = 7;
const WIDTH: i64 = 128;
/// Of the text tower and of the joint space.
const JOINT: i64 = 64;
const SIZE: i64 = 4;
const SCALE: f64 = 20.0;

/// The script's values, in fp64 until the end.
fn wave(phase: f64, shape: &[i64]) -> Tensor {
    let n: i64 = shape.iter().product();
    let values: Vec<f64> = (0..n)
        .map(|i| (0.0137 * (i * i) as f64 + phase).sin())
        .collect();
    let tensor = Tensor::from_slice(&values).to_kind(Kind::Float);
    tensor.view(shape)
}

fn adapter(name: &str, phase: f64) -> Vec<(String, Tensor)> {
    let part = |part: &str, nth: f64, factor: f64, shape: &[i64]| {
        (format!("{name}.{part}"), wave(phase + nth, shape) * factor)
    };
    let (norm, weight) = part("norm.weight", 0.0, 0.1, &[JOINT]);
    vec![
        (norm, weight + 1.0),
        part("norm.bias", 1.0, 0.1, &[JOINT]),
        part("down.weight", 2.0, 0.2, &[SIZE, JOINT]),
        part("down.bias", 3.0, 0.1, &[SIZE]),
        part("up.weight", 4.0, 0.2, &[JOINT, SIZE]),
        part("up.bias", 5.0, 0.1, &[JOINT]),
    ]
}

/// A model of the case with the script's values in it.
fn model(tuners: &str) -> TunedModel {
    let mut tensors = vec![
        (
            "image_projection".to_owned(),
            wave(3.0, &[WIDTH, JOINT]) * 0.2,
        ),
        ("class_texts".to_owned(), wave(0.0, &[CLASSES, JOINT])),
    ];
    let text_projection = wave(4.0, &[JOINT, JOINT]) * 0.2;
    if tuners.contains("projection-both") {
        tensors.push(("text_projection".into(), text_projection.shallow_clone()));
    }
    if tuners.contains("clip-adapter-both") {
        tensors.extend(adapter("image_adapter", 10.0));
        tensors.extend(adapter("text_adapter", 20.0));
    }
    let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    let tower = VisionTower::open(&demo_model()).unwrap();
    let (kind, device) = (ClassifierKind::Text, Device::Cpu);
    let model = TunedModel::from_tuned(tower, tensors, kind, SCALE, device, Kind::Float);
    let mut model = model.unwrap();
    let Some(TextPart::Side(side)) = model.joint.texts_mut() else {
        panic!("{tuners} tunes no text side");
    };
    let features = ClassFeatures {
        features: wave(2.0, &[CLASSES, JOINT]),
        projection: text_projection,
    };
    side.work_on(features, device);
    model
}

fn settings() -> StepSettings {
    StepSettings {
        optim: OptimSettings {
            optimizer: OptimiserKind::Sgd,
            lr: 0.02,
            head_lr: 0.02,
            momentum: 0.9,
            weight_decay: 5e-4,
            clip_grad: None,
            precision: Precision::Fp32,
        },
        schedule: Schedule {
            kind: ScheduleKind::Constant,
            warmup: 0,
            epochs: 1,
            steps: 3,
        },
        loss: LossKind::Ce,
        tau: 1.0,
        scale: SCALE,
        label_smoothing: 0.0,
        parts: 1,
        footprint: Footprint { fixed: 0, each: 0 },
        max_memory: None,
    }
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

fn close(what: &str, ours: &[f64], theirs: &[f64], within: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!((ours - theirs).abs() < within, "{what}: {ours} {theirs}");
    }
}

#[test]
fn both_towers_learn_as_the_authors_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/joint/golden.json");
    let golden: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let cases = golden.as_object().unwrap().iter();
    let cases: Vec<_> = cases.filter(|(name, _)| *name != "torch").collect();
    assert_eq!(cases.len(), 3);
    for (tuners, golden) in cases {
        for parts in [1, 2] {
            let mut model = model(tuners);
            let start: BTreeMap<String, Tensor> = model
                .modules()
                .into_iter()
                .map(|(name, tensor)| (name, tensor.detach().copy()))
                .collect();
            let settings = StepSettings {
                parts,
                ..settings()
            };
            let counts = [1; CLASSES as usize];
            let mut step = Step::new(&model, settings, (&counts, BandEdges::default()));
            let features = wave(1.0, &[IMAGES, WIDTH]);
            let labels =
                (Tensor::arange(IMAGES, (Kind::Int64, Device::Cpu)) * 3).remainder(CLASSES);
            let losses: Vec<f64> = (0..3)
                .map(|nth| {
                    let seen = step.run(&mut model, &features, &labels, 0, nth).unwrap();
                    seen.loss_sum.double_value(&[]) / IMAGES as f64
                })
                .collect();
            close(tuners, &losses, &numbers(&golden["losses"]), 1e-5);
            model.bring_texts_up(None).unwrap();
            let texts = values(&model.classifier.weight);
            close(tuners, &texts, &numbers(&golden["texts"]), 2e-5);
            let updates = golden["updates"].as_object().unwrap();
            assert_eq!(updates.len(), start.len(), "{tuners}");
            for (name, tensor) in model.modules() {
                let update = values(&(tensor.detach() - &start[&name]));
                let norm = update.iter().map(|value| value * value).sum::<f64>().sqrt();
                let theirs = updates[&name]["norm"].as_f64().unwrap();
                assert!(
                    (norm / theirs - 1.0).abs() < 1e-3,
                    "{tuners} {name}: {norm} {theirs}"
                );
                let first = numbers(&updates[&name]["first"]);
                close(&name, &update[..first.len()], &first, 1e-3 * theirs);
            }
        }
    }
}

/// Fresh parts start as the model before tuning.
#[test]
fn the_adapters_start_as_the_identity() {
    let clip = Clip::load(&demo_model()).unwrap();
    let options = TunerOptions::new(
        "projection-both,clip-adapter-both"
            .parse::<Tuners>()
            .unwrap(),
    );
    let mut side = TextSide::new(&options, &clip.text).unwrap();
    let features = wave(2.0, &[CLASSES, JOINT]);
    let before = features.matmul(&clip.text.text_projection);
    let projection = clip.text.text_projection.shallow_clone();
    side.work_on(
        ClassFeatures {
            features,
            projection,
        },
        Device::Cpu,
    );
    assert_eq!(side.texts().unwrap(), before);
    let joint = Joint::new(&options, &clip.visual, Some(TextPart::Side(side))).unwrap();
    let images = wave(1.0, &[IMAGES, WIDTH]);
    assert_eq!(
        joint.embed(&images, &clip.visual),
        clip.visual.embed(&images)
    );
    // 4 is what the authors' code takes.
    let down = |(name, _): &&(String, Tensor)| name == "text_adapter.down.weight";
    let named = joint.named();
    assert_eq!(named.iter().find(down).unwrap().1.size(), [4, JOINT]);
}
