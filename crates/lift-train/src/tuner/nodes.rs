//! What modules add to a block, as nodes of an ONNX graph.
//!
//! What they do to the block's own tensors and to its linears' outputs is multiplied into those tensors by [`crate::onnx`],
//! through [`lift_models::Hooks`]; here is what has to be computed beside them. Invariant: the nodes compute what the hooks of
//! the same name do.

use super::{Tuner, TunerKind, adapter, adaptformer, vpt};
use crate::onnx::graph::{Graph, Value};

impl Tuner {
    /// As [`lift_models::Hooks::tokens`]: the tokens (b, n, d) that enter a block.
    pub(crate) fn token_nodes(&self, layer: usize, graph: &mut Graph, x: Value) -> Value {
        self.through(x, |kind, slots, x| match kind {
            TunerKind::VptShallow | TunerKind::VptDeep => vpt::nodes(slots, layer, graph, x),
            TunerKind::Adapter | TunerKind::Adaptformer => x,
            // In the block's tensors.
            TunerKind::Full | TunerKind::Bitfit | TunerKind::LayerNorm | TunerKind::Aft => x,
            TunerKind::Lora | TunerKind::Ssf => x,
            // Not in a block.
            TunerKind::Projection | TunerKind::ProjectionBoth => x,
            TunerKind::ClipAdapter | TunerKind::ClipAdapterBoth | TunerKind::Coop => x,
        })
    }

    /// As [`lift_models::Hooks::mlp`]: the output of a block's MLP (b, n, d), `tokens` being what its LayerNorm saw.
    pub(crate) fn mlp_nodes(
        &self,
        layer: usize,
        graph: &mut Graph,
        tokens: &Value,
        output: Value,
    ) -> Value {
        self.through(output, |kind, slots, output| match kind {
            TunerKind::Adapter => adapter::nodes(slots, layer, graph, output),
            TunerKind::Adaptformer => adaptformer::nodes(slots, layer, graph, tokens, output),
            TunerKind::VptShallow | TunerKind::VptDeep => output,
            // In the block's tensors.
            TunerKind::Full | TunerKind::Bitfit | TunerKind::LayerNorm | TunerKind::Aft => output,
            TunerKind::Lora | TunerKind::Ssf => output,
            // Not in a block.
            TunerKind::Projection | TunerKind::ProjectionBoth => output,
            TunerKind::ClipAdapter | TunerKind::ClipAdapterBoth | TunerKind::Coop => output,
        })
    }
}
