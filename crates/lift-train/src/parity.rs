//! Replays a reference run of another implementation and says how far this one ends up from it.
//!
//! A reference run is a safetensors file with what was tuned before (`init.*`) and after (`final.*`) some steps of SGD,
//! the losses and logits on the way, and its settings as metadata; its batches lie in a second file. Module, blocks
//! and sizes are read off the tensors. What trains is the [`Step`](crate::step::Step) of training itself, with its optimiser and
//! the scale of losses in fp16. Nothing is drawn here: the same files give the same deviations.
//!
//! What a run learned is compared as updates, `final - init`: against the tensors themselves they are small, so that a module
//! which does not learn at all would pass. References are fp32. In 16 bits the run is replayed in fp32 first, which must agree
//! with the reference, and then compared with that.

mod compare;
mod outcome;
mod reference;

use std::path::Path;

use lift_models::{Precision, device_name};
use serde::Serialize;
use tch::Device;

pub use compare::{Deviation, Tolerances, deviations};
pub use outcome::{Outcome, Replayed};

use crate::{classifier::ClassifierKind, error::Result, loss::LossKind};

/// A replayed run.
#[derive(Clone, Debug, Serialize)]
pub struct Parity {
    /// The reference run's file.
    pub run: String,
    /// The modules that its tensors belong to, as `--tuner` names them.
    pub tuners: Vec<String>,
    /// From its metadata.
    pub classifier: ClassifierKind,
    /// From its metadata.
    pub loss: LossKind,
    /// Where it was replayed.
    pub device: String,
    /// In which kind.
    pub precision: Precision,
    /// Parameters that were tuned.
    pub tuned_parameters: u64,
    /// Steps that were replayed.
    pub steps: usize,
    /// Parts that the images of a step were passed in.
    pub parts: usize,
    /// Of fp32 from the reference: one a kind of number.
    pub deviations: Vec<Deviation>,
    /// Of the 16 bits from fp32 on the same device; none in fp32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from_fp32: Vec<Deviation>,
}

impl Parity {
    /// Whether every deviation is allowed.
    pub fn is_within(&self) -> bool {
        self.above().next().is_none()
    }

    /// What is not allowed.
    pub fn above(&self) -> impl Iterator<Item = &Deviation> {
        let all = self.deviations.iter().chain(&self.from_fp32);
        all.filter(|deviation| !deviation.is_within())
    }
}

/// Trains on `device` from the tensors that the reference run started from, the images of a step passed in so many `parts`,
/// and compares.
///
/// # Errors
/// When a file cannot be read, lacks a tensor or a setting, or the three do not go together.
pub fn replay(
    model: &Path,
    inputs: &Path,
    run: &Path,
    (device, precision): (Device, Precision),
    parts: usize,
) -> Result<Parity> {
    let files = outcome::Files::read(model, inputs, run)?;
    let exact = files.replay(device, Precision::Fp32, parts)?;
    let reference = files.reference(&exact)?;
    let of_fp32 = deviations(&exact.outcome, &reference, Tolerances::of_fp32());
    let from_fp32 = match Tolerances::of_16_bits(precision) {
        None => Vec::new(),
        Some(tolerances) => {
            let rounded = files.replay(device, precision, parts)?;
            deviations(&rounded.outcome, &exact.outcome, tolerances)
        }
    };
    Ok(Parity {
        run: run.display().to_string(),
        tuners: exact.tuners,
        classifier: files.settings.classifier,
        loss: files.settings.loss,
        device: device_name(device),
        precision,
        tuned_parameters: exact.tuned_parameters,
        steps: exact.outcome.losses.len(),
        parts,
        deviations: of_fp32,
        from_fp32,
    })
}

#[cfg(test)]
mod tests;
