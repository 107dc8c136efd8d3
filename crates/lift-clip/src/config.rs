//! Sizes of the two towers: from Hugging Face's `config.json`, or from the tensors' shapes.
//!
//! Shapes do not tell the number of heads and the activation. `config.json` says both; so does `open_clip_config.json`.
//! A bare file is taken for one of OpenAI's: heads of 64 and QuickGELU.
//! Invariant: what is read from a file is bounded, so that sizes can be multiplied without overflow.

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

    /// Reads the sizes off tensors in OpenAI's names, the way OpenAI's `build_model` does.
    ///
    /// Heads and activation come from the `open_clip_config.json` beside `path`; where there is none, heads are 64
    /// wide and the activation is QuickGELU, as in all of OpenAI's weights. A file of open_clip with GELU needs its
    /// `open_clip_config.json`: the tensors alone do not show it.
    ///
    /// # Errors
    /// When a tensor that tells a size is missing or has too few dimensions, or the sizes cannot be.
    pub fn from_openai_shapes(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<Self> {
        Self::from_openai_shapes_and(path, tensors, OpenClipConfig::beside(path)?.as_ref())
    }

    /// The same with the `open_clip_config.json` already read.
    pub(crate) fn from_openai_shapes_and(
        path: &Path,
        tensors: &BTreeMap<String, Tensor>,
        open_clip: Option<&OpenClipConfig>,
    ) -> Result<Self> {
        let bad = |reason: String| Error::BadConfig {
            path: path.into(),
            reason,
        };
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
            blocks.max().map_or(0, |last| last.saturating_add(1))
        };
        let (width, text_width) = (dim("visual.conv1.weight", 0)?, dim("ln_final.weight", 0)?);
        let patch_size = dim("visual.conv1.weight", 2)?;
        let grid = ((dim("visual.positional_embedding", 0)? - 1) as f64)
            .sqrt()
            .round() as i64;
        let vocab_size = dim("token_embedding.weight", 0)?;
        let by_width = |tensor: &str, width: i64, head_width: i64| {
            if head_width < 1 || width % head_width != 0 {
                return Err(bad(format!(
                    "{tensor} has width {width}, no multiple of the head width {head_width}\n\
                     hint: put the model's config.json or open_clip_config.json beside the file"
                )));
            }
            Ok(width / head_width)
        };
        let head_width = open_clip.map_or(64, OpenClipConfig::head_width);
        let heads = by_width("visual.conv1.weight", width, head_width)?;
        let text_heads = match open_clip {
            Some(config) => config.text_heads(),
            None => by_width("ln_final.weight", text_width, 64)?,
        };
        if text_heads < 1 || text_width % text_heads != 0 {
            return Err(bad(format!(
                "ln_final.weight has width {text_width}, no multiple of {text_heads} heads\n\
                 hint: open_clip_config.json must be this model's"
            )));
        }
        let activation = open_clip.map_or(Activation::QuickGelu, OpenClipConfig::activation);
        let config = Self {
            vision: VisionConfig {
                resolution: grid.saturating_mul(patch_size),
                patch_size,
                width,
                layers: layers("visual.transformer.resblocks."),
                heads,
                mlp_width: dim("visual.transformer.resblocks.0.mlp.c_fc.weight", 0)?,
                layer_norm_eps: 1e-5,
                activation,
            },
            text: TextConfig {
                context_length: dim("positional_embedding", 0)?,
                vocab_size,
                width: text_width,
                layers: layers("transformer.resblocks."),
                heads: text_heads,
                mlp_width: dim("transformer.resblocks.0.mlp.c_fc.weight", 0)?,
                layer_norm_eps: 1e-5,
                activation,
                end_of_text: vocab_size - 1,
            },
            embed_dim: dim("text_projection", 1)?,
        };
        config.check().map_err(bad)?;
        Ok(config)
    }

    /// What every configuration keeps to, or which field does not.
    fn check(&self) -> std::result::Result<(), String> {
        self.vision.check()?;
        let t = &self.text;
        check_sizes(&[
            ("the context length", t.context_length),
            ("the vocabulary size", t.vocab_size),
            ("the text tower's width", t.width),
            ("the text tower's number of heads", t.heads),
            ("the text tower's MLP width", t.mlp_width),
            ("the joint space's width", self.embed_dim),
        ])?;
        check_tower("text", t.layers, t.layer_norm_eps)?;
        if !(0..t.vocab_size).contains(&t.end_of_text) {
            return Err(format!(
                "the end-of-text token is {}, but the vocabulary has {} tokens",
                t.end_of_text, t.vocab_size
            ));
        }
        Ok(())
    }
}

