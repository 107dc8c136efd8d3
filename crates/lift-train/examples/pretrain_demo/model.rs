//! The tiny CLIP: its sizes, its initial values, and its files in Hugging Face's layout.

use std::{fs, path::Path};

use anyhow::Result;
use lift_models::{Activation, Clip, ClipConfig, TensorFile, TextConfig, VisionConfig};
use tch::{Device, Kind, Tensor, nn};

use crate::captions;

/// 48-pixel images in patches of 8, six blocks of 128; texts of at most 16 tokens, three blocks of 64.
pub fn config() -> ClipConfig {
    let vocab_size = captions::vocabulary().len() as i64;
    ClipConfig {
        vision: VisionConfig {
            resolution: 48,
            patch_size: 8,
            width: 128,
            layers: 6,
            heads: 2,
            mlp_width: 512,
            layer_norm_eps: 1e-5,
            activation: Activation::QuickGelu,
        },
        text: TextConfig {
            context_length: 16,
            vocab_size,
            width: 64,
            layers: 3,
            heads: 1,
            mlp_width: 256,
            layer_norm_eps: 1e-5,
            activation: Activation::QuickGelu,
            end_of_text: vocab_size - 1,
        },
        embed_dim: 64,
    }
}

/// A CLIP whose tensors are variables of `vs`, initialised as in OpenAI's `initialize_parameters`.
pub fn trainable(vs: &nn::VarStore, config: &ClipConfig) -> Result<Clip> {
    let mut tensors = Vec::new();
    for (name, shape) in shapes(config) {
        let value = if name.contains("ln_") && name.ends_with("weight") {
            Tensor::ones(&shape, (Kind::Float, Device::Cpu))
        } else if name.ends_with("bias") {
            Tensor::zeros(&shape, (Kind::Float, Device::Cpu))
        } else if name == "logit_scale" {
            Tensor::from((1.0f32 / 0.07).ln())
        } else {
            Tensor::randn(&shape, (Kind::Float, Device::Cpu)) * initial_std(&name, &shape, config)
        };
        // tch allows no dots in names.
        tensors.push((
            name.clone(),
            vs.root().var_copy(&name.replace('.', "|"), &value),
        ));
    }
    Ok(Clip::from_tensors(
        Path::new("the demo's model"),
        tensors,
        config.clone(),
    )?)
}

fn initial_std(name: &str, shape: &[i64], config: &ClipConfig) -> f64 {
    let (width, layers) = if name.starts_with("visual") {
        (config.vision.width as f64, config.vision.layers as f64)
    } else {
        (config.text.width as f64, config.text.layers as f64)
    };
    match name {
        _ if name.ends_with("in_proj_weight") => width.powf(-0.5),
        _ if name.ends_with("out_proj.weight") || name.ends_with("c_proj.weight") => {
            (2.0 * layers * width).powf(-0.5)
        }
        _ if name.ends_with("c_fc.weight") => (2.0 * width).powf(-0.5),
        "visual.conv1.weight" => (shape[1..].iter().product::<i64>() as f64).powf(-0.5),
        "visual.proj" | "text_projection" | "visual.class_embedding" => width.powf(-0.5),
        _ => 0.02,
    }
}

/// Every tensor's name and shape in OpenAI's layout.
fn shapes(config: &ClipConfig) -> Vec<(String, Vec<i64>)> {
    let (v, t, e) = (&config.vision, &config.text, config.embed_dim);
    let mut all: Vec<(String, Vec<i64>)> = vec![
        (
            "visual.conv1.weight".into(),
            vec![v.width, 3, v.patch_size, v.patch_size],
        ),
        ("visual.class_embedding".into(), vec![v.width]),
        (
            "visual.positional_embedding".into(),
            vec![v.tokens(), v.width],
        ),
        ("visual.proj".into(), vec![v.width, e]),
        ("token_embedding.weight".into(), vec![t.vocab_size, t.width]),
        (
            "positional_embedding".into(),
            vec![t.context_length, t.width],
        ),
        ("text_projection".into(), vec![t.width, e]),
        ("logit_scale".into(), vec![]),
    ];
    for (norm, width) in [
        ("visual.ln_pre", v.width),
        ("visual.ln_post", v.width),
        ("ln_final", t.width),
    ] {
        all.extend(["weight", "bias"].map(|end| (format!("{norm}.{end}"), vec![width])));
    }
    let towers = [
        ("visual.transformer", v.layers, v.width, v.mlp_width),
        ("transformer", t.layers, t.width, t.mlp_width),
    ];
    for (tower, layers, d, hidden) in towers {
        for layer in 0..layers {
            let fields = [
                ("ln_1.weight", vec![d]),
                ("ln_1.bias", vec![d]),
                ("attn.in_proj_weight", vec![3 * d, d]),
                ("attn.in_proj_bias", vec![3 * d]),
                ("attn.out_proj.weight", vec![d, d]),
                ("attn.out_proj.bias", vec![d]),
                ("ln_2.weight", vec![d]),
                ("ln_2.bias", vec![d]),
                ("mlp.c_fc.weight", vec![hidden, d]),
                ("mlp.c_fc.bias", vec![hidden]),
                ("mlp.c_proj.weight", vec![d, hidden]),
                ("mlp.c_proj.bias", vec![d]),
            ];
            all.extend(
                fields.map(|(name, shape)| (format!("{tower}.resblocks.{layer}.{name}"), shape)),
            );
        }
    }
    all
}

