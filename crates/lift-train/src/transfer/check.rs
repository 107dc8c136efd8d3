//! Random batches through the way to a device, compared with what libtorch makes of them on the CPU.
//!
//! It needs no file. What is compared was made in other ways: by [`Normalisation::apply`], a flip and a permutation.

use lift_models::Normalisation;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::{Input, Layout, Target, Transfer};
use crate::error::Result;
use lift_loader::{Batch, Batches};

/// One kind and size of batches, and what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// `fp32`, `bf16` or `fp16`.
    pub kind: String,
    /// Side of the crops in pixels.
    pub side: u32,
    /// Side of a patch in pixels.
    pub patch: u32,
    /// Batches that were compared.
    pub batches: usize,
    /// Batches that were dropped before anything was done with them.
    pub dropped: usize,
    /// Batches with a wrong bit in patches or labels.
    pub wrong: usize,
}

/// (side, patch, most images): the towers' sizes, a grid of one patch, and an odd one.
const SIZES: [(u32, u32, usize); 5] = [
    (224, 16, 8),
    (224, 14, 5),
    (48, 8, 40),
    (16, 16, 9),
    (21, 7, 64),
];
/// Batches of each kind and size, in rounds that end early or at their end.
const ROUNDS: [(usize, usize); 3] = [(12, 12), (12, 5), (6, 6)];

/// Checks `device` with each kind and size, and reports each one's result to `seen` when it is there.
///
/// # Errors
/// When the device cannot be opened, or a call fails.
pub fn check(device: Device, mut seen: impl FnMut(&Checked) -> Result<()>) -> Result<Vec<Checked>> {
    let mut all = Vec::new();
    for (kind, name) in [
        (Kind::Float, "fp32"),
        (Kind::BFloat16, "bf16"),
        (Kind::Half, "fp16"),
    ] {
        for (nth, (side, patch, most)) in SIZES.into_iter().enumerate() {
            let target = Target {
                // The two that towers have, in turn.
                normalisation: [Normalisation::CLIP, Normalisation::HALF][nth % 2],
                device,
                kind,
                patch_size: patch,
            };
            let checked = check_size(target, side, most, name)?;
            seen(&checked)?;
            all.push(checked);
        }
    }
    Ok(all)
}

fn check_size(target: Target, side: u32, most: usize, name: &str) -> Result<Checked> {
    let transfer = Transfer::open(target)?;
    let mut checked = Checked {
        kind: name.to_owned(),
        side,
        patch: target.patch_size,
        batches: 0,
        dropped: 0,
        wrong: 0,
    };
    for (round, (made, taken)) in ROUNDS.into_iter().enumerate() {
        let from = transfer.clone();
        let batch = move |number| Ok(random_batch(&from, side, most, (round, number))?);
        let mut feed = transfer.feed_of(Batches::made_by(made, batch.clone()))?;
        let mut dice = ChaCha8Rng::seed_from_u64(round as u64);
        // Some are kept while later ones come, some dropped at once, before the device has made them.
        let mut kept: Vec<(usize, Input)> = Vec::new();
        for number in 0..taken {
            let Some(input) = feed.next() else { break };
            let input = input?;
            match dice.random_range(0..4) {
                0 => checked.dropped += 1,
                _ => kept.push((number, input)),
            }
            if dice.random_range(0..3) == 0 {
                for (number, input) in kept.drain(..) {
                    checked.count(&batch(number)?, &input, &target);
                }
            }
        }
        if taken == made && feed.next().is_some() {
            checked.wrong += 1;
        }
        drop(feed);
        for (number, input) in kept {
            checked.count(&batch(number)?, &input, &target);
        }
    }
    Ok(checked)
}

impl Checked {
    fn count(&mut self, batch: &Batch, input: &Input, target: &Target) {
        self.batches += 1;
        let patches = bits(&input.pixels) == bits(&reference(batch, target));
        let labels = bits(&input.labels) == bits(&Tensor::from_slice(&batch.labels));
        let is_right = patches && labels && input.host_labels == batch.labels;
        self.wrong += usize::from(!is_right);
    }
}

/// Patches made by libtorch on the CPU.
fn reference(batch: &Batch, target: &Target) -> Tensor {
    let (side, patch) = (i64::from(batch.resolution), i64::from(target.patch_size));
    let columns = side / patch;
    super::images(batch, &target.normalisation, Device::Cpu)
        .to_kind(target.kind)
        .view([-1, 3, columns, patch, columns, patch])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([-1, columns * columns, 3 * patch * patch])
}

/// Size, kind and bytes of a tensor.
fn bits(tensor: &Tensor) -> (Vec<i64>, Kind, Vec<u8>) {
    let tensor = tensor.to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0; tensor.numel() * tensor.kind().elt_size_in_bytes()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    (tensor.size(), tensor.kind(), bytes)
}

/// One or two crops an image, up to `most` images; the same for the same place.
fn random_batch(
    transfer: &Transfer,
    side: u32,
    most: usize,
    (round, number): (usize, usize),
) -> Result<Batch> {
    let mut dice = ChaCha8Rng::seed_from_u64((round << 32 | number) as u64);
    let images = dice.random_range(1..=most);
    let layout = Layout {
        images,
        crops: images * dice.random_range(1..=2),
        side,
    };
    let mut pixels = transfer.pixels(layout)?;
    dice.fill(&mut pixels[..]);
    let mut mirrored = vec![0; layout.crops];
    mirrored.fill_with(|| dice.random_range(0..2));
    Ok(Batch {
        pixels,
        mirrored,
        labels: (0..images).map(|_| dice.random()).collect(),
        resolution: side,
    })
}
