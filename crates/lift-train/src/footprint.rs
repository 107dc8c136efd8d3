//! How much memory steps and forward passes over images take, by an estimate: weights, what is tuned, what the backward
//! pass keeps of an image, and the batches that the loader prepares ahead.
//!
//! It counts tensors and no allocator's waste. Invariant: more images never take less.

use lift_files::memory::total_bytes;
use lift_models::{
    Error, Footprint, Hooks, PASSING, Place, VisionTower,
    memory::{MemorySize, there},
    out_of_memory::Refused,
};
use tch::{Device, Kind};

use crate::{joint::TextPart, model::TunedModel, optim::OptimiserKind};

/// What backward keeps of a token in a folded block, in multiples of the width: what the two LayerNorms saw (2), query, key
/// and value (3), their mix (1), the standardised token for the module (1), what the activation saw (4). Frozen linears keep
/// nothing: only the gradient of their input is wanted.
const KEPT: u64 = 11;
/// The same where modules look into the linears: their inputs (1 + 1 + 4), and what LayerNorms give beside what they saw (2).
const KEPT_UNFOLDED: u64 = 19;
/// What one block has for a moment while it computes, beside what it keeps.
const BESIDE_KEPT: u64 = 10;

/// Batches that are prepared ahead where memory is limited and nothing else was said.
pub const AHEAD: usize = 2;

/// What decides the memory of a step besides the model and its images.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// Which optimiser keeps its state.
    pub optimizer: OptimiserKind,
    /// Whether activations are computed again in backward.
    pub activation_checkpointing: bool,
    /// Batches that are prepared ahead; `None`: [`AHEAD`].
    pub prefetch: Option<usize>,
}

/// Of steps of `model` with these settings on so many images. The pixels of a whole step are there, in however many parts
/// it is passed.
pub fn of_steps(steps: Steps, model: &TunedModel, images: usize) -> Footprint {
    let (tower, counts) = (model.visual.config(), model.parameter_counts());
    let of_kind = bytes_of(model.visual.kind());
    // Tuned tensors, their gradients and what the optimiser keeps of them are fp32.
    let of_tuned = match steps.optimizer {
        OptimiserKind::Sgd => 12,
        OptimiserKind::Adamw => 16,
    };
    let layers = tower.layers;
    let first = model.tuner.first_block().unwrap_or(layers);
    let kept_of = |layer: usize| {
        let changes = |place| Hooks::changes(&model.tuner, layer, place);
        if Place::ALL.into_iter().any(changes) {
            KEPT_UNFOLDED
        } else {
            KEPT
        }
    };
    let kept = (first..layers).map(kept_of);
    let kept: u64 = match steps.activation_checkpointing {
        // What enters each block, and all of the one that is computed again.
        true => kept.clone().count() as u64 + kept.max().unwrap_or(0),
        false => kept.sum(),
    };
    // What enters each half of a block is wider where the residual stream is.
    let wider = bytes_of(model.visual.residual_kind()) - of_kind;
    let wider = 2 * (layers - first) as u64 * tower.tokens() as u64 * tower.width as u64 * wider;
    let tokens = tower.tokens() as u64 * tower.width as u64 * of_kind;
    // Logits, their softmax and its gradient.
    let logits = 3 * 4 * counts.classifier / tower.width as u64;
    let ahead = steps.prefetch.unwrap_or(AHEAD);
    let pixels = pixels(&model.visual, ahead) * images as u64;
    let texts = model.joint.text_part().map_or(0, TextPart::bytes);
    Footprint {
        fixed: counts.frozen * of_kind + counts.tuned() * of_tuned + pixels + texts,
        each: tokens * (kept + BESIDE_KEPT) + wider + logits,
    }
}

