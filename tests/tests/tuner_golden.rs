//! lift-train against the authors' modules: six steps of training from the same initial tensors.
//!
//! Tolerances (from the goldens' page): losses 1e-4 relative, logits 1e-3 absolute.

use std::collections::BTreeMap;

use lift_clip::{Clip, TensorFile};
use lift_tests::{largest_difference, shared};
use lift_train::{
    loss::LogitAdjusted,
    model::TunedModel,
    optim::{Sgd, cosine_lr},
    tuner::{Tuner, TunerKind},
};
use tch::{Device, Kind, Tensor};

const STEPS_PER_EPOCH: usize = 3;
const EPOCHS: usize = 2;

fn replay(name: &str) {
    let (Some(model), Some(inputs), Some(run)) = (
        shared("golden/clip-hf"),
        shared("golden/train-inputs.safetensors"),
        shared(&format!("golden/tuners/{name}.safetensors")),
    ) else {
        return;
    };
    let inputs = TensorFile::read(&inputs).unwrap().tensors;
    let run = TensorFile::read(&run).unwrap();
    let starting_with = |prefix: &str| -> BTreeMap<String, Tensor> {
        let tensors = run.tensors.iter();
        tensors
            .filter_map(|(k, t)| Some((k.strip_prefix(prefix)?.to_owned(), t.shallow_clone())))
            .collect()
    };
    let lr: f64 = run.metadata["lr"].parse().unwrap();
    let tuned_params: u64 = run.metadata["tuned_params"].parse().unwrap();
    let counts: Vec<i64> = Vec::try_from(&inputs["class_counts"]).unwrap();
    let counts: Vec<u64> = counts.into_iter().map(|n| n as u64).collect();

    let visual = Clip::load(&model).unwrap().visual;
    let model = TunedModel::from_tuned(
        visual,
        starting_with("init."),
        25.0,
        Device::Cpu,
        Kind::Float,
    )
    .unwrap();
    assert_eq!(
        model.parameter_counts().tuned(),
        tuned_params,
        "parameters tuned"
    );
    let loss_function = LogitAdjusted::new(&counts, 1.0, Device::Cpu);
    let mut optimiser = Sgd::new(model.tuned().into_values().collect(), 0.9, 5e-4);

    let logits_differ_by = |what: &str, ours: &Tensor| {
        let difference = largest_difference(ours, &run.tensors[what]);
        println!("{name}: {what} differ by {difference:.2e}");
        assert!(difference <= 1e-3, "{name}: {what} differ by {difference}");
    };
    for step in 0..STEPS_PER_EPOCH * EPOCHS {
        let images = inputs["train_images"].get(step as i64).to_kind(Kind::Float);
        let logits = model.forward(&images);
        if step == 0 {
            logits_differ_by("first_logits", &logits);
        }
        let loss = loss_function.forward(&logits, &inputs["train_labels"].get(step as i64));
        let golden = run.tensors["losses"].double_value(&[step as i64]);
        let relative = (loss.double_value(&[]) - golden).abs() / golden;
        assert!(
            relative <= 1e-4,
            "{name}: loss of step {step} differs by {relative:.2e}"
        );
        optimiser.zero_grad();
        loss.backward();
        let squares = model
            .tuned()
            .into_values()
            .map(|t| t.grad().square().sum(Kind::Double).double_value(&[]));
        let norm = squares.sum::<f64>().sqrt();
        let golden = run.tensors["grad_norms"].double_value(&[step as i64]);
        assert!(
            (norm - golden).abs() / golden <= 1e-3,
            "{name}: gradient norm of step {step}: {norm} for {golden}"
        );
        optimiser.step(cosine_lr(lr, step / STEPS_PER_EPOCH, EPOCHS));
    }

    let last = starting_with("final.");
    let tuned = model.tuned();
    assert_eq!(
        tuned.keys().collect::<Vec<_>>(),
        last.keys().collect::<Vec<_>>()
    );
    for (key, tensor) in &tuned {
        let difference = largest_difference(tensor, &last[key]);
        assert!(
            difference <= 1e-4,
            "{name}: {key} differs by {difference:.2e} in the end"
        );
    }
    // The tower itself must not have a gradient.
    assert!(
        model
            .visual
            .named_tensors()
            .iter()
            .all(|(_, t)| !t.requires_grad() && !t.grad().defined())
    );
    tch::no_grad(|| {
        logits_differ_by(
            "eval_logits",
            &model.forward(&inputs["eval_images"].to_kind(Kind::Float)),
        );
        let crops = inputs["five_crop_images"].to_kind(Kind::Float);
        let size = crops.size();
        let flat = crops.view([size[0] * size[1], size[2], size[3], size[4]]);
        let logits = model.forward(&flat).view([size[0], size[1], -1]);
        logits_differ_by(
            "five_crop_logits",
            &logits.mean_dim([1i64].as_slice(), false, Kind::Float),
        );
    });
}

