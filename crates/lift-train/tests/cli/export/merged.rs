//! Whatever folds into a model is the same function there, and a merged model gives the run's logits.

use std::path::Path;

use lift_models::{Clip, NoHooks, Parameter, Place, TensorFile, VisionTower};
use lift_train::{
    model::TunedModel,
    run::{Tuned, read_config},
    tuner::{AftPlace, Layers, LoraTarget, Tuner, TunerOptions},
};
use tch::{Device, Kind, Tensor, kind::FLOAT_CPU};

use super::{
    super::{demo_model, methods::tiny_vit, prepare},
    apart, base_file, exported, images, json, logits_of_merged, trained,
};

#[test]
fn whatever_folds_is_the_same_function_without_hooks() {
    for kinds in [
        "lora:3",
        "ssf",
        "lora:2,ssf",
        "aft",
        "aft,lora,ssf",
        "full",
        "bitfit",
        "layer-norm",
        "bitfit,layer-norm",
    ] {
        let mut tower = VisionTower::open(&demo_model()).unwrap();
        let options = TunerOptions {
            tuners: kinds.parse().unwrap(),
            layers: Layers::Only(vec![1, 4]),
            size: None,
            lora_targets: LoraTarget::ALL.to_vec(),
            aft_place: AftPlace::All,
            aft_ratio: Some(0.2),
            seed: 3,
        };
        let tuner = Tuner::new(&options, &tower, 100).unwrap();
        tch::manual_seed(5);
        for (_, mut tensor) in tuner.named_tensors() {
            let noise = tensor.randn_like() * 0.1;
            let _ = tch::no_grad(|| tensor.g_add_(&noise));
        }
        let images = images(3, 48);
        let frozen = tch::no_grad(|| tower.features(&images, &NoHooks));
        let tuned = tch::no_grad(|| tower.features(&images, &tuner));
        let untouched = tower.resblocks[0]
            .parameter(Parameter::Weight(Place::Qkv))
            .copy();
        tower.absorb(&tuner);
        let absorbed = tch::no_grad(|| tower.features(&images, &NoHooks));
        assert!(apart(&frozen, &tuned) > 1e-2, "{kinds}: nothing was tuned");
        assert!(
            apart(&tuned, &absorbed) < 1e-5,
            "{kinds}: {}",
            apart(&tuned, &absorbed)
        );
        assert_eq!(
            tower.resblocks[0].parameter(Parameter::Weight(Place::Qkv)),
            &untouched
        );
    }
}

/// The run's logits, from its own files.
fn logits_of_run(run: &Path, model: &Path, images: &Tensor) -> Tensor {
    let config = read_config(run).unwrap();
    let mut tower = VisionTower::open(model).unwrap();
    if let Some(resolution) = config.resolution {
        tower.set_resolution(resolution).unwrap();
    }
    let tensors = Tuned::read(run).unwrap().file.tensors;
    let (kind, scale) = (config.classifier, config.scale());
    let model = TunedModel::from_tuned(tower, tensors, kind, scale, Device::Cpu, Kind::Float);
    tch::no_grad(|| model.unwrap().forward(images))
}

/// The demo's model as OpenAI's names have it, in one bare file of fp32.
fn openai_file(path: &Path) {
    let clip = Clip::load(&demo_model()).unwrap();
    let named = clip.named_tensors().into_iter();
    let file = TensorFile {
        tensors: named
            .map(|(name, tensor)| (name, tensor.shallow_clone()))
            .collect(),
        ..TensorFile::default()
    };
    file.write(path).unwrap();
}

#[test]
fn a_merged_model_gives_the_runs_logits_in_every_layout() {
    let dir = tempfile::tempdir().unwrap();
    prepare(dir.path());
    let (openai, vit) = (
        dir.path().join("openai.safetensors"),
        dir.path().join("vit.safetensors"),
    );
    openai_file(&openai);
    tiny_vit(&vit);
    let mut timm = TensorFile::read(&vit).unwrap();
    timm.tensors
        .insert("head.weight".into(), Tensor::zeros([7, 64], FLOAT_CPU));
    timm.write(&vit).unwrap();
    let mut head = lift_models::Head::read(&dir.path().join("head.safetensors")).unwrap();
    head.weight = head.weight.narrow(1, 0, 64).contiguous();
    head.text_embeds = None;
    head.write(&dir.path().join("vit-head.safetensors"))
        .unwrap();
    let cases = [
        (
            "hf",
            &demo_model(),
            "head.safetensors",
            &["--tuner", "lora,ssf", "--resolution", "64"][..],
            64,
            "model.safetensors",
        ),
        (
            "openai",
            &openai,
            "head.safetensors",
            &["--tuner", "ssf", "--classifier", "linear"][..],
            48,
            "open_clip_model.safetensors",
        ),
        (
            "timm",
            &vit,
            "vit-head.safetensors",
            &["--tuner", "aft", "--classifier", "l2norm"][..],
            16,
            "model.safetensors",
        ),
    ];
    for (name, model, head, more, side, file) in cases {
        let run = trained(dir.path(), name, model, head, more);
        let out = dir.path().join(format!("{name}-merged"));
        let said = exported(&run, "merged", &out);
        assert!(
            said.contains("the merged model's logits differ from the run's by at most "),
            "{said}"
        );
        let images = images(5, side);
        let (ours, merged) = (
            logits_of_run(&run, model, &images),
            logits_of_merged(&out, &images),
        );
        assert!(
            apart(&ours, &merged) < 1e-5,
            "{name}: {}",
            apart(&ours, &merged)
        );
        // The file has the base's names, in fp32; of a timm model the pre-training's classifier is left out.
        let (base, written) = (base_file(model), TensorFile::read(&out.join(file)).unwrap());
        let expected: Vec<&String> = base
            .tensors
            .keys()
            .filter(|name| !name.starts_with("head."))
            .collect();
        assert_eq!(
            written.tensors.keys().collect::<Vec<_>>(),
            expected,
            "{name}"
        );
        assert!(
            written
                .tensors
                .values()
                .all(|tensor| tensor.kind() == Kind::Float)
        );
    }
    let config = json(&dir.path().join("hf-merged/config.json"));
    assert_eq!(config["vision_config"]["image_size"], 64);
    assert_eq!(config["torch_dtype"], "float32");
    assert!(dir.path().join("hf-merged/tokenizer.json").is_file());
}
