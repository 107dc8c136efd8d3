//! What hooks do to a block's linears and LayerNorms, made a part of the tower's own tensors.
//!
//! A hook sees a linear's input x and output and may change the output. Where that is an affine function of x, and so it is of
//! LoRA, SSF and tuned copies of the tensors, the linear with the hook is another linear: its bias is what comes out for 0,
//! and its matrix what comes out for each unit vector, less that. Nothing here knows a tuner by name. Invariant: in real numbers
//! the tower without hooks equals the tower with them, as far as they use [`Hooks::parameter`] and [`Hooks::linear`];
//! [`Hooks::tokens`] and [`Hooks::mlp`] are not looked at, since no tensor of the tower can stand for them.

use tch::{Device, Kind, Tensor};

use crate::{
    block::Block,
    hooks::{Hooks, Parameter, Place},
    vision::VisionTower,
};

impl VisionTower {
    /// Takes `hooks` into the tower's own tensors, in double precision. To be called on the CPU, before [`VisionTower::fold`] and
    /// [`VisionTower::convert`]. What hooks do not change keeps its bits.
    pub fn absorb(&mut self, hooks: &impl Hooks) {
        for (layer, block) in self.resblocks.iter_mut().enumerate() {
            for place in Place::ALL {
                if hooks.changes(layer, place) {
                    absorb(block, layer, place, hooks);
                }
            }
        }
    }
}

fn absorb(block: &mut Block, layer: usize, place: Place, hooks: &impl Hooks) {
    let [mut weight, mut bias] = [Parameter::Weight(place), Parameter::Bias(place)].map(|which| {
        let frozen = block.parameter(which).to_kind(Kind::Double);
        hooks.parameter(layer, which, &frozen).detach()
    });
    if !matches!(place, Place::Norm1 | Place::Norm2) {
        let width = weight.size()[1];
        let through = |x: &Tensor| {
            let output = x.linear(&weight, Some(&bias));
            hooks.linear(layer, place, x, output).detach()
        };
        let options = (Kind::Double, Device::Cpu);
        let at_zero = through(&Tensor::zeros([1, 1, width], options));
        let rows = through(&Tensor::eye(width, options).unsqueeze(0)) - &at_zero;
        (weight, bias) = (rows.squeeze_dim(0).tr().contiguous(), at_zero.flatten(0, 2));
    }
    for (which, tensor) in [
        (Parameter::Weight(place), weight),
        (Parameter::Bias(place), bias),
    ] {
        let kind = block.parameter(which).kind();
        *own(block, which) = tensor.to_kind(kind);
    }
}

fn own(block: &mut Block, which: Parameter) -> &mut Tensor {
    let (Parameter::Weight(place) | Parameter::Bias(place)) = which;
    let (weight, bias) = match place {
        Place::Norm1 => (&mut block.ln_1.weight, &mut block.ln_1.bias),
        Place::Qkv => (&mut block.attn.in_proj_weight, &mut block.attn.in_proj_bias),
        Place::AttentionOut => (
            &mut block.attn.out_proj.weight,
            &mut block.attn.out_proj.bias,
        ),
        Place::Norm2 => (&mut block.ln_2.weight, &mut block.ln_2.bias),
        Place::MlpIn => (&mut block.mlp.c_fc.weight, &mut block.mlp.c_fc.bias),
        Place::MlpOut => (&mut block.mlp.c_proj.weight, &mut block.mlp.c_proj.bias),
    };
    match which {
        Parameter::Weight(_) => weight,
        Parameter::Bias(_) => bias,
    }
}
