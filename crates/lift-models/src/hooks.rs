//! What a tuner may see and change inside a tower.
//!
//! The towers call [`Hooks`] and know no tuner; [`NoHooks`] is the frozen tower. Everything that a block computes
//! passes one of four places: its tokens, its own tensors, its linears' outputs, its MLP's output.

use tch::Tensor;

/// Where a block keeps tensors of its own: two LayerNorms and four linears, in the order of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The LayerNorm before attention.
    Norm1,
    /// Query, key and value in one linear.
    Qkv,
    /// The linear after attention.
    AttentionOut,
    /// The LayerNorm before the MLP.
    Norm2,
    /// The MLP's first linear.
    MlpIn,
    /// The MLP's second linear.
    MlpOut,
}

impl Place {
    /// All places.
    pub const ALL: [Self; 6] = [
        Self::Norm1,
        Self::Qkv,
        Self::AttentionOut,
        Self::Norm2,
        Self::MlpIn,
        Self::MlpOut,
    ];
}

/// One of a block's twelve tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// A linear's matrix (out, in) or a LayerNorm's scale (d).
    Weight(Place),
    /// A linear's bias (out) or a LayerNorm's shift (d).
    Bias(Place),
}

/// What a tuner may change inside a tower. Every method returns what the frozen tower has by default.
///
/// Shapes: b images, n tokens, d width.
pub trait Hooks {
    /// Whether [`Hooks::parameter`] or [`Hooks::linear`] may change anything at this place of a block. Where they may not,
    /// the tower may compute the same in another way ([`crate::VisionTower::fold`]).
    fn changes(&self, _layer: usize, _place: Place) -> bool {
        false
    }
    /// The tokens (b, n, d) that enter a block; their number may change, the class token stays first.
    fn tokens(&self, _layer: usize, x: Tensor) -> Tensor {
        x
    }
    /// The tensor that is used in the place of `frozen`, of its shape and kind.
    fn parameter(&self, _layer: usize, _which: Parameter, frozen: &Tensor) -> Tensor {
        frozen.shallow_clone()
    }
    /// The output (b, n, out) of a linear for `input` (b, n, in).
    fn linear(&self, _layer: usize, _place: Place, _input: &Tensor, output: Tensor) -> Tensor {
        output
    }
    /// The MLP's output (b, n, d), before the residual sum.
    fn mlp(&self, _layer: usize, _input: MlpInput, output: Tensor) -> Tensor {
        output
    }
}

/// What an MLP is given.
#[derive(Clone, Copy, Debug)]
pub struct MlpInput<'a> {
    /// What the second LayerNorm saw (b, n, d).
    pub tokens: &'a Tensor,
    /// The same with mean 0 and variance 1 over d, where the block has it, and the eps that was added to the variance.
    pub standardised: Option<(&'a Tensor, f64)>,
}

/// The frozen tower as it was trained.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {}
