//! lift-models against OpenAI's CLIP package: both checkpoint layouts, both towers, the tokenizer.

use std::collections::BTreeMap;

use lift_models::{Clip, ClipConfig, NoHooks, Normalisation, TensorFile, Tokenizer, VisionTower};
use lift_tests::{largest_difference, shared};
use tch::Tensor;

const TOLERANCE: f64 = 1e-4;

fn assert_close(name: &str, ours: &Tensor, theirs: &Tensor) {
    let difference = largest_difference(ours, theirs);
    println!("{name}: largest difference {difference:.2e}");
    assert!(
        difference <= TOLERANCE,
        "{name}: {difference} > {TOLERANCE}"
    );
}

fn assert_forward_is_golden(model: &str) {
    let (Some(model), Some(golden)) = (shared(model), shared("golden/clip-forward.safetensors"))
    else {
        return;
    };
    let clip = Clip::load(&model).unwrap();
    let golden = TensorFile::read(&golden).unwrap().tensors;
    tch::no_grad(|| {
        let features = clip.visual.features(&golden["images"], &NoHooks);
        assert_close(
            "class_token_features",
            &features,
            &golden["class_token_features"],
        );
        assert_close(
            "image_embeds",
            &clip.visual.embed(&features),
            &golden["image_embeds"],
        );
        let features = clip.text.features(&golden["token_ids"]);
        assert_close("text_eot_features", &features, &golden["text_eot_features"]);
        assert_close(
            "text_embeds",
            &clip.text.embed(&features),
            &golden["text_embeds"],
        );
    });
}

#[test]
fn hugging_face_layout_gives_the_golden_features() {
    assert_forward_is_golden("golden/clip-hf");
}

#[test]
fn openai_layout_gives_the_golden_features() {
    assert_forward_is_golden("golden/clip-openai-layout.safetensors");
}

#[test]
fn both_layouts_give_the_same_tensors_and_sizes() {
    let (Some(hf), Some(openai)) = (
        shared("golden/clip-hf"),
        shared("golden/clip-openai-layout.safetensors"),
    ) else {
        return;
    };
    let (hf, openai) = (Clip::load(&hf).unwrap(), Clip::load(&openai).unwrap());
    assert_eq!(hf.config, openai.config);
    for ((name, ours), (other, theirs)) in
        hf.named_tensors().into_iter().zip(openai.named_tensors())
    {
        assert_eq!(name, other);
        assert_eq!(largest_difference(ours, theirs), 0.0, "{name}");
    }
}

#[test]
fn tokens_equal_openais() {
    let (Some(model), Some(golden)) = (shared("golden/clip-hf"), shared("golden/tokenizer.json"))
    else {
        return;
    };
    let tokenizer = Tokenizer::of_model(&model).unwrap();
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(golden).unwrap()).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let text = case["text"].as_str().unwrap();
        let expected: Vec<i64> = case["ids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_i64().unwrap())
            .collect();
        assert_eq!(tokenizer.encode(text, 77).unwrap(), expected, "{text:?}");
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_by_tensor_name() {
    let Some(model) = shared("golden/clip-hf") else {
        return;
    };
    let config = ClipConfig::from_hf_json(&model.join("config.json")).unwrap();
    let clip = Clip::load(&model).unwrap();
    let whole = || -> BTreeMap<String, Tensor> {
        clip.named_tensors()
            .into_iter()
            .map(|(name, t)| (name, t.shallow_clone()))
            .collect()
    };
    let refuse = |tensors: BTreeMap<String, Tensor>| {
        Clip::from_tensors("model.safetensors".as_ref(), tensors, config.clone())
            .unwrap_err()
            .to_string()
    };

    let mut tensors = whole();
    tensors.remove("visual.ln_post.bias");
    let shape = tensors["ln_final.weight"].size();
    tensors.insert(
        "ln_final.weight".into(),
        Tensor::zeros([shape[0] + 1], tch::kind::FLOAT_CPU),
    );
    tensors.insert(
        "visual.extra".into(),
        Tensor::zeros([2], tch::kind::FLOAT_CPU),
    );
    let message = refuse(tensors);
    assert!(
        message.starts_with("model.safetensors: the checkpoint does not fit"),
        "{message}"
    );
    assert!(
        message.contains("visual.ln_post.bias: missing, expected shape [128]"),
        "{message}"
    );
    assert!(
        message.contains("ln_final.weight: shape [65], expected [64]"),
        "{message}"
    );
    assert!(
        message.contains("visual.extra: not part of this model (shape [2])"),
        "{message}"
    );
    assert!(Clip::from_tensors("model.safetensors".as_ref(), whole(), config.clone()).is_ok());
}

#[test]
fn timm_layout_gives_the_golden_features() {
    let (Some(model), Some(golden)) = (
        shared("golden/vit-timm-layout.safetensors"),
        shared("golden/vit-timm-forward.safetensors"),
    ) else {
        return;
    };
    let golden = TensorFile::read(&golden).unwrap().tensors;
    let tower = VisionTower::open(&model).unwrap();
    assert_eq!(tower.usual_normalisation(), Normalisation::HALF);
    let features = tch::no_grad(|| tower.features(&golden["images"], &NoHooks));
    assert_close(
        "class_token_features",
        &features,
        &golden["class_token_features"],
    );
}

/// The classifier of the pre-training is passed over; anything else that is too much or too little is named as the
/// file names it.
#[test]
fn timm_tensors_that_do_not_fit_are_named() {
    let Some(model) = shared("golden/vit-timm-layout.safetensors") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let mut file = TensorFile::read(&model).unwrap();
    let zeros = |shape: &[i64]| Tensor::zeros(shape, tch::kind::FLOAT_CPU);
    file.tensors.insert("head.weight".into(), zeros(&[7, 128]));
    file.write(&path).unwrap();
    assert!(VisionTower::open(dir.path()).is_ok());
    let message = Clip::load(&path).unwrap_err().to_string();
    assert!(message.contains("without a text tower"), "{message}");

    file.tensors.insert("fc_norm.weight".into(), zeros(&[128]));
    file.tensors.remove("blocks.1.attn.qkv.bias");
    file.write(&path).unwrap();
    let message = VisionTower::open(&path).unwrap_err().to_string();
    for part in [
        "fc_norm.weight: not part of this model",
        "blocks.1.attn.qkv.bias (here visual.transformer.resblocks.1.attn.in_proj_bias): missing",
    ] {
        assert!(message.contains(part), "{message}");
    }
}
