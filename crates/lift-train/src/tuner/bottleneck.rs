//! What Adapter and AdaptFormer share: `up(relu(down(LN(x))))`, LN with weights of its own and eps 1e-5.
//!
//! `up` and all biases start at zero, so that training starts at the frozen model.

use lift_clip::Place;
use tch::{Kind, Tensor};

use super::slots::{
    Length::{self, Size, Width},
    Part,
    Start::{Kaiming, Ones, Zeros},
};

const LAYER_NORM_EPS: f64 = 1e-5;

/// The six tensors of a bottleneck: norm (d), (d), down (r, d), (r), up (d, r), (d).
pub(super) const fn parts(names: [&'static str; 6]) -> [Part; 6] {
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

const fn part(name: &'static str, shape: &'static [Length], start: super::slots::Start) -> Part {
    Part { name, shape, start }
}

/// (…, d) -> (…, d), in the kind that came in.
pub(super) fn forward(x: &Tensor, tensors: [&Tensor; 6]) -> Tensor {
    let [norm_weight, norm_bias, down, down_bias, up, up_bias] = tensors;
    let kind = x.kind();
    let cast = |t: &Tensor| t.to_kind(kind);
    let d = norm_weight.size()[0];
    let normalised = x
        .to_kind(Kind::Float)
        .layer_norm(
            [d],
            Some(norm_weight),
            Some(norm_bias),
            LAYER_NORM_EPS,
            true,
        )
        .to_kind(kind);
    let hidden = normalised
        .linear(&cast(down), Some(&cast(down_bias)))
        .relu();
    hidden.linear(&cast(up), Some(&cast(up_bias)))
}
