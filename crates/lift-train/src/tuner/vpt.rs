//! Visual prompt tuning (Jia et al. 2022, arXiv 2203.12119): learned tokens after the class token.
//!
//! Shallow puts them in before the first block, and they stay; deep replaces them before every block. What a block
//! does follows from which blocks have a prompt: the first one puts it in, each later one replaces it.

use tch::Tensor;

use super::slots::{Length, Slots, Start, TensorSpec};

/// The module's tensor in a block (tokens, d).
pub(super) const PARTS: [TensorSpec; 1] = [TensorSpec {
    name: "prompt",
    shape: &[Length::Size, Length::Width],
    start: Start::Normal(0.0, 0.02),
}];

/// Puts a block's prompt into its tokens (b, n, d).
pub(super) fn tokens(slots: &Slots, layer: usize, x: Tensor) -> Tensor {
    let Some([prompt]) = slots.all(layer, &PARTS) else {
        return x;
    };
    let before = slots.layers().rev().find(|&earlier| earlier < layer);
    let length_before = before
        .and_then(|earlier| slots.get(earlier, PARTS[0].name))
        .map_or(0, |prompt| prompt.size()[0]);
    let (b, n, d) = (x.size()[0], x.size()[1], x.size()[2]);
    let prompt = prompt
        .to_kind(x.kind())
        .unsqueeze(0)
        .expand([b, prompt.size()[0], d], false);
    let patches = x.narrow(1, 1 + length_before, n - 1 - length_before);
    Tensor::cat(&[x.narrow(1, 0, 1), prompt, patches], 1)
}