impl VisionConfig {
    /// What every image tower keeps to, or which field does not.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        check_sizes(&[
            ("the image size", self.resolution),
            ("the patch size", self.patch_size),
            ("the image tower's width", self.width),
            ("the image tower's number of heads", self.heads),
            ("the image tower's MLP width", self.mlp_width),
        ])?;
        check_tower("image", self.layers, self.layer_norm_eps)
    }
}

fn check_sizes(sizes: &[(&str, i64)]) -> std::result::Result<(), String> {
    let outside = sizes
        .iter()
        .find(|(_, size)| !(1..=MOST_SIZE).contains(size));
    match outside {
        Some((what, size)) => Err(format!("{what} is {size}, expected 1 to {MOST_SIZE}")),
        None => Ok(()),
    }
}

fn check_tower(tower: &str, layers: usize, eps: f64) -> std::result::Result<(), String> {
    if !(1..=MOST_LAYERS).contains(&layers) {
        return Err(format!(
            "the {tower} tower has {layers} layers, expected 1 to {MOST_LAYERS}"
        ));
    }
    if !eps.is_finite() || eps <= 0.0 {
        return Err(format!(
            "the {tower} tower's layer_norm_eps is {eps}, expected a number above 0"
        ));
    }
    Ok(())
}

const MOST_SIZE: i64 = 1 << 20;
const MOST_LAYERS: usize = 1000;

/// What `open_clip_config.json` says beyond the shapes; defaults are open_clip's.
#[derive(Debug, Deserialize)]
pub(crate) struct OpenClipConfig {
    model_cfg: OpenClipModel,
}

#[derive(Debug, Deserialize)]
struct OpenClipModel {
    #[serde(default)]
    quick_gelu: bool,
    #[serde(default)]
    vision_cfg: OpenClipVision,
    #[serde(default)]
    text_cfg: OpenClipText,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct OpenClipVision {
    head_width: i64,
    pool_type: String,
}

impl Default for OpenClipVision {
    fn default() -> Self {
        Self {
            head_width: 64,
            pool_type: "tok".into(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct OpenClipText {
    heads: i64,
    pool_type: String,
    no_causal_mask: bool,
}

impl Default for OpenClipText {
    fn default() -> Self {
        Self {
            heads: 8,
            pool_type: "argmax".into(),
            no_causal_mask: false,
        }
    }
}

impl OpenClipConfig {
    /// The `open_clip_config.json` in the folder of `file`, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or asks for a tower that CLIP's own is not.
    pub(crate) fn beside(file: &Path) -> Result<Option<Self>> {
        let path = file.with_file_name("open_clip_config.json");
        if !path.is_file() {
            return Ok(None);
        }
        let bad = |reason: String| Error::BadConfig {
            path: path.clone(),
            reason,
        };
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        let config: Self = serde_json::from_str(&text)
            .map_err(|e| bad(format!("not an open_clip configuration: {e}")))?;
        let (vision, text) = (&config.model_cfg.vision_cfg, &config.model_cfg.text_cfg);
        if vision.pool_type != "tok" || text.pool_type != "argmax" || text.no_causal_mask {
            return Err(bad(
                "not a tower like CLIP's: other pooling, or no causal mask\n\
                 hint: only models with the class token and the end-of-text token as features can be read"
                    .into(),
            ));
        }
        Ok(Some(config))
    }

    fn head_width(&self) -> i64 {
        self.model_cfg.vision_cfg.head_width
    }

    fn text_heads(&self) -> i64 {
        self.model_cfg.text_cfg.heads
    }

    fn activation(&self) -> Activation {
        if self.model_cfg.quick_gelu {
            Activation::QuickGelu
        } else {
            Activation::Gelu
        }
    }
}
