//! The pre-norm transformer block that both towers are made of, and the places where tuners hang in.
//!
//! Field names are OpenAI's checkpoint names. LayerNorm always computes in fp32, whatever the weights' precision.
//! The block itself knows no tuner: a [`Hooks`] implementation sees and may change what passes through it. Blocks that are
//! frozen can be folded ([`crate::fold`]): they compute the same with fewer passes over memory.

use tch::{Device, Kind, Tensor};

use crate::{
    checkpoint::Weights,
    config::Activation,
    hooks::{Hooks, MlpInput, Parameter, Place},
};

/// The factor of QuickGELU, `x * sigmoid(1.702 x)`.
pub(crate) const QUICK_GELU: f64 = 1.702;

/// The block that runs, and who may change what it does.
struct At<'a, H> {
    layer: usize,
    hooks: &'a H,
}

impl<H: Hooks> At<'_, H> {
    fn linear(&self, place: Place, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Tensor {
        let (weight, bias) = self.parameters(place, weight, bias);
        let output = x.linear(&weight, Some(&bias));
        self.hooks.linear(self.layer, place, x, output)
    }

    fn norm(&self, place: Place, norm: &LayerNorm, x: &Tensor) -> Tensor {
        if norm.is_folded {
            return norm.standardise(x);
        }
        let (weight, bias) = self.parameters(place, &norm.weight, &norm.bias);
        layer_norm(x, &weight, &bias, norm.eps)
    }

    fn parameters(&self, place: Place, weight: &Tensor, bias: &Tensor) -> (Tensor, Tensor) {
        let (layer, hooks) = (self.layer, self.hooks);
        (
            hooks.parameter(layer, Parameter::Weight(place), weight),
            hooks.parameter(layer, Parameter::Bias(place), bias),
        )
    }
}

/// Normalises (…, d) in fp32 with fp32 weights, and returns the kind that came in.
fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Tensor {
    let normalised =
        x.to_kind(Kind::Float)
            .layer_norm([weight.size()[0]], Some(weight), Some(bias), eps, true);
    normalised.to_kind(x.kind())
}

/// LayerNorm over the last dimension, computed in fp32.
#[derive(Debug)]
pub struct LayerNorm {
    /// Scale (d), fp32.
    pub weight: Tensor,
    /// Shift (d), fp32.
    pub bias: Tensor,
    /// Added to the variance.
    pub eps: f64,
    /// Whether scale and shift are 1 and 0, because the linear behind it has them.
    pub(crate) is_folded: bool,
}

impl LayerNorm {
    pub(crate) fn load(weights: &mut Weights, name: &str, width: i64, eps: f64) -> Self {
        let mut take = |end: &str| weights.take(&format!("{name}.{end}"), &[width]);
        Self {
            weight: take("weight"),
            bias: take("bias"),
            eps,
            is_folded: false,
        }
    }

    /// Mean 0 and variance 1 over the last dimension, in the kind that came in; sums are fp32.
    fn standardise(&self, x: &Tensor) -> Tensor {
        let none = None::<&Tensor>;
        x.layer_norm([self.weight.size()[0]], none, none, self.eps, true)
    }

    /// Normalises (…, d), and returns the kind that came in.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        layer_norm(x, &self.weight, &self.bias, self.eps)
    }

    pub(crate) fn move_to(&mut self, device: Device) {
        self.weight = self.weight.to_device(device);
        self.bias = self.bias.to_device(device);
    }
}

/// `x W^T + b`.
#[derive(Debug)]
pub struct Linear {
    /// Weight (out, in).
    pub weight: Tensor,
    /// Bias (out).
    pub bias: Tensor,
}

impl Linear {
    fn load(weights: &mut Weights, name: &str, input: i64, output: i64) -> Self {
        let weight = weights.take(&format!("{name}.weight"), &[output, input]);
        Self {
            weight,
            bias: weights.take(&format!("{name}.bias"), &[output]),
        }
    }