/// Of forward passes without gradients: of each crop, which goes through a tower that has so many parameters of fp32
/// beside it, to rows of so many values.
pub fn of_passes(tower: &VisionTower, others: u64, values: u64) -> Footprint {
    let of_kind = bytes_of(tower.kind());
    let tensors = tower.named_tensors();
    let frozen: u64 = tensors.iter().map(|(_, t)| t.numel() as u64).sum();
    let config = tower.config();
    let tokens = config.tokens() as u64 * config.width as u64 * of_kind;
    Footprint {
        fixed: frozen * of_kind + others * 4,
        each: tokens * PASSING + pixels(tower, AHEAD) + 3 * 4 * values,
    }
}

/// Bytes that the pixels of a crop take on the way to the tower, which lies where the limit holds: on the CPU as bytes in
/// the batches that are prepared and the one in use, and as numbers where they are made and where they are used; on a
/// device as bytes in three places, and as numbers.
fn pixels(tower: &VisionTower, ahead: usize) -> u64 {
    let values = 3 * (tower.config().resolution as u64).pow(2);
    let of_kind = bytes_of(tower.kind());
    match tower.device() {
        Device::Cpu => values * (ahead as u64 + 1 + 2 * of_kind),
        _ => values * (3 + of_kind),
    }
}

fn bytes_of(kind: Kind) -> u64 {
    kind.elt_size_in_bytes() as u64
}

/// In how many parts a step of `images` must be passed so that none has more than `most`, which is above 0.
pub fn parts(images: usize, most: usize) -> usize {
    images.div_ceil(most)
}

/// The error of a step of `images`, of which `part` were passed at once.
pub(crate) fn step_error(
    refused: Refused,
    device: Device,
    footprint: Footprint,
    [images, part]: [usize; 2],
    limit: Option<MemorySize>,
) -> Error {
    // A tenth is for the allocator; what has failed already is no advice.
    let there = there(device, limit, total_bytes());
    let fitting = there.map_or(0, |size| footprint.most(size.bytes / 10 * 9));
    let fitting = fitting.min(part / 2);
    let hint = match fitting {
        0 => "--activation-checkpointing or a smaller --model takes less".to_owned(),
        fitting => {
            let parts = parts(images, fitting);
            format!(
                "--accumulate {parts} (at most {} at once, the same result) or --batch-size {fitting} should fit; \
                 --activation-checkpointing takes less too",
                images.div_ceil(parts)
            )
        }
    };
    let work = format!("a step with {part} images at once");
    refused.error(device, there, &work, &hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lift_models::out_of_memory::caught;
    use tch::{Tensor, kind::FLOAT_CPU};

    #[test]
    fn steps_are_cut_into_as_few_parts_as_fit() {
        for most in 1..=130 {
            let parts = parts(128, most);
            assert!(128usize.div_ceil(parts) <= most, "{most}");
            assert!(parts == 1 || 128usize.div_ceil(parts - 1) > most, "{most}");
        }
    }

    #[test]
    fn the_error_says_what_fits() {
        let footprint = Footprint {
            fixed: 1 << 30,
            each: 100 << 20,
        };
        let limit = "10GiB".parse().unwrap();
        let refused = caught(|| Tensor::zeros([1 << 48], FLOAT_CPU)).unwrap_err();
        // 9 GiB without the 1 that is fixed hold 81 images: two parts of 64.
        let device = Device::Cuda(1);
        let error = step_error(refused.clone(), device, footprint, [128, 128], Some(limit));
        assert_eq!(
            error.to_string(),
            "cuda:1: out of memory: 1048576.00 GiB more was asked for, of 10.00 GiB in all, in a step with 128 images at once\n\
             hint: --accumulate 2 (at most 64 at once, the same result) or --batch-size 64 should fit; \
             --activation-checkpointing takes less too"
        );
        let error = step_error(refused, Device::Cpu, footprint, [128, 1], Some(limit));
        assert!(
            error
                .to_string()
                .ends_with("hint: --activation-checkpointing or a smaller --model takes less")
        );
    }
}
