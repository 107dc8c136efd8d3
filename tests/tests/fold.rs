//! Folding changes what a block computes with, not what it computes.

use lift_models::{Clip, NoHooks, Parameter, Place, Tokenizer, VisionTower};
use lift_tests::{demo_model, largest_difference, shared};
use lift_train::{
    classifier::{Classifier, ClassifierKind},
    model::TunedModel,
    tuner::{Tuner, TunerKind, TunerOptions, Tuners},
};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

/// LayerNorms as the demo's model has them are nearly plain; these are not.
fn tower() -> VisionTower {
    let mut tower = Clip::load(&demo_model()).unwrap().visual;
    for (layer, block) in tower.resblocks.iter_mut().enumerate() {
        for (norm, phase) in [(&mut block.ln_1, 0.3), (&mut block.ln_2, 0.7)] {
            let wave = (Tensor::arange(128, FLOAT_CPU) * (phase + layer as f64)).sin();
            norm.weight = &norm.weight * (1.0 + &wave * 0.5);
            norm.bias = &norm.bias + wave * 0.2;
        }
    }
    tower
}

fn parts(tuners: &str) -> (VisionTower, Tuner, Classifier) {
    let visual = tower();
    let options = TunerOptions::new(tuners.parse::<Tuners>().unwrap());
    let mut tuner = Tuner::new(&options, &visual, 100).unwrap();
    let rows = (Tensor::arange(12800, FLOAT_CPU) * 0.37).sin();
    let mut classifier = Classifier::new(ClassifierKind::Cosine, &rows.view([100, 128]), 25.0);
    tuner.to_device(Device::Cpu);
    classifier.to_device(Device::Cpu);
    // Fresh modules start as nothing: moved, so that what they do shows.
    tch::no_grad(|| {
        for (nth, (_, mut tensor)) in tuner.named_tensors().into_iter().enumerate() {
            let wave = Tensor::arange(tensor.numel() as i64, FLOAT_CPU) * (0.1 + nth as f64);
            tensor += wave.sin().view(tensor.size().as_slice()) * 0.05;
        }
    });
    (visual, tuner, classifier)
}

fn logits_and_gradients(model: &TunedModel, images: &Tensor) -> (Tensor, Vec<(String, Tensor)>) {
    let logits = model.forward(images);
    let labels = Tensor::from_slice(&[3i64, 50, 99]);
    logits.cross_entropy_for_logits(&labels).backward();
    let tuned = model.tuned().into_iter();
    let gradients = tuned.map(|(name, tensor)| (name, tensor.grad())).collect();
    (logits, gradients)
}

#[test]
fn a_folded_model_has_the_logits_and_gradients_of_a_plain_one() {
    let images = (Tensor::arange(3 * 3 * 48 * 48, FLOAT_CPU) * 0.013)
        .sin()
        .view([3, 3, 48, 48]);
    let kinds = TunerKind::ALL
        .iter()
        .filter(|kind| !kind.is_between_towers());
    let mut cases: Vec<String> = kinds.map(ToString::to_string).collect();
    cases.extend([
        "none".into(),
        "lora,adaptformer".into(),
        "ssf,adapter".into(),
    ]);
    for tuners in cases {
        let (visual, tuner, classifier) = parts(&tuners);
        let plain = TunedModel {
            visual,
            tuner,
            joint: Default::default(),
            classifier,
            beside: None,
            recomputes: false,
        };
        let (expected, gradients) = logits_and_gradients(&plain, &images);
        let (visual, tuner, classifier) = parts(&tuners);
        let folded = TunedModel::new(visual, tuner, classifier, Device::Cpu, Kind::Float);
        let (found, folded_gradients) = logits_and_gradients(&folded, &images);
        let difference = largest_difference(&found, &expected);
        assert!(difference < 2e-4, "{tuners}: logits differ by {difference}");
        for ((name, expected), (_, found)) in gradients.iter().zip(&folded_gradients) {
            assert_eq!(expected.defined(), found.defined(), "{tuners}: {name}");
            if expected.defined() {
                let scale = expected.abs().max().double_value(&[]);
                let difference = largest_difference(expected, found);
                assert!(
                    difference <= 1e-4 * scale,
                    "{tuners}: {name}: {difference} of {scale}"
                );
            }
        }
    }
}

#[test]
fn only_what_no_module_looks_at_is_folded() {
    let own = |tuners: &str, which: Parameter| {
        let (mut visual, tuner, _) = parts(tuners);
        let before = visual.resblocks[2].parameter(which).copy();
        visual.fold(&tuner);
        visual.resblocks[2].parameter(which) == &before
    };
    let (qkv, mlp_in) = (
        Parameter::Weight(Place::Qkv),
        Parameter::Weight(Place::MlpIn),
    );
    for (tuners, keeps_qkv, keeps_mlp) in [
        ("adaptformer", false, false),
        ("vpt-deep,adapter", false, false),
        ("lora", true, false),
        ("ssf", true, true),
        ("bitfit", true, true),
        ("full", true, true),
    ] {
        assert_eq!(own(tuners, qkv), keeps_qkv, "{tuners}");
        assert_eq!(own(tuners, mlp_in), keeps_mlp, "{tuners}");
    }
}

#[test]
fn towers_of_both_kinds_and_the_text_tower_keep_their_features() {
    let mut clip = Clip::load(&demo_model()).unwrap();
    let tokenizer = Tokenizer::of_model(&demo_model()).unwrap();
    let ids = tokenizer.encode("a photo of a red star.", 16).unwrap();
    let ids = Tensor::from_slice(&ids).view([1, -1]);
    let expected = clip.text.features(&ids);
    clip.text.fold();
    clip.text.fold(); // A second time it finds nothing to do.
    assert!(largest_difference(&clip.text.features(&ids), &expected) < 1e-4);

    let Some(timm) = shared("golden/vit-timm-layout.safetensors") else {
        return;
    };
    let mut tower = VisionTower::open(&timm).unwrap();
    let images = Tensor::ones([2, 3, 32, 32], FLOAT_CPU) * 0.5;
    let expected = tower.features(&images, &NoHooks);
    tower.fold(&NoHooks);
    assert!(largest_difference(&tower.features(&images, &NoHooks), &expected) < 1e-4);
}