    fn convert(&mut self, device: Device, kind: Kind) {
        self.weight = self.weight.to_device(device).to_kind(kind);
        self.bias = self.bias.to_device(device).to_kind(kind);
    }
}

/// Multi-head self-attention with query, key and value in one product.
#[derive(Debug)]
pub struct Attention {
    /// Stacked query, key, value weights (3 d, d).
    pub in_proj_weight: Tensor,
    /// Their biases (3 d).
    pub in_proj_bias: Tensor,
    /// Output projection (d, d).
    pub out_proj: Linear,
    heads: i64,
}

/// Which tokens a token may look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mask {
    /// All (image tower).
    Full,
    /// Itself and those before it (text tower).
    Causal,
}

impl Attention {
    fn forward(&self, x: &Tensor, mask: Mask, at: &At<impl Hooks>) -> Tensor {
        let qkv = at.linear(Place::Qkv, x, &self.in_proj_weight, &self.in_proj_bias);
        let (b, n, d) = (x.size()[0], x.size()[1], x.size()[2]);
        // (b, n, 3 d) -> 3 x (b, heads, n, d / heads). Unbound at once, so that their gradients are stacked in one pass;
        // each taken on its own would fill a tensor of all three.
        let qkv = qkv.view([b, n, 3, self.heads, d / self.heads]).unbind(2);
        let [q, k, v] = [&qkv[0], &qkv[1], &qkv[2]].map(|one| one.transpose(1, 2));
        let mixed = Tensor::scaled_dot_product_attention::<&Tensor>(
            &q,
            &k,
            &v,
            None,
            0.0,
            mask == Mask::Causal,
            None,
            false,
        );
        let mixed = mixed.transpose(1, 2).reshape([b, n, d]);
        let out = &self.out_proj;
        at.linear(Place::AttentionOut, &mixed, &out.weight, &out.bias)
    }
}

/// Two linears with the activation between.
#[derive(Debug)]
pub struct Mlp {
    /// d -> hidden.
    pub c_fc: Linear,
    /// hidden -> d.
    pub c_proj: Linear,
    pub(crate) activation: Activation,
    /// Whether the factors of QuickGELU are in the two linears.
    pub(crate) is_folded: bool,
}

impl Mlp {
    fn forward(&self, x: &Tensor, at: &At<impl Hooks>) -> Tensor {
        let hidden = at.linear(Place::MlpIn, x, &self.c_fc.weight, &self.c_fc.bias);
        let hidden = match self.activation {
            Activation::QuickGelu if self.is_folded => hidden.silu(),
            Activation::QuickGelu => &hidden * (&hidden * QUICK_GELU).sigmoid(),
            Activation::Gelu => hidden.gelu("none"),
        };
        let out = &self.c_proj;
        at.linear(Place::MlpOut, &hidden, &out.weight, &out.bias)
    }
}

/// `x + attention(ln_1(x))`, then `x + mlp(ln_2(x))`.
#[derive(Debug)]
pub struct Block {
    /// Before attention.
    pub ln_1: LayerNorm,
    /// Self-attention.
    pub attn: Attention,
    /// Before the MLP.
    pub ln_2: LayerNorm,
    /// The MLP.
    pub mlp: Mlp,
}

/// The sizes that a block needs.
pub(crate) struct BlockConfig {
    pub width: i64,
    pub heads: i64,
    pub mlp_width: i64,
    pub layer_norm_eps: f64,
    pub activation: Activation,
}

impl Block {
    pub(crate) fn load(weights: &mut Weights, name: &str, config: &BlockConfig) -> Self {
        let (d, eps) = (config.width, config.layer_norm_eps);
        Self {
            ln_1: LayerNorm::load(weights, &format!("{name}.ln_1"), d, eps),
            attn: Attention {
                in_proj_weight: weights.take(&format!("{name}.attn.in_proj_weight"), &[3 * d, d]),
                in_proj_bias: weights.take(&format!("{name}.attn.in_proj_bias"), &[3 * d]),
                out_proj: Linear::load(weights, &format!("{name}.attn.out_proj"), d, d),
                heads: config.heads,
            },
            ln_2: LayerNorm::load(weights, &format!("{name}.ln_2"), d, eps),
            mlp: Mlp {
                c_fc: Linear::load(weights, &format!("{name}.mlp.c_fc"), d, config.mlp_width),
                c_proj: Linear::load(weights, &format!("{name}.mlp.c_proj"), config.mlp_width, d),
                activation: config.activation,
                is_folded: false,
            },
        }
    }

