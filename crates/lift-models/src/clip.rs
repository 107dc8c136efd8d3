//! A whole CLIP from a folder or a file, or its image tower alone.

use std::{collections::BTreeMap, path::Path};

use tch::Tensor;

use crate::{
    checkpoint::{Layout, Weights, to_openai_names},
    config::{ClipConfig, OpenClipConfig},
    error::{Error, Result},
    read::read_model,
    text::TextTower,
    timm,
    vision::VisionTower,
};

/// Rows (n, d) divided by their length, as `torch.nn.functional.normalize`; a row of zeros stays one.
pub fn normalize(rows: &Tensor) -> Tensor {
    rows / rows.norm_scalaropt_dim(2, [-1i64], true).clamp_min(1e-12)
}

/// Both towers, frozen, in fp32 on the CPU.
#[derive(Debug)]
pub struct Clip {
    /// The image tower.
    pub visual: VisionTower,
    /// The text tower.
    pub text: TextTower,
    /// Logarithm of the factor on cosine similarities, a scalar.
    pub logit_scale: Tensor,
    /// The towers' sizes.
    pub config: ClipConfig,
}

impl Clip {
    /// Loads a model folder (`config.json`, `model.safetensors` or `pytorch_model.bin`), a single file with tensors
    /// (`.safetensors`, or a state dict of `torch.save`: `.bin`, `.pt`, `.pth`), the index of several
    /// (`.index.json`), or a name on the hub that was fetched before ([`crate::hub::fetch`]).
    ///
    /// Hugging Face and OpenAI / open_clip names are recognised by themselves. Where a `config.json` lies beside the
    /// tensors it gives the sizes; tensors in OpenAI's names that have an `open_clip_config.json` beside them, or
    /// nothing, tell the sizes by their shapes ([`ClipConfig::from_openai_shapes`]).
    ///
    /// # Errors
    /// When a file is missing or damaged, or a tensor is missing, left over or wrongly shaped.
    pub fn load(model: &Path) -> Result<Self> {
        let (file, layout, tensors) = read_model(model)?;
        Self::from_file(&file, layout, tensors)
    }

    /// The towers of `file`, whose tensors and layout are known already.
    pub(crate) fn from_file(
        file: &Path,
        layout: Layout,
        tensors: BTreeMap<String, Tensor>,
    ) -> Result<Self> {
        let config_path = file.with_file_name("config.json");
        let tensors = to_openai_names(file, layout, tensors)?;
        let open_clip = match layout {
            Layout::OpenAi => OpenClipConfig::beside(file)?,
            Layout::HuggingFace => None,
            Layout::Timm => {
                let reason = "an image tower without a text tower (timm's layout)\n\
                    hint: prompts need both towers of a CLIP";
                return Err(Error::BadConfig {
                    path: file.into(),
                    reason: reason.into(),
                });
            }
        };
        let config = match (layout, open_clip, config_path.is_file()) {
            // open_clip's folders may hold a config.json that is no CLIPModel's, so their own comes first.
            (Layout::OpenAi, Some(open_clip), _) => {
                ClipConfig::from_openai_shapes_and(file, &tensors, Some(&open_clip))?
            }
            (_, _, true) => ClipConfig::from_hf_json(&config_path)?,
            (Layout::OpenAi, None, false) => {
                ClipConfig::from_openai_shapes_and(file, &tensors, None)?
            }
            (_, _, false) => {
                let hint = "a checkpoint in Hugging Face's layout needs the config.json it was published with".into();
                return Err(Error::MissingFile {
                    path: config_path,
                    hint,
                });
            }
        };
        Self::from_weights(Weights::new(file, layout, tensors), config)
    }

    /// Builds the towers from tensors in OpenAI's names; `origin` stands in messages.
    ///
    /// # Errors
    /// When a tensor is missing, left over or wrongly shaped.
    pub fn from_tensors(
        origin: &Path,
        tensors: impl IntoIterator<Item = (String, Tensor)>,
        config: ClipConfig,
    ) -> Result<Self> {
        let tensors = tensors.into_iter().collect();
        Self::from_weights(Weights::new(origin, Layout::OpenAi, tensors), config)
    }

    fn from_weights(mut weights: Weights, config: ClipConfig) -> Result<Self> {
        let visual = VisionTower::load(&mut weights, &config.vision, Some(config.embed_dim));
        let text = TextTower::load(&mut weights, &config.text, config.embed_dim);
        let logit_scale = weights.take("logit_scale", &[]);
        weights.finish()?;
        Ok(Self {
            visual,
            text,
            logit_scale,
            config,
        })
    }

    /// The image tower's projection into the joint space (d, e).
    ///
    /// # Panics
    /// When `visual` was replaced by a tower that has none.
    pub fn image_projection(&self) -> &Tensor {
        let proj = self.visual.proj.as_ref();
        proj.expect("a CLIP's image tower is loaded with its projection")
    }

    /// Every tensor under its OpenAI name.
    pub fn named_tensors(&self) -> Vec<(String, &Tensor)> {
        let mut all = self.visual.named_tensors();
        all.extend(self.text.named_tensors());
        all.push(("logit_scale".into(), &self.logit_scale));
        all
    }
}

impl VisionTower {
    /// Loads the image tower of a CLIP or a ViT in timm's layout, from what [`Clip::load`] takes.
    ///
    /// # Errors
    /// When a file is missing or damaged, or a tensor is missing, left over or wrongly shaped.
    pub fn open(model: &Path) -> Result<Self> {
        let (file, layout, tensors) = read_model(model)?;
        if layout != Layout::Timm {
            return Ok(Clip::from_file(&file, layout, tensors)?.visual);
        }
        let config = timm::config(&file, &tensors)?;
        let mut weights = Weights::new(&file, layout, timm::to_openai_names(tensors));
        let tower = Self::load(&mut weights, &config, None);
        weights.finish()?;
        Ok(tower)
    }
}
