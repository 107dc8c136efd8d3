//! CLIP's text tower: token ids -> the feature at the end-of-text token -> joint space.

use tch::{Device, Kind, Tensor};

use crate::{
    block::{Block, BlockConfig, LayerNorm, Mask, Wanted},
    checkpoint::Weights,
    config::TextConfig,
    hooks::NoHooks,
};

/// The text tower.
#[derive(Debug)]
pub struct TextTower {
    /// Token embedding (vocabulary, d).
    pub token_embedding: Tensor,
    /// Positions (context, d).
    pub positional_embedding: Tensor,
    /// The blocks, with causal attention.
    pub resblocks: Vec<Block>,
    /// After the blocks.
    pub ln_final: LayerNorm,
    /// Projection into the joint space (d, e), fp32.
    pub text_projection: Tensor,
    config: TextConfig,
}

impl TextTower {
    pub(crate) fn load(weights: &mut Weights, config: &TextConfig, embed_dim: i64) -> Self {
        let d = config.width;
        let block = BlockConfig {
            width: d,
            heads: config.heads,
            mlp_width: config.mlp_width,
            layer_norm_eps: config.layer_norm_eps,
            activation: config.activation,
        };
        Self {
            token_embedding: weights.take("token_embedding.weight", &[config.vocab_size, d]),
            positional_embedding: weights.take("positional_embedding", &[config.context_length, d]),
            resblocks: (0..config.layers)
                .map(|i| Block::load(weights, &format!("transformer.resblocks.{i}"), &block))
                .collect(),
            ln_final: LayerNorm::load(weights, "ln_final", d, config.layer_norm_eps),
            text_projection: weights.take("text_projection", &[d, embed_dim]),
            config: config.clone(),
        }
    }

    /// The tower's sizes.
    pub fn config(&self) -> &TextConfig {
        &self.config
    }

    /// Token ids (b, n), n at most the context length -> features (b, d) at the first end-of-text token, fp32.
    ///
    /// What follows the end-of-text token does not matter: attention is causal.
    pub fn features(&self, ids: &Tensor) -> Tensor {
        let ids = ids.to_device(self.token_embedding.device());
        // The maximum of 0 / 1 falls to the first 1 only when later ones weigh less.
        let weight = Tensor::arange_start_step(ids.size()[1], 0, -1, (Kind::Int64, ids.device()));
        let ends = (ids.eq(self.config.end_of_text).to_kind(Kind::Int64) * weight).argmax(1, false);
        let tokens = Tensor::embedding(&self.token_embedding, &ids, -1, false, false);
        self.features_at(&tokens, &ends)
    }

    /// Token embeddings (b, n, d), n at most the context length, and the place of each text's end token (b) -> features
    /// (b, d) there, fp32.
    pub fn features_at(&self, tokens: &Tensor, ends: &Tensor) -> Tensor {
        let mut x = tokens + self.positions(0, tokens.size()[1]);
        for (layer, block) in self.resblocks.iter().enumerate() {
            x = block.forward(x, self.wanted(layer, ends), Mask::Causal, layer, &NoHooks);
        }
        self.at_end(&x)
    }

    /// As [`TextTower::features_at`] of texts that begin alike: the tokens before which none differs (p, d), and those behind
    /// them (b, n, d), among which the ends (b) are counted. What the former are for the latter is computed once.
    pub fn features_behind(&self, before: &Tensor, tokens: &Tensor, ends: &Tensor) -> Tensor {
        let (p, n) = (before.size()[0], tokens.size()[1]);
        let before = before.unsqueeze(0) + self.positions(0, p);
        let mut x = [before, tokens + self.positions(p, n)];
        for (layer, block) in self.resblocks.iter().enumerate() {
            x = block.forward_behind(x, self.wanted(layer, ends), layer);
        }
        self.at_end(&x[1])
    }

    fn positions(&self, begin: i64, length: i64) -> Tensor {
        self.positional_embedding.narrow(0, begin, length)
    }

    /// Behind the last block only the end tokens are looked at.
    fn wanted<'a>(&self, layer: usize, ends: &'a Tensor) -> Wanted<'a> {
        if layer + 1 == self.resblocks.len() {
            Wanted::At(ends)
        } else {
            Wanted::All
        }
    }

    /// End tokens (b, 1, d) behind the last block -> features (b, d), fp32.
    fn at_end(&self, x: &Tensor) -> Tensor {
        // Cast before the LayerNorm: its fp32 result would be rounded back to the kind that comes in.
        self.ln_final
            .forward(&x.squeeze_dim(1).to_kind(Kind::Float))
    }

    /// Features (b, d) -> embeddings in the joint space (b, e), not normalised.
    pub fn embed(&self, features: &Tensor) -> Tensor {
        features.matmul(&self.text_projection)
    }

    /// Moves the tower to `device`; matrices take `kind`, LayerNorms and the projection stay fp32.
    pub fn convert(&mut self, device: Device, kind: Kind) {
        self.token_embedding = self.token_embedding.to_device(device).to_kind(kind);
        self.positional_embedding = self.positional_embedding.to_device(device).to_kind(kind);
        self.resblocks
            .iter_mut()
            .for_each(|block| block.convert(device, kind));
        self.ln_final.move_to(device);
        self.text_projection = self.text_projection.to_device(device);
    }

    /// Every tensor of the tower under its OpenAI name.
    pub fn named_tensors(&self) -> Vec<(String, &Tensor)> {
        let mut all = vec![
            ("token_embedding.weight".to_owned(), &self.token_embedding),
            (
                "positional_embedding".to_owned(),
                &self.positional_embedding,
            ),
            ("ln_final.weight".to_owned(), &self.ln_final.weight),
            ("ln_final.bias".to_owned(), &self.ln_final.bias),
            ("text_projection".to_owned(), &self.text_projection),
        ];
        for (i, block) in self.resblocks.iter().enumerate() {
            block.named(&format!("transformer.resblocks.{i}"), &mut all);
        }
        all
    }
}
