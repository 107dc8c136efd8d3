//! The pre-norm transformer block that both towers are made of, and the places where tuners hang in.
//!
//! Field names are OpenAI's checkpoint names. LayerNorm always computes in fp32, whatever the weights' precision; the tokens may
//! be of a wider kind than the weights, and then stay so, while the linears compute in theirs.
//! The block itself knows no tuner: a [`Hooks`] implementation sees and may change what passes through it. Blocks that are
//! frozen can be folded ([`crate::fold`]): they compute the same with fewer passes over memory.

use tch::{Device, Kind, Tensor};

use crate::{
    checkpoint::Weights,
    config::Activation,
    hooks::{Hooks, MlpInput, NoHooks, Parameter, Place},
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

    /// Normalised tokens, in the kind of the linear that takes them.
    fn norm(&self, place: Place, norm: &LayerNorm, x: &Tensor, linear: &Tensor) -> Tensor {
        let normalised = if norm.is_folded {
            norm.standardise(x)
        } else {
            let (weight, bias) = self.parameters(place, &norm.weight, &norm.bias);
            layer_norm(x, &weight, &bias, norm.eps)
        };
        normalised.to_kind(linear.kind())
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
    let (tokens, width) = (x.to_kind(Kind::Float), [weight.size()[0]]);
    let is_tuned = weight.requires_grad() || bias.requires_grad();
    let normalised = if is_tuned && x.device() == Device::Cpu {
        // libtorch's own sums their gradients in an order that depends on the number of threads.
        let none = None::<&Tensor>;
        tokens.layer_norm(width, none, none, eps, true) * weight + bias
    } else {
        tokens.layer_norm(width, Some(weight), Some(bias), eps, true)
    };
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

/// Which tokens of a block's output are wanted. All look at all of its input; behind attention only these are computed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    /// All (b, n, d).
    All,
    /// The first (b, 1, d).
    First,
    /// One of each row (b, 1, d), at these places (b).
    At(&'a Tensor),
}

impl Wanted<'_> {
    /// These of tokens (b, n, d).
    fn of(self, x: &Tensor) -> Tensor {
        match self {
            Self::All => x.shallow_clone(),
            Self::First => x.narrow(1, 0, 1),
            Self::At(places) => {
                let (b, d) = (x.size()[0], x.size()[2]);
                let at = places.view([b, 1, 1]).expand([b, 1, d], false);
                x.gather(1, &at, false)
            }
        }
    }

    /// Which tokens these may look at where none may look behind itself, of n (1 or b, 1, m, p + n), p being others that stand
    /// before all.
    fn visible(self, p: i64, n: i64, device: Device) -> Tensor {
        let places = |n: i64| Tensor::arange(n, (Kind::Int64, device));
        let own = match self {
            Self::All => places(n).view([1, 1, n, 1]),
            Self::First => Tensor::zeros([1, 1, 1, 1], (Kind::Int64, device)),
            Self::At(places) => places.view([-1, 1, 1, 1]),
        };
        places(p + n).view([1, 1, 1, p + n]).le_tensor(&(own + p))
    }
}

/// What queries look at.
enum Visible {
    /// All keys.
    All,
    /// Those up to themselves, of as many.
    Before,
    /// These, true in (1 or b, 1, m, n).
    These(Tensor),
}

impl Attention {
    /// Normalised tokens (b, n, d) -> the wanted ones (b, m, d).
    fn forward(&self, x: &Tensor, wanted: Wanted, mask: Mask, at: &At<impl Hooks>) -> Tensor {
        let qkv = self.projected(x, wanted, at);
        let visible = match (wanted, mask) {
            (_, Mask::Full) => Visible::All,
            (Wanted::All, Mask::Causal) => Visible::Before,
            (_, Mask::Causal) => Visible::These(wanted.visible(0, x.size()[1], x.device())),
        };
        self.mixed(qkv, visible, at)
    }

    /// Of causal attention over tokens (b, n, d) that all stand behind the same ones (1, p, d), all normalised: those, and the
    /// wanted ones (b, m, d). Keys and values of the former are computed once.
    fn forward_behind(
        &self,
        before: &Tensor,
        x: &Tensor,
        wanted: Wanted,
        at: &At<impl Hooks>,
    ) -> [Tensor; 2] {
        let [q_before, k_before, v_before] = self.projected(before, Wanted::All, at);
        let [q, k, v] = self.projected(x, wanted, at);
        let b = x.size()[0];
        let behind =
            |before: &Tensor, own| Tensor::cat(&[before.expand([b, -1, -1], false), own], 1);
        let [k, v] = [behind(&k_before, k), behind(&v_before, v)];
        let visible = wanted.visible(before.size()[1], x.size()[1], x.device());
        let before = self.mixed([q_before, k_before, v_before], Visible::Before, at);
        [before, self.mixed([q, k, v], Visible::These(visible), at)]
    }

    /// Queries (b, m, d), keys and values (b, n, d) -> outputs (b, m, d).
    fn mixed(&self, qkv: [Tensor; 3], visible: Visible, at: &At<impl Hooks>) -> Tensor {
        let (b, d) = (qkv[0].size()[0], qkv[0].size()[2]);
        let [q, k, v] = qkv.map(|tokens| {
            // (b, m, d) -> (b, heads, m, d / heads).
            let by_head = [b, tokens.size()[1], self.heads, d / self.heads];
            tokens.view(by_head).transpose(1, 2)
        });
        let (mask, is_causal) = match visible {
            Visible::All => (None, false),
            Visible::Before => (None, true),
            Visible::These(mask) => (Some(mask), false),
        };
        let mixed = if q.size()[2] == 1 && q.device() == Device::Cpu {
            of_one_query(&q, &k, &v, mask.as_ref())
        } else {
            Tensor::scaled_dot_product_attention(&q, &k, &v, mask, 0.0, is_causal, None, false)
        };
        let mixed = mixed.transpose(1, 2).reshape([b, -1, d]);
        let out = &self.out_proj;
        at.linear(Place::AttentionOut, &mixed, &out.weight, &out.bias)
    }

    /// Queries of the wanted tokens (b, m, d), keys and values of all (b, n, d).
    fn projected(&self, x: &Tensor, wanted: Wanted, at: &At<impl Hooks>) -> [Tensor; 3] {
        let (weight, bias) = (&self.in_proj_weight, &self.in_proj_bias);
        let d = x.size()[2];
        if matches!(wanted, Wanted::All) || at.hooks.changes(at.layer, Place::Qkv) {
            let qkv = at.linear(Place::Qkv, x, weight, bias);
            // At once, so that their gradients are stacked in one pass; each taken on its own would fill a tensor of all
            // three.
            let mut parts = qkv.chunk(3, -1).into_iter();
            let mut part = || parts.next().expect("there are three");
            return [wanted.of(&part()), part(), part()];
        }
        let rows = |begin, length| {
            let (weight, bias) = (
                weight.narrow(0, begin, length),
                bias.narrow(0, begin, length),
            );
            move |x: &Tensor| x.linear(&weight, Some(&bias))
        };
        let mut parts = rows(d, 2 * d)(x).chunk(2, -1).into_iter();
        let mut part = || parts.next().expect("there are two");
        [rows(0, d)(&wanted.of(x)), part(), part()]
    }
}

/// Attention of one query (b, heads, 1, d) to keys and values (b, heads, n, d). libtorch's own on the CPU sums in an order that
/// depends on the number of threads where there are fewer than four queries; the same weights must follow from any.
fn of_one_query(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>) -> Tensor {
    let scale = 1.0 / (q.size()[3] as f64).sqrt();
    let mut scores = (q * scale).matmul(&k.transpose(2, 3));
    if let Some(mask) = mask {
        scores = scores.masked_fill(&mask.logical_not(), f64::NEG_INFINITY);
    }
    softmax(&scores).to_kind(v.kind()).matmul(v)
}

/// Softmax over the last dimension, in fp32. With AVX-512, the backward pass of libtorch's own sums in an order that depends on the
/// number of threads too.
fn softmax(scores: &Tensor) -> Tensor {
    let (scores, last) = (scores.to_kind(Kind::Float), [-1i64].as_slice());
    let weights = (&scores - scores.detach().amax(last, true)).exp();
    &weights / weights.sum_dim_intlist(last, true, Kind::Float)
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

    /// (b, n, d) -> the wanted tokens (b, m, d), of as many as the hooks make of them.
    pub(crate) fn forward(
        &self,
        x: Tensor,
        wanted: Wanted,
        mask: Mask,
        layer: usize,
        hooks: &impl Hooks,
    ) -> Tensor {
        let at = At { layer, hooks };
        let x = hooks.tokens(layer, x);
        let normalised = at.norm(Place::Norm1, &self.ln_1, &x, &self.attn.in_proj_weight);
        let x = wanted.of(&x) + self.attn.forward(&normalised, wanted, mask, &at);
        self.behind_attention(x, &at)
    }

    /// Of a causal block without hooks, for tokens (b, n, d) that all stand behind the same ones (1, p, d): those, and the wanted
    /// ones (b, m, d).
    pub(crate) fn forward_behind(
        &self,
        [before, x]: [Tensor; 2],
        wanted: Wanted,
        layer: usize,
    ) -> [Tensor; 2] {
        let at = At {
            layer,
            hooks: &NoHooks,
        };
        let normalised =
            [&before, &x].map(|x| at.norm(Place::Norm1, &self.ln_1, x, &self.attn.in_proj_weight));
        let [a, b] = self
            .attn
            .forward_behind(&normalised[0], &normalised[1], wanted, &at);
        [before + a, wanted.of(&x) + b].map(|x| self.behind_attention(x, &at))
    }

    /// The block's second half: (b, m, d) -> (b, m, d).
    fn behind_attention<H: Hooks>(&self, x: Tensor, at: &At<H>) -> Tensor {
        let normalised = at.norm(Place::Norm2, &self.ln_2, &x, &self.mlp.c_fc.weight);
        let output = self.mlp.forward(&normalised, at);
        let input = MlpInput {
            tokens: &x,
            standardised: self.ln_2.is_folded.then_some((&normalised, self.ln_2.eps)),
        };
        &x + at.hooks.mlp(at.layer, input, output)
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
