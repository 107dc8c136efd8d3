//! What Adapter and AdaptFormer share: `up(relu(down(LN(x))))`, LN with weights of its own and eps 1e-5.
//!
//! `up` and all biases start at zero, so that training starts at the frozen model.

use lift_models::Place;
use tch::Tensor;

use super::slots::{
    Length::{self, Size, Width},
    Start::{Kaiming, Ones, Zeros},
    TensorSpec,
};
use crate::onnx::graph::{Graph, Value};

/// Of its LayerNorm.
pub(super) const LAYER_NORM_EPS: f64 = 1e-5;

/// The six tensors of a bottleneck: norm (d), (d), down (r, d), (r), up (d, r), (d).
pub(super) const fn parts(names: [&'static str; 6]) -> [TensorSpec; 6] {
    const OUT: Length = Length::Output(Place::MlpOut);
    let [norm_weight, norm_bias, down, down_bias, up, up_bias] = names;
    [
        part(norm_weight, &[Width], Ones),
        part(norm_bias, &[Width], Zeros),
        part(down, &[Size, Width], Kaiming),
        part(down_bias, &[Size], Zeros),
        part(up, &[OUT, Size], Zeros),
        part(up_bias, &[OUT], Zeros),
    ]
}

const fn part(
    name: &'static str,
    shape: &'static [Length],
    start: super::slots::Start,
) -> TensorSpec {
    TensorSpec { name, shape, start }
}

/// Tokens (…, d) with mean 0 and variance 1, in the kind that came in; sums are fp32.
pub(crate) fn standardise(x: &Tensor) -> Tensor {
    let d = x.size().last().copied().unwrap_or_default();
    let none = None::<&Tensor>;
    x.layer_norm([d], none, none, LAYER_NORM_EPS, true)
}

/// Standardised tokens (…, d) -> (…, d), in the kind that came in, times `scale`.
///
/// The LayerNorm's scale and shift are multiplied into `down`, and `scale` into `up`: these are small beside the tokens,
/// which are passed over once.
pub(crate) fn forward(
    standardised: &Tensor,
    tensors: [&Tensor; 6],
    scale: Option<&Tensor>,
) -> Tensor {
    let [norm_weight, norm_bias, down, down_bias, up, up_bias] = tensors;
    let kind = standardised.kind();
    let linear = |x: &Tensor, weight: &Tensor, bias: &Tensor| {
        x.linear(&weight.to_kind(kind), Some(&bias.to_kind(kind)))
    };
    let shift = down.mv(norm_bias) + down_bias;
    let hidden = linear(standardised, &(down * norm_weight), &shift).relu();
    match scale {
        Some(scale) => linear(&hidden, &(up * scale), &(up_bias * scale)),
        None => linear(&hidden, up, up_bias),
    }
}

/// As [`forward`] of tokens that are not standardised yet, as nodes; its tensors are kept under `name`.
pub(crate) fn nodes(
    graph: &mut Graph,
    tokens: &Value,
    name: &str,
    tensors: [&Tensor; 6],
    scale: Option<&Tensor>,
) -> Value {
    let [norm_weight, norm_bias, down, down_bias, up, up_bias] = tensors;
    let norm = [norm_weight, norm_bias];
    let x = graph.layer_norm(tokens, &format!("{name}.norm"), norm, LAYER_NORM_EPS);
    let hidden = graph.linear(&x, &format!("{name}.down"), down, Some(down_bias));
    let hidden = graph.node("Relu", &[&hidden]);
    let scaled = |tensor: &Tensor| match scale {
        Some(scale) => tensor * scale,
        None => tensor.shallow_clone(),
    };
    let (up, up_bias) = (scaled(up), scaled(up_bias));
    graph.linear(&hidden, &format!("{name}.up"), &up, Some(&up_bias))
}