/// Writes `config.json`, `model.safetensors` (float16) and `tokenizer.json` into `out`.
pub fn save(clip: &Clip, out: &Path) -> Result<()> {
    fs::create_dir_all(out)?;
    let mut file = TensorFile::default();
    for (name, tensor) in clip.named_tensors() {
        let tensor = tensor.detach().to_kind(Kind::Half);
        for (name, tensor) in to_hugging_face(&name, tensor) {
            file.tensors.insert(name, tensor);
        }
    }
    file.metadata.insert("format".into(), "pt".into());
    file.write(&out.join("model.safetensors"))?;
    let pretty =
        |value: &serde_json::Value| serde_json::to_string_pretty(value).map(|text| text + "\n");
    fs::write(out.join("config.json"), pretty(&config_json(&clip.config))?)?;
    fs::write(
        out.join("tokenizer.json"),
        pretty(&captions::tokenizer_json())?,
    )?;
    Ok(())
}

/// The reverse of what lift-models does on loading.
fn to_hugging_face(name: &str, tensor: Tensor) -> Vec<(String, Tensor)> {
    if let Some((block, end)) = name.split_once(".attn.in_proj_") {
        let parts = tensor.chunk(3, 0);
        let block = hugging_face_block(block);
        let names = ["q", "k", "v"].map(|part| format!("{block}.self_attn.{part}_proj.{end}"));
        return names.into_iter().zip(parts).collect();
    }
    let (name, tensor) = match name {
        "visual.class_embedding" => ("vision_model.embeddings.class_embedding".into(), tensor),
        "visual.conv1.weight" => (
            "vision_model.embeddings.patch_embedding.weight".into(),
            tensor,
        ),
        "visual.positional_embedding" => (
            "vision_model.embeddings.position_embedding.weight".into(),
            tensor,
        ),
        "visual.proj" => ("visual_projection.weight".into(), tensor.tr()),
        "token_embedding.weight" => (
            "text_model.embeddings.token_embedding.weight".into(),
            tensor,
        ),
        "positional_embedding" => (
            "text_model.embeddings.position_embedding.weight".into(),
            tensor,
        ),
        "text_projection" => ("text_projection.weight".into(), tensor.tr()),
        other => (
            hugging_face_block(other)
                .replace("visual.ln_pre.", "vision_model.pre_layrnorm.")
                .replace("visual.ln_post.", "vision_model.post_layernorm.")
                .replace("ln_final.", "text_model.final_layer_norm.")
                .replace(".attn.out_proj.", ".self_attn.out_proj.")
                .replace(".ln_1.", ".layer_norm1.")
                .replace(".ln_2.", ".layer_norm2.")
                .replace(".mlp.c_fc.", ".mlp.fc1.")
                .replace(".mlp.c_proj.", ".mlp.fc2."),
            tensor,
        ),
    };
    vec![(name, tensor)]
}

fn hugging_face_block(name: &str) -> String {
    name.replace(
        "visual.transformer.resblocks.",
        "vision_model.encoder.layers.",
    )
    .replace("transformer.resblocks.", "text_model.encoder.layers.")
}

fn config_json(config: &ClipConfig) -> serde_json::Value {
    let (v, t) = (&config.vision, &config.text);
    serde_json::json!({
        "model_type": "clip",
        "architectures": ["CLIPModel"],
        "projection_dim": config.embed_dim,
        "torch_dtype": "float16",
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": v.width,
            "intermediate_size": v.mlp_width,
            "num_hidden_layers": v.layers,
            "num_attention_heads": v.heads,
            "image_size": v.resolution,
            "patch_size": v.patch_size,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": v.layer_norm_eps,
            "projection_dim": config.embed_dim,
        },
        "text_config": {
            "model_type": "clip_text_model",
            "hidden_size": t.width,
            "intermediate_size": t.mlp_width,
            "num_hidden_layers": t.layers,
            "num_attention_heads": t.heads,
            "max_position_embeddings": t.context_length,
            "vocab_size": t.vocab_size,
            "hidden_act": "quick_gelu",
            "layer_norm_eps": t.layer_norm_eps,
            "bos_token_id": t.vocab_size - 2,
            "eos_token_id": t.end_of_text,
            "pad_token_id": t.end_of_text,
            "projection_dim": config.embed_dim,
        },
    })
}
