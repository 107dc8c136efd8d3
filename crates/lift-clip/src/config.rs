//! Sizes of the two towers: from Hugging Face's `config.json`, or from the tensors' shapes.
//!
//! Heads are always `width / 64`, as in every published CLIP; a configuration that says otherwise is used as it is.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use tch::Tensor;

use crate::error::{Error, Result};

/// The MLP's activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`, OpenAI's CLIP.
    QuickGelu,
    /// Exact GELU, open_clip's LAION models and timm.
    Gelu,
}

/// Sizes of the image tower.
#[derive(Clone, Debug, PartialEq)]
pub struct VisionConfig {
    /// Side of the square input in pixels.
    pub resolution: i64,
    /// Side of a patch in pixels.
    pub patch_size: i64,
    /// Width of the class token.
    pub width: i64,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads a block.
    pub heads: i64,
    /// Hidden width of the MLP.
    pub mlp_width: i64,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
    /// The MLP's activation.
    pub activation: Activation,
}

impl VisionConfig {
    /// Patches and the class token: `(resolution / patch_size)^2 + 1`.
    pub fn tokens(&self) -> i64 {
        (self.resolution / self.patch_size).pow(2) + 1
    }
}

/// Sizes of the text tower.
#[derive(Clone, Debug, PartialEq)]
pub struct TextConfig {
    /// Longest text in tokens, start and end included.
    pub context_length: i64,
    /// Rows of the token embedding.
    pub vocab_size: i64,
    /// Width of a token.
    pub width: i64,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads a block.
    pub heads: i64,
    /// Hidden width of the MLP.
    pub mlp_width: i64,
    /// Epsilon of every LayerNorm.
    pub layer_norm_eps: f64,
    /// The MLP's activation.
    pub activation: Activation,
    /// Id of the end-of-text token, whose feature stands for the text.
    pub end_of_text: i64,
}

/// Sizes of a whole CLIP.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipConfig {
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
    /// Width of the joint space.
    pub embed_dim: i64,
}

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
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
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
        Ok(Self {
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
                    t.vocab_size - 1
                } else {
                    t.eos_token_id
                },
            },
            embed_dim: hf.projection_dim,
        })
    }

    /// Reads the sizes off tensors in OpenAI's names, the way OpenAI's `build_model` does.
    ///
    /// # Errors
    /// When a tensor that tells a size is missing or has too few dimensions.
    pub fn from_openai_shapes(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        let dim = |name: &str, axis: usize| {
            tensors
                .get(name)
                .and_then(|t| t.size().get(axis).copied())
                .filter(|&n| n > 0)
                .ok_or_else(|| Error::BadCheckpoint {
                    path: path.into(),
                    problems: vec![format!("{name}: missing, or without dimension {axis}")],
                })
        };
        let layers = |prefix: &str| {
            let blocks = tensors.keys().filter_map(|k| {
                k.strip_prefix(prefix)?
                    .split('.')
                    .next()?
                    .parse::<usize>()
                    .ok()
            });
            blocks.max().map_or(0, |last| last + 1)
        };
        let (width, text_width) = (dim("visual.conv1.weight", 0)?, dim("ln_final.weight", 0)?);
        let patch_size = dim("visual.conv1.weight", 2)?;
        let grid = ((dim("visual.positional_embedding", 0)? - 1) as f64)
            .sqrt()
            .round() as i64;
        let vocab_size = dim("token_embedding.weight", 0)?;
        Ok(Self {
            vision: VisionConfig {
                resolution: grid * patch_size,
                patch_size,
                width,
                layers: layers("visual.transformer.resblocks."),
                heads: (width / 64).max(1),
                mlp_width: dim("visual.transformer.resblocks.0.mlp.c_fc.weight", 0)?,
                layer_norm_eps: 1e-5,
                activation: Activation::QuickGelu,
            },
            text: TextConfig {
                context_length: dim("positional_embedding", 0)?,
                vocab_size,
                width: text_width,
                layers: layers("transformer.resblocks."),
                heads: (text_width / 64).max(1),
                mlp_width: dim("transformer.resblocks.0.mlp.c_fc.weight", 0)?,
                layer_norm_eps: 1e-5,
                activation: Activation::QuickGelu,
                end_of_text: vocab_size - 1,
            },
            embed_dim: dim("text_projection", 1)?,
        })
    }
}
