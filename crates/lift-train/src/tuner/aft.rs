//! Arbitrary fine-tuning (LIFT, section 4.1): a random fraction of every weight and bias of the linears.
//!
//! A mask (bool, the tensor's shape) says which entries are tuned; they are kept as a vector in row-major order and
//! scattered into the frozen tensor. By default the fraction makes the module as large as the classifier.

use lift_models::{Parameter, Place, VisionTower};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::{init::Init, slots::Slots};
use crate::error::{Error, Result};

/// The linears of which entries are tuned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum AftPlace {
    /// Query, key, value and the linear after attention.
    Attention,
    /// Both linears of the MLP.
    Mlp,
    /// All four.
    #[default]
    All,
}

impl AftPlace {
    /// The tensors, each with the names of its mask and its entries.
    fn parameters(self) -> impl Iterator<Item = (Parameter, [String; 2])> {
        let places: &[Place] = match self {
            Self::Attention => &[Place::Qkv, Place::AttentionOut],
            Self::Mlp => &[Place::MlpIn, Place::MlpOut],
            Self::All => &[Place::Qkv, Place::AttentionOut, Place::MlpIn, Place::MlpOut],
        };
        let both = |&place| [Parameter::Weight(place), Parameter::Bias(place)];
        let all = places.iter().flat_map(both);
        all.filter_map(|which| Some((which, names(which)?)))
    }
}

/// The fraction that makes the module as large as a classifier of this many rows.
fn automatic_ratio(
    place: AftPlace,
    layers: &[usize],
    tower: &VisionTower,
    num_classes: usize,
) -> f64 {
    let of_block = |&layer: &usize| -> usize {
        let tensors = place.parameters();
        tensors
            .map(|(which, _)| tower.resblocks[layer].parameter(which).numel())
            .sum()
    };
    let total: usize = layers.iter().map(of_block).sum();
    let classifier = num_classes as f64 * tower.config().width as f64;
    (classifier / total.max(1) as f64).min(1.0)
}

/// Masks drawn from `init`, and the frozen entries under them; `ratio` or the automatic fraction of each tensor.
pub(super) fn fresh(
    place: AftPlace,
    ratio: Option<f64>,
    layers: &[usize],
    tower: &VisionTower,
    num_classes: usize,
    init: &mut Init,
) -> Slots {
    let ratio = ratio.unwrap_or_else(|| automatic_ratio(place, layers, tower, num_classes));
    let mut slots = Slots::default();
    for &layer in layers {
        for (which, [mask_name, values_name]) in place.parameters() {
            let frozen = tower.resblocks[layer].parameter(which);
            let entries = frozen.numel();
            let chosen = init.choose((entries as f64 * ratio) as usize, entries);
            let mask = Tensor::from_slice(&chosen).view(frozen.size().as_slice());
            let values = frozen.to_kind(Kind::Float).masked_select(&mask);
            slots.insert(layer, &mask_name, mask);
            slots.insert(layer, &values_name, values);
        }
    }
    slots
}

/// Moves masks and entries out of `found`.
///
/// # Errors
/// When a mask lacks its entries or the reverse, is not of kind bool, or does not fit the tower.
pub(super) fn take(found: &mut Slots, tower: &VisionTower) -> Result<Slots> {
    let mut slots = Slots::default();
    let layers: Vec<usize> = found.layers().collect();
    for layer in layers {
        for (which, [mask_name, values_name]) in AftPlace::All.parameters() {
            if found.get(layer, &mask_name).is_none() && found.get(layer, &values_name).is_none() {
                continue;
            }
            let shape = tower.resblocks[layer].parameter(which).size();
            let mask = found.take_one(layer, &mask_name, &shape)?;
            if mask.kind() != Kind::Bool {
                return Err(Error::Tensors(format!(
                    "block {layer}: {mask_name} is no mask, its kind is not bool"
                )));
            }
            let entries = mask.sum(Kind::Int64).int64_value(&[]);
            let values = found.take_one(layer, &values_name, &[entries])?;
            slots.insert(layer, &mask_name, mask);
            slots.insert(layer, &values_name, values.to_kind(Kind::Float));
        }
    }
    Ok(slots)
}

/// `frozen` with the tuned entries in it.
pub(super) fn parameter(slots: &Slots, layer: usize, which: Parameter, frozen: Tensor) -> Tensor {
    let tensors = names(which).map(|names| names.map(|name| slots.get(layer, &name)));
    match tensors {
        Some([Some(mask), Some(values)]) => {
            frozen.masked_scatter(mask, &values.to_kind(frozen.kind()))
        }
        _ => frozen,
    }
}

/// The names in files of the mask and the entries of a linear's tensor.
fn names(which: Parameter) -> Option<[String; 2]> {
    let (place, tensor) = match which {
        Parameter::Weight(place) => (place, "weight"),
        Parameter::Bias(place) => (place, "bias"),
    };
    let linear = match place {
        Place::Qkv => "attn.aft.in_proj",
        Place::AttentionOut => "attn.aft.out_proj",
        Place::MlpIn => "mlp.aft.in_proj",
        Place::MlpOut => "mlp.aft.out_proj",
        Place::Norm1 | Place::Norm2 => return None,
    };
    Some(["mask", "optimized_params"].map(|end| format!("{linear}.masked_{tensor}.{end}")))
}
