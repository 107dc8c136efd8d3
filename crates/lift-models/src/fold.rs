//! Folding of frozen blocks: the same function with fewer passes over memory.
//!
//! - A LayerNorm's scale and shift go into the linear behind it: `W (g * x + b) + c = (W diag(g)) x + (W b + c)`.
//! - QuickGELU becomes SiLU: `x sigmoid(a x) = silu(a x) / a`, with `a` in the linear before and `1 / a` in the one behind.
//!
//! What is left, LayerNorm without scale and shift and SiLU, libtorch has as one kernel each, forward and backward, that
//! reads and writes 16-bit tensors and sums in fp32. Invariant: in real numbers a folded block equals the block; it is
//! folded only where no hook looks.

use tch::{Kind, Tensor};

use crate::{
    block::{Block, LayerNorm, Linear, Mlp, QUICK_GELU},
    config::Activation,
    hooks::{Hooks, NoHooks, Place},
    text::TextTower,
    vision::VisionTower,
};

impl VisionTower {
    /// Folds what `hooks` do not change. To be called before [`VisionTower::convert`]: products are rounded once, to the kind
    /// that the tower then takes.
    pub fn fold(&mut self, hooks: &impl Hooks) {
        for (layer, block) in self.resblocks.iter_mut().enumerate() {
            fold(block, |place| hooks.changes(layer, place));
        }
    }
}

impl TextTower {
    /// Folds all blocks. To be called before [`TextTower::convert`].
    pub fn fold(&mut self) {
        for (layer, block) in self.resblocks.iter_mut().enumerate() {
            fold(block, |place| NoHooks.changes(layer, place));
        }
    }
}

fn fold(block: &mut Block, changes: impl Fn(Place) -> bool) {
    let are_frozen = |places: [Place; 2]| !places.into_iter().any(&changes);
    let Block {
        ln_1,
        attn,
        ln_2,
        mlp,
    } = block;
    if are_frozen([Place::Norm1, Place::Qkv]) {
        fold_norm(ln_1, &mut attn.in_proj_weight, &mut attn.in_proj_bias);
    }
    if are_frozen([Place::Norm2, Place::MlpIn]) {
        fold_norm(ln_2, &mut mlp.c_fc.weight, &mut mlp.c_fc.bias);
    }
    if are_frozen([Place::MlpIn, Place::MlpOut]) && mlp.activation == Activation::QuickGelu {
        fold_activation(mlp);
    }
}

fn fold_norm(norm: &mut LayerNorm, weight: &mut Tensor, bias: &mut Tensor) {
    if std::mem::replace(&mut norm.is_folded, true) {
        return;
    }
    let kind = weight.kind();
    let [matrix, shift, scale] =
        [&*weight, &norm.bias, &norm.weight].map(|tensor| tensor.to_kind(Kind::Double));
    *bias = (matrix.mv(&shift) + bias.to_kind(Kind::Double)).to_kind(kind);
    *weight = (matrix * scale).to_kind(kind);
    norm.weight = norm.weight.ones_like();
    norm.bias = norm.bias.zeros_like();
}

fn fold_activation(mlp: &mut Mlp) {
    if std::mem::replace(&mut mlp.is_folded, true) {
        return;
    }
    let times = |tensor: &Tensor, factor: f64| {
        (tensor.to_kind(Kind::Double) * factor).to_kind(tensor.kind())
    };
    let Linear { weight, bias } = &mut mlp.c_fc;
    (*weight, *bias) = (times(weight, QUICK_GELU), times(bias, QUICK_GELU));
    let weight = &mut mlp.c_proj.weight;
    *weight = times(weight, 1.0 / QUICK_GELU);
}
