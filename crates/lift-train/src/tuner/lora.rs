//! LoRA (Hu et al. 2022, arXiv 2106.09685): `x down up / r` is added to what a linear gives.
//!
//! On query and value by default. `up` starts at zero, so that training starts at the frozen model.

use lift_models::Place;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::slots::{
    Length::{self, Output, Size, Width},
    Slots,
    Start::{Kaiming, Zeros},
    TensorSpec,
};

/// A projection that LoRA can be put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LoraTarget {
    /// Query.
    Q,
    /// Key.
    K,
    /// Value.
    V,
    /// The linear after attention.
    Out,
    /// The MLP's first linear.
    MlpIn,
    /// The MLP's second linear.
    MlpOut,
}

impl LoraTarget {
    /// All projections.
    pub const ALL: [Self; 6] = [
        Self::Q,
        Self::K,
        Self::V,
        Self::Out,
        Self::MlpIn,
        Self::MlpOut,
    ];

    /// Query and value, the papers' choice.
    pub fn usual() -> Vec<Self> {
        vec![Self::Q, Self::V]
    }

    /// Down (in, r) and up (r, out) of a projection.
    pub(super) const fn parts(self) -> [TensorSpec; 2] {
        const HIDDEN: Length = Output(Place::MlpIn);
        match self {
            Self::Q => pair("attn.lora.q.down", "attn.lora.q.up", SQUARE),
            Self::K => pair("attn.lora.k.down", "attn.lora.k.up", SQUARE),
            Self::V => pair("attn.lora.v.down", "attn.lora.v.up", SQUARE),
            Self::Out => pair("attn.lora.out_proj.down", "attn.lora.out_proj.up", SQUARE),
            Self::MlpIn => pair(
                "mlp.lora.in_proj.down",
                "mlp.lora.in_proj.up",
                [&[Width, Size], &[Size, HIDDEN]],
            ),
            Self::MlpOut => pair(
                "mlp.lora.out_proj.down",
                "mlp.lora.out_proj.up",
                [&[HIDDEN, Size], &[Size, Width]],
            ),
        }
    }

    fn update(self, slots: &Slots, layer: usize, input: &Tensor) -> Option<Tensor> {
        let [down, up] = slots.all(layer, &self.parts())?;
        let (kind, rank) = (input.kind(), down.size()[1] as f64);
        Some(input.matmul(&down.to_kind(kind)).matmul(&up.to_kind(kind)) / rank)
    }
}

const SQUARE: [&[Length]; 2] = [&[Width, Size], &[Size, Width]];

const fn pair(
    down: &'static str,
    up: &'static str,
    shapes: [&'static [Length]; 2],
) -> [TensorSpec; 2] {
    [
        TensorSpec {
            name: down,
            shape: shapes[0],
            start: Kaiming,
        },
        TensorSpec {
            name: up,
            shape: shapes[1],
            start: Zeros,
        },
    ]
}

/// Adds the updates of the linear at `place` to its output.
pub(super) fn linear(
    slots: &Slots,
    layer: usize,
    place: Place,
    input: &Tensor,
    output: Tensor,
) -> Tensor {
    match targets(place) {
        [] => output,
        [target] => match target.update(slots, layer, input) {
            Some(update) => output + update,
            None => output,
        },
        targets => stacked(targets, slots, layer, input, output),
    }
}

/// Whether the linear at `place` has an update.
pub(super) fn changes(slots: &Slots, layer: usize, place: Place) -> bool {
    let mut targets = targets(place).iter();
    targets.any(|target| slots.all(layer, &target.parts()).is_some())
}

/// The projections that the linear at `place` does.
fn targets(place: Place) -> &'static [LoraTarget] {
    match place {
        Place::Qkv => &[LoraTarget::Q, LoraTarget::K, LoraTarget::V],
        Place::AttentionOut => &[LoraTarget::Out],
        Place::MlpIn => &[LoraTarget::MlpIn],
        Place::MlpOut => &[LoraTarget::MlpOut],
        Place::Norm1 | Place::Norm2 => &[],
    }
}

/// Adds to each part of the output its own update.
fn stacked(
    targets: &[LoraTarget],
    slots: &Slots,
    layer: usize,
    input: &Tensor,
    output: Tensor,
) -> Tensor {
    let updates = targets
        .iter()
        .map(|target| target.update(slots, layer, input));
    let updates: Vec<Option<Tensor>> = updates.collect();
    if updates.iter().all(Option::is_none) {
        return output;
    }
    let parts = output
        .chunk(targets.len() as i64, -1)
        .into_iter()
        .zip(updates);
    let parts: Vec<Tensor> = parts
        .map(|(part, update)| match update {
            Some(update) => part + update,
            None => part,
        })
        .collect();
    Tensor::cat(&parts, -1)
}
