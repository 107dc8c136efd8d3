//! An adapter of the joint space as the LIFT+ authors' code has it: `z + up(relu(down(LN(z))))`.
//!
//! CLIP-Adapter's paper (Gao et al. 2021, section 3.2) mixes another bottleneck with z by a fixed share; this one starts as the
//! identity.

use std::collections::BTreeMap;

use tch::{Kind, Tensor, kind::FLOAT_CPU};

use super::misfit;
use crate::{
    error::{Error, Result},
    onnx::graph::{Graph, Value},
    tuner::{Init, bottleneck},
};

const PARTS: [&str; 6] = [
    "norm.weight",
    "norm.bias",
    "down.weight",
    "down.bias",
    "up.weight",
    "up.bias",
];

/// Norm (e), (e), down (r, e), (r), up (e, r), (e).
#[derive(Debug)]
pub(super) struct Residual([Tensor; 6]);

impl Residual {
    /// For a joint space so wide.
    pub fn new(e: i64, r: i64, init: &mut Init) -> Self {
        let zeros = |shape: &[i64]| Tensor::zeros(shape, FLOAT_CPU);
        Self([
            Tensor::ones([e], FLOAT_CPU),
            zeros(&[e]),
            init.kaiming(&[r, e]),
            zeros(&[r]),
            zeros(&[e, r]),
            zeros(&[e]),
        ])
    }

    /// Takes the tensors under `name` out of others, where there are any.
    ///
    /// # Errors
    /// When one is missing, or does not fit a joint space so wide.
    pub fn take(
        name: &str,
        tensors: &mut BTreeMap<String, Tensor>,
        width: Option<i64>,
    ) -> Result<Option<Self>> {
        let keys = PARTS.map(|part| format!("{name}.{part}"));
        let found: Vec<Option<Tensor>> = keys.iter().map(|key| tensors.remove(key)).collect();
        if found.iter().all(Option::is_none) {
            return Ok(None);
        }
        let mut all = Vec::with_capacity(PARTS.len());
        for (tensor, key) in found.into_iter().zip(&keys) {
            let tensor = tensor.ok_or_else(|| Error::Tensors(format!("{key} is missing")))?;
            all.push(tensor.to_kind(Kind::Float));
        }
        let all: [Tensor; 6] = all.try_into().expect("as many as there are parts");
        let e = width.unwrap_or_default();
        let r = all[2].size()[0];
        let shapes: [&[i64]; 6] = [&[e], &[e], &[r, e], &[r], &[e, r], &[e]];
        for ((tensor, shape), key) in all.iter().zip(shapes).zip(&keys) {
            if tensor.size() != shape {
                return Err(misfit(key, tensor));
            }
        }
        Ok(Some(Self(all)))
    }

    /// Embeddings (b, e) -> (b, e).
    pub fn forward(&self, embeds: &Tensor) -> Tensor {
        let standardised = bottleneck::standardise(embeds);
        embeds + bottleneck::forward(&standardised, self.0.each_ref(), None)
    }

    /// As [`Residual::forward`], as nodes.
    pub fn nodes(&self, graph: &mut Graph, name: &str, embeds: &Value) -> Value {
        let added = bottleneck::nodes(graph, embeds, name, self.0.each_ref(), None);
        graph.node("Add", &[embeds, &added])
    }

    pub fn named(&self, name: &str) -> Vec<(String, &Tensor)> {
        let names = PARTS.map(|part| format!("{name}.{part}"));
        names.into_iter().zip(&self.0).collect()
    }

    pub fn tensors_mut(&mut self) -> &mut [Tensor; 6] {
        &mut self.0
    }
}
