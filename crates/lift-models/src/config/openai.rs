//! Sizes from tensors in OpenAI's names, and what `open_clip_config.json` says beyond them.

use std::{collections::BTreeMap, path::Path};

use lift_files::Purpose;
use serde::Deserialize;
use tch::Tensor;

use super::{Activation, ClipConfig, TextConfig, VisionConfig};
use crate::error::{Error, Result};

impl ClipConfig {
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
}

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
        let text = lift_files::text(&path, Purpose::Settings).map_err(Error::io(&path))?;
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
