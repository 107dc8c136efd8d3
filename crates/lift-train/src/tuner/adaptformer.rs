//! AdaptFormer (Chen et al. 2022, arXiv 2205.13535): a bottleneck parallel to the MLP.
//!
//! `mlp(norm2(x)) + s * bottleneck(x)`, with a learned scalar s that starts at 1.

use lift_models::MlpInput;
use tch::Tensor;

use super::{
    bottleneck::{self, LAYER_NORM_EPS},
    slots::{self, Slots, Start, TensorSpec},
};
use crate::onnx::graph::{Graph, Value};

const BOTTLENECK: [TensorSpec; 6] = bottleneck::parts([
    "adaptformer.norm.weight",
    "adaptformer.norm.bias",
    "adaptformer.down.weight",
    "adaptformer.down.bias",
    "adaptformer.up.weight",
    "adaptformer.up.bias",
]);
const SCALE: TensorSpec = TensorSpec {
    name: "adaptformer.scale",
    shape: &[],
    start: Start::Ones,
};

/// The module's tensors in a block.
pub(super) const PARTS: [TensorSpec; 7] = {
    let [a, b, c, d, e, f] = BOTTLENECK;
    [a, b, c, d, e, f, SCALE]
};

/// Adds the bottleneck of the MLP's input to its output.
pub(super) fn mlp(slots: &Slots, layer: usize, input: MlpInput, output: Tensor) -> Tensor {
    match (slots.all(layer, &BOTTLENECK), slots.get(layer, SCALE.name)) {
        (Some(tensors), Some(scale)) => {
            let standardised = match input.standardised {
                // The block's own LayerNorm has done it already.
                Some((standardised, LAYER_NORM_EPS)) => standardised.shallow_clone(),
                _ => bottleneck::standardise(input.tokens).to_kind(output.kind()),
            };
            output + bottleneck::forward(&standardised, tensors, Some(scale))
        }
        _ => output,
    }
}

/// As [`mlp`], as nodes.
pub(super) fn nodes(
    slots: &Slots,
    layer: usize,
    graph: &mut Graph,
    tokens: &Value,
    output: Value,
) -> Value {
    match (slots.all(layer, &BOTTLENECK), slots.get(layer, SCALE.name)) {
        (Some(tensors), Some(scale)) => {
            let name = slots::name(layer, "adaptformer");
            let added = bottleneck::nodes(graph, tokens, &name, tensors, Some(scale));
            graph.node("Add", &[&output, &added])
        }
        _ => output,
    }
}
