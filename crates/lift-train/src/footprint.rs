//! How much memory a step takes, by an estimate: weights, what is tuned, and what the backward pass keeps of an image.
//!
//! It counts tensors and no allocator's waste. Invariant: more images never take less.

use lift_clip::Place;
use tch::Kind;

use crate::{config::TrainConfig, model::TunedModel, optim::OptimiserKind};

/// Bytes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// However many images there are.
    pub fixed: u64,
    /// Of each image that is passed at once.
    pub an_image: u64,
}

/// What backward keeps of a token in a folded block, in multiples of the width: what the two LayerNorms saw (2), query, key
/// and value (3), their mix (1), the standardised token for the module (1), what the activation saw (4). Frozen linears keep
/// nothing: only the gradient of their input is wanted.
const KEPT: u64 = 11;
/// The same where modules look into the linears: their inputs (1 + 1 + 4), and what LayerNorms give beside what they saw (2).
const KEPT_UNFOLDED: u64 = 19;
/// What one block has for a moment while it computes.
const PASSING: u64 = 10;

impl Footprint {
    /// Of steps of `model` with these settings.
    pub fn new(config: &TrainConfig, model: &TunedModel) -> Self {
        let (tower, counts) = (model.visual.config(), model.parameter_counts());
        let of_kind = if model.visual.kind() == Kind::Float {
            4
        } else {
            2
        };
        // Tuned tensors, their gradients and what the optimiser keeps of them are fp32.
        let of_tuned = match config.optimizer {
            OptimiserKind::Sgd => 12,
            OptimiserKind::Adamw => 16,
        };
        let layers = tower.layers;
        let first = model.tuner.first_block().unwrap_or(layers);
        let kept_of = |layer: usize| {
            let changes = |place| lift_clip::Hooks::changes(&model.tuner, layer, place);
            match Place::ALL.into_iter().any(changes) {
                true => KEPT_UNFOLDED,
                false => KEPT,
            }
        };
        let kept = (first..layers).map(kept_of);
        let kept: u64 = match config.activation_checkpointing {
            // What enters each block, and all of the one that is computed again.
            true => kept.clone().count() as u64 + kept.max().unwrap_or(0),
            false => kept.sum(),
        };
        let widths = kept + PASSING;
        let tokens = tower.tokens() as u64 * tower.width as u64 * of_kind;
        let pixels = 3 * (tower.resolution as u64).pow(2) * (of_kind + 1);
        // Logits, their softmax and its gradient.
        let logits = 3 * 4 * counts.classifier / tower.width as u64;
        Self {
            fixed: counts.frozen * of_kind + counts.tuned() * of_tuned,
            an_image: tokens * widths + pixels + logits,
        }
    }

    /// With so many images at once.
    pub fn bytes(self, images: usize) -> u64 {
        self.fixed + self.an_image * images as u64
    }

    /// The most images at once that fit into so many bytes.
    pub fn most_images(self, bytes: u64) -> usize {
        (bytes.saturating_sub(self.fixed) / self.an_image) as usize
    }
}

/// In how many parts a step of `images` must be passed so that none has more than `most`, which is above 0.
pub fn parts(images: usize, most: usize) -> usize {
    images.div_ceil(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_fit_up_to_the_limit() {
        let footprint = Footprint {
            fixed: 1000,
            an_image: 30,
        };
        assert_eq!(footprint.bytes(128), 4840);
        assert_eq!(footprint.most_images(4840), 128);
        assert_eq!(footprint.most_images(4839), 127);
        assert_eq!(footprint.most_images(1029), 0);
        assert_eq!(footprint.most_images(0), 0);
        for most in 1..=130 {
            let parts = parts(128, most);
            assert!(128usize.div_ceil(parts) <= most, "{most}");
            assert!(parts == 1 || 128usize.div_ceil(parts - 1) > most, "{most}");
        }
    }
}