#[test]
fn adaptformer_trains_as_the_authors() {
    replay("adaptformer");
}

#[test]
fn classifier_only_trains_as_the_authors() {
    replay("classifier-only");
}

#[test]
fn lora_trains_as_the_authors() {
    replay("lora");
}

#[test]
fn last_two_layers_are_read_off_the_tensors() {
    replay("adaptformer-last-2");
}

#[test]
fn modules_combine() {
    replay("adaptformer+lora");
}

/// bfloat16 keeps 8 bits: logits of scale 25 lie within a few tenths of fp32's, and the tuned tensors still learn.
#[test]
fn bf16_follows_fp32_and_gives_fp32_gradients() {
    let (Some(model), Some(inputs)) = (
        shared("golden/clip-hf"),
        shared("golden/train-inputs.safetensors"),
    ) else {
        return;
    };
    let inputs = TensorFile::read(&inputs).unwrap().tensors;
    let images = inputs["train_images"].get(0).to_kind(Kind::Float);
    for name in ["adaptformer", "lora"] {
        let Some(run) = shared(&format!("golden/tuners/{name}.safetensors")) else {
            return;
        };
        let run = TensorFile::read(&run).unwrap().tensors;
        let logits = [Kind::Float, Kind::BFloat16].map(|kind| {
            // The trained tensors, so that the modules add something.
            let tensors = run.iter();
            let tensors = tensors
                .filter_map(|(k, t)| {
                    Some((k.strip_prefix("final.")?.to_owned(), t.shallow_clone()))
                })
                .collect();
            let visual = Clip::load(&model).unwrap().visual;
            let model = TunedModel::from_tuned(visual, tensors, 25.0, Device::Cpu, kind).unwrap();
            let logits = model.forward(&images);
            logits
                .cross_entropy_for_logits(&inputs["train_labels"].get(0))
                .backward();
            for (name, tensor) in model.tuned() {
                assert_eq!(tensor.grad().kind(), Kind::Float, "{name}");
                assert!(tensor.grad().abs().max().double_value(&[]) > 0.0, "{name}");
            }
            logits.detach()
        });
        let difference = largest_difference(&logits[0], &logits[1]);
        assert!(difference > 0.0 && difference < 0.5, "{name}: {difference}");
    }
}

/// The goldens start from the authors' initial tensors; ours are drawn from the same distributions.
#[test]
fn fresh_modules_are_drawn_as_the_authors_draw_them() {
    let Some(model) = shared("golden/clip-hf") else {
        return;
    };
    let tower = Clip::load(&model).unwrap().visual;
    for (name, kind) in [
        ("adaptformer", TunerKind::Adaptformer),
        ("lora", TunerKind::Lora),
    ] {
        let Some(run) = shared(&format!("golden/tuners/{name}.safetensors")) else {
            return;
        };
        let theirs = TensorFile::read(&run).unwrap().tensors;
        let ours = Tuner::new(kind, None, tower.config(), 100, 0).named_tensors();
        assert!(!ours.is_empty());
        for (key, ours) in ours {
            let theirs = &theirs[&format!("init.{key}")];
            assert_eq!(ours.size(), theirs.size(), "{key}");
            let largest = |t: &Tensor| t.abs().max().double_value(&[]);
            let mean = |t: &Tensor| t.mean(Kind::Double).double_value(&[]);
            // Uniform draws of a thousand values come within 2 % of their bound; the rest is constant.
            assert!(
                (largest(&ours) - largest(theirs)).abs() <= 0.02 * largest(theirs),
                "{key}"
            );
            assert!(
                (mean(&ours) - mean(theirs)).abs() <= 0.1 * largest(theirs),
                "{key}"
            );
        }
    }
}
