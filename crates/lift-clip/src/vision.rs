//! CLIP's image tower (ViT): patches -> class token -> joint space.
//!
//! The classifier of LIFT sits on [`VisionTower::features`], the class token after the last LayerNorm and before
//! CLIP's image projection (arXiv 2309.10019, section 4).

use tch::{Device, Kind, Tensor};

use crate::{
    block::{Block, BlockConfig, Hooks, LayerNorm, Mask},
    checkpoint::Weights,
    config::VisionConfig,
};

/// The image tower.
#[derive(Debug)]
pub struct VisionTower {
    /// Patch convolution (d, 3, p, p), without bias.
    pub conv1: Tensor,
    /// Class token (d).
    pub class_embedding: Tensor,
    /// Positions (n, d), the class token's first.
    pub positional_embedding: Tensor,
    /// Before the blocks.
    pub ln_pre: LayerNorm,
    /// The blocks.
    pub resblocks: Vec<Block>,
    /// On the class token after the blocks.
    pub ln_post: LayerNorm,
    /// Projection into the joint space (d, e), fp32.
    pub proj: Tensor,
    config: VisionConfig,
}

impl VisionTower {
    pub(crate) fn load(weights: &mut Weights, config: &VisionConfig, embed_dim: i64) -> Self {
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
            class_embedding: weights.take("visual.class_embedding", &[d]),
            positional_embedding: weights
                .take("visual.positional_embedding", &[config.tokens(), d]),
            ln_pre: LayerNorm::load(weights, "visual.ln_pre", d, eps),
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
            proj: weights.take("visual.proj", &[d, embed_dim]),
            config: config.clone(),
        }
    }

    /// The tower's sizes.
    pub fn config(&self) -> &VisionConfig {
        &self.config
    }

    /// The kind that matrix products run in.
    pub fn kind(&self) -> Kind {
        self.conv1.kind()
    }

    /// The device the tower lies on.
    pub fn device(&self) -> Device {
        self.conv1.device()
    }

    /// Normalised images (b, 3, r, r) -> class-token features (b, d) after the last LayerNorm, fp32.
    pub fn features(&self, images: &Tensor, hooks: &impl Hooks) -> Tensor {
        let p = self.config.patch_size;
        let images = images.to_kind(self.kind());
        let patches = images
            .conv2d::<&Tensor>(&self.conv1, None, [p, p], [0, 0], [1, 1], 1)
            .flatten(2, 3)
            .transpose(1, 2);
        let (b, d) = (patches.size()[0], self.config.width);
        let class = self
            .class_embedding
            .view([1, 1, d])
            .expand([b, 1, d], false);
        let x = Tensor::cat(&[class, patches], 1) + &self.positional_embedding;
        let mut x = self.ln_pre.forward(&x);
        for (layer, block) in self.resblocks.iter().enumerate() {
            x = block.forward(x, Mask::Full, layer, hooks);
        }
        // Cast before the LayerNorm: its fp32 result would be rounded back to the kind that comes in.
        self.ln_post.forward(&x.select(1, 0).to_kind(Kind::Float))
    }

    /// Features (b, d) -> embeddings in the joint space (b, e), not normalised.
    pub fn embed(&self, features: &Tensor) -> Tensor {
        features.matmul(&self.proj)
    }

    /// Moves the tower to `device`; matrices take `kind`, LayerNorms and the projection stay fp32.
    pub fn convert(&mut self, device: Device, kind: Kind) {
        for tensor in [
            &mut self.conv1,
            &mut self.class_embedding,
            &mut self.positional_embedding,
        ] {
            *tensor = tensor.to_device(device).to_kind(kind);
        }
        self.ln_pre.move_to(device);
        self.resblocks
            .iter_mut()
            .for_each(|block| block.convert(device, kind));
        self.ln_post.move_to(device);
        self.proj = self.proj.to_device(device);
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
            ("visual.ln_pre.weight".to_owned(), &self.ln_pre.weight),
            ("visual.ln_pre.bias".to_owned(), &self.ln_pre.bias),
            ("visual.ln_post.weight".to_owned(), &self.ln_post.weight),
            ("visual.ln_post.bias".to_owned(), &self.ln_post.bias),
            ("visual.proj".to_owned(), &self.proj),
        ];
        for (i, block) in self.resblocks.iter().enumerate() {
            block.named(&format!("visual.transformer.resblocks.{i}"), &mut all);
        }
        all
    }
}
