//! The towers that people use, by the shapes of their published tensors. No weights: a tensor is one number, expanded.
//!
//! Independent numbers: the parameter counts that OpenAI's and timm's models report.

use std::{collections::BTreeMap, path::Path};

use tch::Tensor;

use super::*;

struct Published {
    name: &'static str,
    resolution: i64,
    patch: i64,
    width: i64,
    layers: usize,
    text_width: i64,
    embed: i64,
    parameters: usize,
}

const CLIPS: [Published; 4] = [
    clip("ViT-B/32", 224, 32, 768, 12, 512, 151_277_313),
    clip("ViT-B/16", 224, 16, 768, 12, 512, 149_620_737),
    clip("ViT-L/14", 224, 14, 1024, 24, 768, 427_616_513),
    clip("ViT-L/14@336px", 336, 14, 1024, 24, 768, 427_944_193),
];

const TIMMS: [Published; 4] = [
    timm("vit_base_patch16_224", 224, 768, 12, 85_798_656),
    timm("vit_base_patch16_384", 384, 768, 12, 86_090_496),
    timm("vit_large_patch16_224", 224, 1024, 24, 303_301_632),
    timm("vit_large_patch16_384", 384, 1024, 24, 303_690_752),
];

const fn clip(
    name: &'static str,
    resolution: i64,
    patch: i64,
    width: i64,
    layers: usize,
    text_width: i64,
    parameters: usize,
) -> Published {
    Published {
        name,
        resolution,
        patch,
        width,
        layers,
        text_width,
        embed: text_width,
        parameters,
    }
}

const fn timm(
    name: &'static str,
    resolution: i64,
    width: i64,
    layers: usize,
    parameters: usize,
) -> Published {
    Published {
        name,
        resolution,
        patch: 16,
        width,
        layers,
        text_width: 0,
        embed: 0,
        parameters,
    }
}

#[derive(Default)]
struct Tensors(BTreeMap<String, Tensor>);

impl Tensors {
    fn add(&mut self, name: &str, shape: &[i64]) {
        let tensor = Tensor::from(0.0f32).expand(shape, false);
        self.0.insert(name.into(), tensor);
    }

    /// A weight (out, in) or (d), and its bias.
    fn pair(&mut self, name: &str, shape: &[i64]) {
        self.add(&format!("{name}.weight"), shape);
        self.add(&format!("{name}.bias"), &shape[..1]);
    }

    fn openai_blocks(&mut self, prefix: &str, d: i64, layers: usize) {
        for layer in 0..layers {
            let at = |name: &str| format!("{prefix}{layer}.{name}");
            self.pair(&at("ln_1"), &[d]);
            self.add(&at("attn.in_proj_weight"), &[3 * d, d]);
            self.add(&at("attn.in_proj_bias"), &[3 * d]);
            self.pair(&at("attn.out_proj"), &[d, d]);
            self.pair(&at("ln_2"), &[d]);
            self.pair(&at("mlp.c_fc"), &[4 * d, d]);
            self.pair(&at("mlp.c_proj"), &[d, 4 * d]);
        }
    }

    fn openai(model: &Published) -> Self {
        let (d, t, e) = (model.width, model.text_width, model.embed);
        let mut all = Self::default();
        all.add("visual.conv1.weight", &[d, 3, model.patch, model.patch]);
        all.add("visual.class_embedding", &[d]);
        all.add("visual.positional_embedding", &[tokens(model), d]);
        all.pair("visual.ln_pre", &[d]);
        all.pair("visual.ln_post", &[d]);
        all.add("visual.proj", &[d, e]);
        all.openai_blocks("visual.transformer.resblocks.", d, model.layers);
        all.add("token_embedding.weight", &[49408, t]);
        all.add("positional_embedding", &[77, t]);
        all.openai_blocks("transformer.resblocks.", t, 12);
        all.pair("ln_final", &[t]);
        all.add("text_projection", &[t, e]);
        all.add("logit_scale", &[]);
        all
    }

    fn timm(model: &Published) -> Self {
        let d = model.width;
        let mut all = Self::default();
        all.add("cls_token", &[1, 1, d]);
        all.add("pos_embed", &[1, tokens(model), d]);
        all.pair("patch_embed.proj", &[d, 3, model.patch, model.patch]);
        for layer in 0..model.layers {
            let at = |name: &str| format!("blocks.{layer}.{name}");
            all.pair(&at("norm1"), &[d]);
            all.pair(&at("attn.qkv"), &[3 * d, d]);
            all.pair(&at("attn.proj"), &[d, d]);
            all.pair(&at("norm2"), &[d]);
            all.pair(&at("mlp.fc1"), &[4 * d, d]);
            all.pair(&at("mlp.fc2"), &[d, 4 * d]);
        }
        all.pair("norm", &[d]);
        all
    }

    fn parameters(&self) -> usize {
        self.0.values().map(Tensor::numel).sum()
    }
}

fn tokens(model: &Published) -> i64 {
    (model.resolution / model.patch).pow(2) + 1
}

fn check_vision(found: &VisionConfig, model: &Published) {
    let Published {
        resolution, patch, ..
    } = *model;
    assert_eq!(
        (found.resolution, found.patch_size, found.width),
        (resolution, patch, model.width),
        "{}",
        model.name
    );
    assert_eq!(
        (found.layers, found.heads, found.mlp_width),
        (model.layers, model.width / 64, 4 * model.width)
    );
}

#[test]
fn openais_models_are_recognised_by_their_tensors() {
    for model in &CLIPS {
        let tensors = Tensors::openai(model);
        assert_eq!(tensors.parameters(), model.parameters, "{}", model.name);
        let config = ClipConfig::from_openai_shapes(Path::new("clip"), &tensors.0).unwrap();
        check_vision(&config.vision, model);
        assert_eq!(config.vision.activation, Activation::QuickGelu);
        assert_eq!(config.text.heads, model.text_width / 64);
        assert_eq!((config.text.layers, config.text.context_length), (12, 77));
        assert_eq!(config.text.end_of_text, 49407);
        assert_eq!(config.embed_dim, model.embed);
    }
}

#[test]
fn timms_models_are_recognised_by_their_tensors() {
    for model in &TIMMS {
        let tensors = Tensors::timm(model);
        assert_eq!(tensors.parameters(), model.parameters, "{}", model.name);
        let config = crate::timm::config(Path::new("vit"), &tensors.0).unwrap();
        check_vision(&config, model);
        assert_eq!(config.activation, Activation::Gelu);
        assert_eq!(config.layer_norm_eps, 1e-6);
    }
}

#[test]
fn hugging_faces_config_says_what_the_tensors_say() {
    // config.json of openai/clip-vit-large-patch14-336, the entries that matter.
    let json = r#"{"projection_dim": 768,
        "text_config": {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12,
            "num_hidden_layers": 12, "max_position_embeddings": 77, "vocab_size": 49408,
            "hidden_act": "quick_gelu", "eos_token_id": 2, "layer_norm_eps": 1e-05},
        "vision_config": {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
            "num_hidden_layers": 24, "image_size": 336, "patch_size": 14, "hidden_act": "quick_gelu",
            "layer_norm_eps": 1e-05}}"#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    std::fs::write(&path, json).unwrap();
    let tensors = Tensors::openai(&CLIPS[3]).0;
    assert_eq!(
        ClipConfig::from_hf_json(&path).unwrap(),
        ClipConfig::from_openai_shapes(&path, &tensors).unwrap()
    );
}
