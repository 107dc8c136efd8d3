//! The image tower (ViT): patches -> class token -> joint space.
//!
//! CLIP's has a LayerNorm before the blocks and a projection into the joint space; timm's has neither, and a bias in
//! its patch convolution.
//!
//! The classifier of LIFT sits on [`VisionTower::features`], the class token after the last LayerNorm and before
//! CLIP's image projection (arXiv 2309.10019, section 4).

use tch::{Device, Kind, Tensor};

use crate::{
    block::{Block, BlockConfig, LayerNorm, Mask, Wanted},
    checkpoint::Weights,
    config::VisionConfig,
    error::{Error, Result},
    hooks::Hooks,
    positions,
    preprocess::Normalisation,
};

/// The highest resolution that a tower is resampled to; attention is quadratic in the patches.
const MOST_RESOLUTION: i64 = 4096;

/// The image tower.
#[derive(Debug)]
pub struct VisionTower {
    /// Patch convolution (d, 3, p, p).
    pub conv1: Tensor,
    /// Its bias (d); timm only.
    pub conv1_bias: Option<Tensor>,
    /// Class token (d).
    pub class_embedding: Tensor,
    /// Positions (n, d), the class token's first.
    pub positional_embedding: Tensor,
    /// Before the blocks; CLIP only.
    pub ln_pre: Option<LayerNorm>,
    /// The blocks.
    pub resblocks: Vec<Block>,
    /// On the class token after the blocks.
    pub ln_post: LayerNorm,
    /// Projection into the joint space (d, e), fp32; CLIP only.
    pub proj: Option<Tensor>,
    /// What tokens are kept in between the blocks; none: in the kind of the matrices.
    residual: Option<Kind>,
    config: VisionConfig,
}

impl VisionTower {
    /// A CLIP's tower, with the width of its joint space, or without that a timm tower.
    pub(crate) fn load(
        weights: &mut Weights,
        config: &VisionConfig,
        embed_dim: Option<i64>,
    ) -> Self {
        let (d, p, eps) = (config.width, config.patch_size, config.layer_norm_eps);
        let block = BlockConfig {
            width: d,
            heads: config.heads,
            mlp_width: config.mlp_width,
            layer_norm_eps: eps,
            activation: config.activation,
        };
        Self {
            conv1: weights.take("visual.conv1.weight", &[d, 3, p, p]),
            conv1_bias: match embed_dim {
                Some(_) => None,
                None => Some(weights.take("visual.conv1.bias", &[d])),
            },
            class_embedding: weights.take("visual.class_embedding", &[d]),
            positional_embedding: weights
                .take("visual.positional_embedding", &[config.tokens(), d]),
            ln_pre: embed_dim.map(|_| LayerNorm::load(weights, "visual.ln_pre", d, eps)),
            resblocks: (0..config.layers)
                .map(|i| {
                    Block::load(
                        weights,
                        &format!("visual.transformer.resblocks.{i}"),
                        &block,
                    )
                })
                .collect(),
            ln_post: LayerNorm::load(weights, "visual.ln_post", d, eps),
            proj: embed_dim.map(|e| weights.take("visual.proj", &[d, e])),
            residual: None,
            config: config.clone(),
        }
    }

    /// Makes the tower one for images of another resolution: its positions are resampled. To be called before
    /// [`VisionTower::convert`].
    ///
    /// # Errors
    /// When `resolution` is no multiple of the patch size, or above 4096.
    pub fn set_resolution(&mut self, resolution: u32) -> Result<()> {
        let (resolution, patch) = (i64::from(resolution), self.config.patch_size);
        if resolution == self.config.resolution {
            return Ok(());
        }
        if resolution < patch || resolution % patch != 0 || resolution > MOST_RESOLUTION {
            let below = (resolution / patch).max(1) * patch;
            return Err(Error::Resolution {
                asked: resolution,
                patch,
                nearest: below.min(MOST_RESOLUTION / patch * patch),
            });
        }
        self.positional_embedding =
            positions::resample(&self.positional_embedding, resolution / patch);
        self.config.resolution = resolution;
        Ok(())
    }

    /// The tower's sizes.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// Means and deviations that towers of this layout are trained with, unless their files say otherwise.
    pub fn usual_normalisation(&self) -> Normalisation {
        match self.ln_pre {
            Some(_) => Normalisation::CLIP,
            None => Normalisation::HALF,
        }
    }

    /// The kind that matrix products run in.
    pub fn kind(&self) -> Kind {
        self.conv1.kind()
    }

    /// Keeps the residual stream, the tokens between the blocks' parts, in a kind of its own.
    pub fn keep_residual_in(&mut self, kind: Option<Kind>) {
        self.residual = kind;
    }

    /// The kind of the residual stream.
    pub fn residual_kind(&self) -> Kind {
        self.residual.unwrap_or(self.kind())
    }

    /// The device the tower lies on.
    pub fn device(&self) -> Device {
        self.conv1.device()
    }

