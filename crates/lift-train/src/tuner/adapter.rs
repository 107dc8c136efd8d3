//! Adapter (Houlsby et al. 2019, arXiv 1902.00751): a bottleneck after the MLP, `h + bottleneck(h)`.

use tch::Tensor;

use super::{
    bottleneck,
    slots::{self, Slots, TensorSpec},
};
use crate::onnx::graph::{Graph, Value};

/// The module's tensors in a block.
pub(super) const PARTS: [TensorSpec; 6] = bottleneck::parts([
    "mlp.adapter.norm.weight",
    "mlp.adapter.norm.bias",
    "mlp.adapter.down.weight",
    "mlp.adapter.down.bias",
    "mlp.adapter.up.weight",
    "mlp.adapter.up.bias",
]);

/// Adds the bottleneck of the MLP's output to it.
pub(super) fn mlp(slots: &Slots, layer: usize, output: Tensor) -> Tensor {
    match slots.all(layer, &PARTS) {
        Some(tensors) => {
            let standardised = bottleneck::standardise(&output);
            &output + bottleneck::forward(&standardised, tensors, None)
        }
        None => output,
    }
}

/// As [`mlp`], as nodes.
pub(super) fn nodes(slots: &Slots, layer: usize, graph: &mut Graph, output: Value) -> Value {
    match slots.all(layer, &PARTS) {
        Some(tensors) => {
            let name = slots::name(layer, "mlp.adapter");
            let added = bottleneck::nodes(graph, &output, &name, tensors, None);
            graph.node("Add", &[&output, &added])
        }
        None => output,
    }
}
