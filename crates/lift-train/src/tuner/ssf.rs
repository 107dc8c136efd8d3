//! Scaling and shifting features (Lian et al. 2022, arXiv 2210.08823): `y * scale + shift` after every linear.

use lift_models::Place;
use tch::Tensor;

use super::slots::{
    Length::{self, Output},
    Slots, Start, TensorSpec,
};

/// Scale and shift of a place.
const fn pair(
    scale: &'static str,
    shift: &'static str,
    shape: &'static [Length],
) -> [TensorSpec; 2] {
    [
        TensorSpec {
            name: scale,
            shape,
            start: Start::Normal(1.0, 0.02),
        },
        TensorSpec {
            name: shift,
            shape,
            start: Start::Normal(0.0, 0.02),
        },
    ]
}

const QKV: [TensorSpec; 2] = pair(
    "attn.ssf.in_proj.scale",
    "attn.ssf.in_proj.shift",
    &[Output(Place::Qkv)],
);
const ATTENTION_OUT: [TensorSpec; 2] = pair(
    "attn.ssf.out_proj.scale",
    "attn.ssf.out_proj.shift",
    &[Output(Place::AttentionOut)],
);
const MLP_IN: [TensorSpec; 2] = pair(
    "mlp.ssf.in_proj.scale",
    "mlp.ssf.in_proj.shift",
    &[Output(Place::MlpIn)],
);
const MLP_OUT: [TensorSpec; 2] = pair(
    "mlp.ssf.out_proj.scale",
    "mlp.ssf.out_proj.shift",
    &[Output(Place::MlpOut)],
);

/// The module's tensors in a block.
pub(super) const PARTS: [TensorSpec; 8] = {
    let ([a, b], [c, d]) = (QKV, ATTENTION_OUT);
    let ([e, f], [g, h]) = (MLP_IN, MLP_OUT);
    [a, b, c, d, e, f, g, h]
};

/// Scales and shifts what the linear at `place` gives.
pub(super) fn linear(slots: &Slots, layer: usize, place: Place, output: Tensor) -> Tensor {
    let parts = match place {
        Place::Qkv => &QKV,
        Place::AttentionOut => &ATTENTION_OUT,
        Place::MlpIn => &MLP_IN,
        Place::MlpOut => &MLP_OUT,
        Place::Norm1 | Place::Norm2 => return output,
    };
    match slots.all(layer, parts) {
        Some([scale, shift]) => {
            let kind = output.kind();
            output * scale.to_kind(kind) + shift.to_kind(kind)
        }
        None => output,
    }
}
