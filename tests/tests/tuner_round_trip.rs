//! A tuned model written to a run's folder and read back gives the same logits, whatever was tuned.

use lift_models::{Clip, Head};
use lift_tests::{demo_model, largest_difference};
use lift_train::{
    classifier::{Classifier, ClassifierKind},
    model::TunedModel,
    run::Tuned,
    tuner::{Layers, LoraTarget, Tuner, TunerKind, TunerOptions, Tuners},
};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

fn options(tuners: &str, layers: &str) -> TunerOptions {
    TunerOptions {
        layers: layers.parse::<Layers>().unwrap(),
        ..TunerOptions::new(tuners.parse::<Tuners>().unwrap())
    }
}

fn head() -> Head {
    tch::manual_seed(0);
    Head {
        weight: Tensor::randn([10, 128], FLOAT_CPU),
        text_embeds: None,
        class_names: (0..10).map(|i| format!("class {i}")).collect(),
        class_hash: "hash".into(),
        template: "{}".into(),
        model: "shapes-clip".into(),
        logit_scale: 100.0,
    }
}

/// Fresh modules, moved off their start so that every tensor counts.
fn moved(options: &TunerOptions, kind: ClassifierKind, head: &Head) -> TunedModel {
    let visual = Clip::load(&demo_model()).unwrap().visual;
    let tuner = Tuner::new(options, &visual, 10).unwrap();
    let classifier = Classifier::new(kind, &head.weight, 25.0);
    let model = TunedModel::new(visual, tuner, classifier, Device::Cpu, Kind::Float);
    tch::no_grad(|| {
        for (_, mut tensor) in model.tuned() {
            let noise = Tensor::randn_like(&tensor) * 0.05;
            tensor += noise;
        }
    });
    model
}

#[test]
fn every_tuner_and_classifier_comes_back_from_its_file() {
    tch::set_num_threads(1);
    let head = head();
    let images = Tensor::randn([2, 3, 48, 48], FLOAT_CPU);
    let frozen = {
        let visual = Clip::load(&demo_model()).unwrap().visual;
        let classifier = Classifier::new(ClassifierKind::Cosine, &head.weight, 25.0);
        TunedModel::new(
            visual,
            Tuner::default(),
            classifier,
            Device::Cpu,
            Kind::Float,
        )
    };
    let frozen = tch::no_grad(|| frozen.visual.features(&images, &lift_models::NoHooks));

    let mut cases: Vec<(TunerOptions, ClassifierKind)> = TunerKind::ALL
        .iter()
        .filter(|kind| !kind.is_between_towers())
        .map(|kind| (options(&kind.to_string(), "all"), ClassifierKind::Cosine))
        .collect();
    cases.push((
        options("adaptformer,lora,ssf,vpt-deep:3", "last:2"),
        ClassifierKind::Linear,
    ));
    cases.push((
        options("bitfit,layer-norm", "0,3,5"),
        ClassifierKind::L2norm,
    ));
    cases.push((options("aft,adapter", "1"), ClassifierKind::Layernorm));
    cases.push((
        TunerOptions {
            lora_targets: LoraTarget::ALL.to_vec(),
            ..options("lora:2", "all")
        },
        ClassifierKind::Cosine,
    ));
    for (options, classifier) in cases {
        let name = format!("{} in {}", options.tuners, options.layers);
        let dir = tempfile::tempdir().unwrap();
        let model = moved(&options, classifier, &head);
        let (features, logits) = tch::no_grad(|| {
            let features = model.visual.features(&images, &model.tuner);
            (features, model.forward(&images))
        });
        assert!(
            largest_difference(&features, &frozen) > 1e-3,
            "{name}: the modules do nothing"
        );
        Tuned::of(&model, &[1; 10], &head)
            .write(dir.path())
            .unwrap();

        let tensors = Tuned::read(dir.path()).unwrap().file.tensors;
        let visual = Clip::load(&demo_model()).unwrap().visual;
        let again =
            TunedModel::from_tuned(visual, tensors, classifier, 25.0, Device::Cpu, Kind::Float)
                .unwrap();
        let difference = tch::no_grad(|| largest_difference(&again.forward(&images), &logits));
        assert_eq!(difference, 0.0, "{name}");
        assert_eq!(again.parameter_counts(), model.parameter_counts(), "{name}");
    }
}

/// By hand for 6 blocks, 128 wide, MLP 512, 10 classes.
#[test]
fn parameters_are_counted() {
    let visual = Clip::load(&demo_model()).unwrap().visual;
    let count = |tuners: &str, layers: &str| -> usize {
        let tuner = Tuner::new(&options(tuners, layers), &visual, 10).unwrap();
        tuner.named_tensors().iter().map(|(_, t)| t.numel()).sum()
    };
    let block = 128 * 384 + 384 + 128 * 128 + 128 + 2 * 128 * 512 + 512 + 128 + 4 * 128;
    assert_eq!(count("full", "all"), 6 * block);
    assert_eq!(count("full", "last:2"), 2 * block);
    assert_eq!(count("bitfit", "0"), 384 + 128 + 512 + 128 + 2 * 128);
    assert_eq!(count("layer-norm", "all"), 6 * 4 * 128);
    assert_eq!(
        count("bitfit,layer-norm", "0"),
        384 + 128 + 512 + 128 + 4 * 128
    );
    assert_eq!(count("ssf", "0"), 2 * (384 + 128 + 512 + 128));
    assert_eq!(count("lora:4", "0"), 4 * 4 * 128);
    assert_eq!(count("vpt-shallow:5", "all"), 5 * 128);
    assert_eq!(count("vpt-deep:5", "all"), 6 * 5 * 128);
    // As many as the classifier has, but for rounding down in each of 48 tensors.
    let aft = count("aft", "all");
    assert!(aft <= 1280 && aft > 1280 - 48, "{aft}");
}

#[test]
fn tensors_that_fit_no_tuner_are_refused_by_name() {
    let visual = Clip::load(&demo_model()).unwrap().visual;
    let refused = |tensors: &[(&str, &[i64])]| {
        let tensors = tensors.iter();
        let tensors = tensors
            .map(|(name, shape)| {
                (
                    format!("image_encoder.blocks.{name}"),
                    Tensor::zeros(*shape, FLOAT_CPU),
                )
            })
            .collect();
        Tuner::from_tensors(tensors, &visual)
            .unwrap_err()
            .to_string()
    };
    for (tensors, message) in [
        (
            &[("6.prompt", &[2i64, 128][..])][..],
            "blocks.6.prompt is for block 6, the model has 6",
        ),
        (
            &[("0.prompts", &[2, 128])],
            "blocks.0.prompts belongs to no known tuner",
        ),
        (
            &[("0.prompt", &[2, 64])],
            "blocks.0.prompt has shape [2, 64], the model needs [2, 128]",
        ),
        (
            &[("1.attn.lora.k.up", &[2, 128])],
            "blocks.1.attn.lora.k.down is missing",
        ),
        (
            &[("2.norm1_bias", &[4])],
            "blocks.2.norm1_bias has shape [4], the model needs [128]",
        ),
        (
            &[("0.attn.aft.in_proj.masked_bias.optimized_params", &[4])],
            "blocks.0.attn.aft.in_proj.masked_bias.mask is missing",
        ),
        (
            &[
                ("0.attn.aft.in_proj.masked_bias.mask", &[384]),
                ("0.attn.aft.in_proj.masked_bias.optimized_params", &[4]),
            ],
            "is no mask",
        ),
    ] {
        let refused = refused(tensors);
        assert!(refused.contains(message), "{refused}");
    }
}
