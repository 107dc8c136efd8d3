//! Visual prompt tuning (Jia et al. 2022, arXiv 2203.12119): learned tokens after the class token.
//!
//! Shallow puts them in before the first block, and they stay; deep replaces them before every block. What a block
//! does follows from which blocks have a prompt: the first one puts it in, each later one replaces it.

use tch::Tensor;

use super::slots::{self, Length, Slots, Start, TensorSpec};
use crate::onnx::graph::{Graph, Value};

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
    let length_before = length_before(slots, layer);
    let (b, n, d) = (x.size()[0], x.size()[1], x.size()[2]);
    let prompt = prompt
        .to_kind(x.kind())
        .unsqueeze(0)
        .expand([b, prompt.size()[0], d], false);
    let patches = x.narrow(1, 1 + length_before, n - 1 - length_before);
    Tensor::cat(&[x.narrow(1, 0, 1), prompt, patches], 1)
}

/// How many prompts an earlier block has put in.
fn length_before(slots: &Slots, layer: usize) -> i64 {
    let before = slots.layers().rev().find(|&earlier| earlier < layer);
    before
        .and_then(|earlier| slots.get(earlier, PARTS[0].name))
        .map_or(0, |prompt| prompt.size()[0])
}

/// As [`tokens`], as nodes: the prompt is added to zeros that stand behind the class token.
pub(super) fn nodes(slots: &Slots, layer: usize, graph: &mut Graph, x: Value) -> Value {
    let Some([prompt]) = slots.all(layer, &PARTS) else {
        return x;
    };
    let length = prompt.size()[0];
    let class = graph.tokens(&x, 0, Some(1));
    let class = graph.padded(&class, 0, length);
    let name = slots::name(layer, PARTS[0].name);
    let rows = Tensor::cat(&[&prompt.narrow(0, 0, 1).zeros_like(), prompt], 0);
    let rows = graph.constant(&name, &rows);
    let first = graph.node("Add", &[&class, &rows]);
    let patches = graph.tokens(&x, 1 + length_before(slots, layer), None);
    graph.joined(&[&first, &patches], 1)
}
