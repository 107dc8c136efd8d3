//! Sizes from the `config.json` of Hugging Face's `CLIPModel`.

use std::path::Path;

use lift_files::Purpose;
use serde::Deserialize;

use super::{Activation, ClipConfig, TextConfig, VisionConfig};
use crate::error::{Error, Result};

#[derive(Deserialize)]
struct HfConfig {
    #[serde(default = "default_projection")]
    projection_dim: i64,
    vision_config: HfVision,
    text_config: HfText,
}

// Hugging Face leaves values out that equal the defaults of its classes; these are those defaults.
#[derive(Deserialize)]
#[serde(default)]
struct HfVision {
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    image_size: i64,
    patch_size: i64,
    hidden_act: String,
    layer_norm_eps: f64,
}

impl Default for HfVision {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 32,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct HfText {
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    max_position_embeddings: i64,
    vocab_size: i64,
    hidden_act: String,
    layer_norm_eps: f64,
    eos_token_id: i64,
}

impl Default for HfText {
    fn default() -> Self {
        Self {
            hidden_size: 512,
            intermediate_size: 2048,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            vocab_size: 49408,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            eos_token_id: 49407,
        }
    }
}

fn default_projection() -> i64 {
    512
}

impl ClipConfig {
    /// Reads Hugging Face's `config.json` of a `CLIPModel`.
    ///
    /// # Errors
    /// When the file is missing, is no JSON, or holds sizes that cannot be (zero, not divisible).
    pub fn from_hf_json(path: &Path) -> Result<Self> {
        let bad = |reason: String| Error::BadConfig {
            path: path.into(),
            reason,
        };
        let text = lift_files::text(path, Purpose::Settings).map_err(Error::io(path))?;
        let hf: HfConfig = serde_json::from_str(&text)
            .map_err(|e| bad(format!("not a CLIP configuration: {e}")))?;
        let activation = |name: &str| match name {
            "quick_gelu" => Ok(Activation::QuickGelu),
            "gelu" => Ok(Activation::Gelu),
            other => Err(bad(format!(
                "hidden_act {other:?} is not supported\nhint: quick_gelu and gelu are"
            ))),
        };
        let (v, t) = (hf.vision_config, hf.text_config);
        let sizes = [
            (
                "vision_config.hidden_size",
                v.hidden_size,
                v.num_attention_heads,
            ),
            ("vision_config.image_size", v.image_size, v.patch_size),
            (
                "text_config.hidden_size",
                t.hidden_size,
                t.num_attention_heads,
            ),
        ];
        for (field, whole, part) in sizes {
            if whole < 1 || part < 1 || whole % part != 0 {
                return Err(bad(format!("{field} {whole} is not a multiple of {part}")));
            }
        }
        let config = Self {
            vision: VisionConfig {
                resolution: v.image_size,
                patch_size: v.patch_size,
                width: v.hidden_size,
                layers: v.num_hidden_layers,
                heads: v.num_attention_heads,
                mlp_width: v.intermediate_size,
                layer_norm_eps: v.layer_norm_eps,
                activation: activation(&v.hidden_act)?,
            },
            text: TextConfig {
                context_length: t.max_position_embeddings,
                vocab_size: t.vocab_size,
                width: t.hidden_size,
                layers: t.num_hidden_layers,
                heads: t.num_attention_heads,
                mlp_width: t.intermediate_size,
                layer_norm_eps: t.layer_norm_eps,
                activation: activation(&t.hidden_act)?,
                // Configurations of 2022 and before say 2 and mean the largest id (transformers #24650).
                end_of_text: if t.eos_token_id == 2 {
                    t.vocab_size.saturating_sub(1)
                } else {
                    t.eos_token_id
                },
            },
            embed_dim: hf.projection_dim,
        };
        config.check().map_err(bad)?;
        Ok(config)
    }
}
