//! Tuning the blocks' own tensors: all (full fine-tuning), the biases (BitFit, Ben Zaken et al. 2022, arXiv
//! 2106.10199), or the LayerNorms.
//!
//! The tower stays as it is; copies in fp32 are tuned and used in the place of the frozen tensors. With `--layers
//! last:k` full fine-tuning is the papers' last-k-layers.

use lift_models::{Parameter, Place, VisionTower};
use tch::{Kind, Tensor};

use super::slots::Slots;
use crate::error::Result;

/// All of a block's tensors.
pub(super) fn full() -> Vec<Parameter> {
    let both = |place| [Parameter::Weight(place), Parameter::Bias(place)];
    Place::ALL.into_iter().flat_map(both).collect()
}

/// All biases of a block, those of its LayerNorms too.
pub(super) fn biases() -> Vec<Parameter> {
    Place::ALL.into_iter().map(Parameter::Bias).collect()
}

/// Weight and bias of a block's two LayerNorms.
pub(super) fn layer_norms() -> Vec<Parameter> {
    let norm = |which: &Parameter| {
        let (Parameter::Weight(place) | Parameter::Bias(place)) = which;
        matches!(place, Place::Norm1 | Place::Norm2)
    };
    full().into_iter().filter(norm).collect()
}

/// Copies of these tensors of the given blocks.
pub(super) fn fresh(which: &[Parameter], layers: &[usize], tower: &VisionTower) -> Slots {
    let mut slots = Slots::default();
    for &layer in layers {
        for &parameter in which {
            let tensor = tower.resblocks[layer].parameter(parameter);
            slots.insert(layer, name(parameter), tensor.to_kind(Kind::Float).copy());
        }
    }
    slots
}

/// Moves whatever is a block's own tensor out of `found`.
///
/// # Errors
/// When a shape is not the tower's.
pub(super) fn take(found: &mut Slots, tower: &VisionTower) -> Result<Slots> {
    let mut slots = Slots::default();
    let layers: Vec<usize> = found.layers().collect();
    for layer in layers {
        for parameter in full() {
            let name = name(parameter);
            if found.get(layer, name).is_some() {
                let shape = tower.resblocks[layer].parameter(parameter).size();
                let tensor = found.take_one(layer, name, &shape)?;
                slots.insert(layer, name, tensor.to_kind(Kind::Float));
            }
        }
    }
    Ok(slots)
}

/// The tuned copy, in the kind of `frozen`, or what came in where there is none.
pub(super) fn parameter(slots: &Slots, layer: usize, which: Parameter, frozen: Tensor) -> Tensor {
    match slots.get(layer, name(which)) {
        Some(tuned) => tuned.to_kind(frozen.kind()),
        None => frozen,
    }
}

/// The name in files.
pub(super) fn name(which: Parameter) -> &'static str {
    match which {
        Parameter::Weight(Place::Norm1) => "norm1_weight",
        Parameter::Bias(Place::Norm1) => "norm1_bias",
        Parameter::Weight(Place::Qkv) => "attn_in_proj_weight",
        Parameter::Bias(Place::Qkv) => "attn_in_proj_bias",
        Parameter::Weight(Place::AttentionOut) => "attn_out_proj_weight",
        Parameter::Bias(Place::AttentionOut) => "attn_out_proj_bias",
        Parameter::Weight(Place::Norm2) => "norm2_weight",
        Parameter::Bias(Place::Norm2) => "norm2_bias",
        Parameter::Weight(Place::MlpIn) => "mlp_in_proj_weight",
        Parameter::Bias(Place::MlpIn) => "mlp_in_proj_bias",
        Parameter::Weight(Place::MlpOut) => "mlp_out_proj_weight",
        Parameter::Bias(Place::MlpOut) => "mlp_out_proj_bias",
    }
}