    /// Normalised images (b, 3, r, r), or their patches, -> class-token features (b, d) after the last LayerNorm, fp32.
    pub fn features(&self, images: &Tensor, hooks: &impl Hooks) -> Tensor {
        let mut x = self.tokens(images);
        for layer in 0..self.resblocks.len() {
            x = self.block(layer, x, hooks);
        }
        self.class_token(&x)
    }

    /// Normalised images (b, 3, r, r), or their patches as [`VisionTower::patches`] cuts them, -> the tokens (b, n, d) that
    /// enter the first block.
    pub fn tokens(&self, images: &Tensor) -> Tensor {
        let patches = match images.dim() {
            3 => images.shallow_clone(),
            _ => self.patches(images),
        };
        // The patch convolution: patches do not overlap.
        let matrix = self.conv1.flatten(1, 3);
        let patches = patches.to_kind(self.kind());
        let patches = patches.linear(&matrix, self.conv1_bias.as_ref());
        let (b, d) = (patches.size()[0], self.config.width);
        let class = self
            .class_embedding
            .view([1, 1, d])
            .expand([b, 1, d], false);
        let x = Tensor::cat(&[class, patches], 1).to_kind(self.residual_kind());
        let x = x + &self.positional_embedding;
        match &self.ln_pre {
            Some(ln_pre) => ln_pre.forward(&x),
            None => x,
        }
    }

    /// Images (b, 3, r, r) -> patches (b, (r / p)^2, 3 p^2): from left to right and down, each by channel and row, as the
    /// rows of [`VisionTower::conv1`].
    pub fn patches(&self, images: &Tensor) -> Tensor {
        let (b, p) = (images.size()[0], self.config.patch_size);
        let side = images.size()[3] / p;
        images
            .reshape([b, 3, side, p, side, p])
            .permute([0, 2, 4, 1, 3, 5])
            .reshape([b, side * side, 3 * p * p])
    }

    /// One block: tokens (b, n, d) -> (b, n, d), with as many tokens as the hooks make of them; of the last block, behind
    /// which nothing else is looked at, the class token (b, 1, d).
    pub fn block(&self, layer: usize, x: Tensor, hooks: &impl Hooks) -> Tensor {
        let wanted = match layer + 1 == self.resblocks.len() {
            true => Wanted::First,
            false => Wanted::All,
        };
        self.resblocks[layer].forward(x, wanted, Mask::Full, layer, hooks)
    }

    /// Tokens (b, n, d) after the last block -> class-token features (b, d) after the last LayerNorm, fp32.
    pub fn class_token(&self, x: &Tensor) -> Tensor {
        // Cast before the LayerNorm: its fp32 result would be rounded back to the kind that comes in.
        self.ln_post.forward(&x.select(1, 0).to_kind(Kind::Float))
    }

    /// Features (b, d) -> embeddings in the joint space (b, e), not normalised; a tower without one gives the features.
    pub fn embed(&self, features: &Tensor) -> Tensor {
        match &self.proj {
            Some(proj) => features.matmul(proj),
            None => features.shallow_clone(),
        }
    }

    /// Moves the tower to `device`; matrices take `kind`, LayerNorms and the projection stay fp32.
    pub fn convert(&mut self, device: Device, kind: Kind) {
        let matrices = [
            &mut self.conv1,
            &mut self.class_embedding,
            &mut self.positional_embedding,
        ];
        for tensor in matrices.into_iter().chain(&mut self.conv1_bias) {
            *tensor = tensor.to_device(device).to_kind(kind);
        }
        if let Some(ln_pre) = &mut self.ln_pre {
            ln_pre.move_to(device);
        }
        self.resblocks
            .iter_mut()
            .for_each(|block| block.convert(device, kind));
        self.ln_post.move_to(device);
        self.proj = self.proj.take().map(|proj| proj.to_device(device));
    }

    /// Every tensor of the tower under its OpenAI name.
    pub fn named_tensors(&self) -> Vec<(String, &Tensor)> {
        let mut all = vec![
            ("visual.conv1.weight".to_owned(), &self.conv1),
            ("visual.class_embedding".to_owned(), &self.class_embedding),
            (
                "visual.positional_embedding".to_owned(),
                &self.positional_embedding,
            ),
            ("visual.ln_post.weight".to_owned(), &self.ln_post.weight),
            ("visual.ln_post.bias".to_owned(), &self.ln_post.bias),
        ];
        if let Some(ln_pre) = &self.ln_pre {
            all.push(("visual.ln_pre.weight".to_owned(), &ln_pre.weight));
            all.push(("visual.ln_pre.bias".to_owned(), &ln_pre.bias));
        }
        let bias = self.conv1_bias.iter();
        all.extend(bias.map(|bias| ("visual.conv1.bias".to_owned(), bias)));
        let proj = self.proj.iter();
        all.extend(proj.map(|proj| ("visual.proj".to_owned(), proj)));
        for (i, block) in self.resblocks.iter().enumerate() {
            block.named(&format!("visual.transformer.resblocks.{i}"), &mut all);
        }
        all
    }
}