    /// (b, n, d) -> (b, n, d), with as many tokens as the hooks make of them.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        mask: Mask,
        layer: usize,
        hooks: &impl Hooks,
    ) -> Tensor {
        let at = At { layer, hooks };
        let x = hooks.tokens(layer, x);
        let normalised = at.norm(Place::Norm1, &self.ln_1, &x);
        let x = &x + self.attn.forward(&normalised, mask, &at);
        let normalised = at.norm(Place::Norm2, &self.ln_2, &x);
        let output = self.mlp.forward(&normalised, &at);
        let input = MlpInput {
            tokens: &x,
            standardised: self.ln_2.is_folded.then_some((&normalised, self.ln_2.eps)),
        };
        &x + hooks.mlp(layer, input, output)
    }

    /// One of the block's own tensors.
    pub fn parameter(&self, which: Parameter) -> &Tensor {
        let (Parameter::Weight(place) | Parameter::Bias(place)) = which;
        let (weight, bias) = match place {
            Place::Norm1 => (&self.ln_1.weight, &self.ln_1.bias),
            Place::Qkv => (&self.attn.in_proj_weight, &self.attn.in_proj_bias),
            Place::AttentionOut => (&self.attn.out_proj.weight, &self.attn.out_proj.bias),
            Place::Norm2 => (&self.ln_2.weight, &self.ln_2.bias),
            Place::MlpIn => (&self.mlp.c_fc.weight, &self.mlp.c_fc.bias),
            Place::MlpOut => (&self.mlp.c_proj.weight, &self.mlp.c_proj.bias),
        };
        match which {
            Parameter::Weight(_) => weight,
            Parameter::Bias(_) => bias,
        }
    }

    /// Moves the block to `device`; matrices take `kind`, LayerNorms stay fp32.
    pub(crate) fn convert(&mut self, device: Device, kind: Kind) {
        self.ln_1.move_to(device);
        self.attn.in_proj_weight = self.attn.in_proj_weight.to_device(device).to_kind(kind);
        self.attn.in_proj_bias = self.attn.in_proj_bias.to_device(device).to_kind(kind);
        self.attn.out_proj.convert(device, kind);
        self.ln_2.move_to(device);
        self.mlp.c_fc.convert(device, kind);
        self.mlp.c_proj.convert(device, kind);
    }

    /// The block's tensors with their names below `prefix`.
    pub(crate) fn named<'a>(&'a self, prefix: &str, out: &mut Vec<(String, &'a Tensor)>) {
        let fields = [
            ("ln_1.weight", &self.ln_1.weight),
            ("ln_1.bias", &self.ln_1.bias),
            ("attn.in_proj_weight", &self.attn.in_proj_weight),
            ("attn.in_proj_bias", &self.attn.in_proj_bias),
            ("attn.out_proj.weight", &self.attn.out_proj.weight),
            ("attn.out_proj.bias", &self.attn.out_proj.bias),
            ("ln_2.weight", &self.ln_2.weight),
            ("ln_2.bias", &self.ln_2.bias),
            ("mlp.c_fc.weight", &self.mlp.c_fc.weight),
            ("mlp.c_fc.bias", &self.mlp.c_fc.bias),
            ("mlp.c_proj.weight", &self.mlp.c_proj.weight),
            ("mlp.c_proj.bias", &self.mlp.c_proj.bias),
        ];
        out.extend(
            fields
                .into_iter()
                .map(|(name, tensor)| (format!("{prefix}.{name}"), tensor)),
        );
    }
}
