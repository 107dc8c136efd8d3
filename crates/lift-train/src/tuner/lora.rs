//! LoRA (Hu et al. 2022, arXiv 2106.09685) on query and value: `x down up / r` is added to the projection.
//!
//! `up` starts at zero, so that training starts at the frozen model.

use std::collections::BTreeMap;

use lift_clip::VisionConfig;
use tch::Tensor;

use super::{init::Init, layers_with, size_of, take, tensor_name};
use crate::error::Result;

const NAMES: [&str; 4] = [
    "attn.lora.q.down",
    "attn.lora.q.up",
    "attn.lora.v.down",
    "attn.lora.v.up",
];

/// The module's tensors of one layer, in the order of [`NAMES`]: (d, r), (r, d), (d, r), (r, d).
type Layer = [Tensor; 4];

/// LoRA in some or all blocks.
#[derive(Debug)]
pub struct Lora {
    layers: BTreeMap<usize, Layer>,
}

impl Lora {
    /// Fresh modules of rank `size` in every block.
    pub fn new(tower: &VisionConfig, size: i64, init: &mut Init) -> Self {
        let d = tower.width;
        let mut layer = || {
            let (q, v) = (
                init.kaiming_uniform([d, size]),
                init.kaiming_uniform([d, size]),
            );
            [q, init.zeros(&[size, d]), v, init.zeros(&[size, d])]
        };
        Self {
            layers: (0..tower.layers).map(|i| (i, layer())).collect(),
        }
    }

    pub(super) fn take(
        tensors: &mut BTreeMap<String, Tensor>,
        tower: &VisionConfig,
    ) -> Result<Self> {
        let d = tower.width;
        let mut layers = BTreeMap::new();
        for i in layers_with(tensors, "attn.lora.q.down", tower)? {
            let r = size_of(tensors, i, "attn.lora.q.down", 1)?;
            let shapes: [Vec<i64>; 4] = [vec![d, r], vec![r, d], vec![d, r], vec![r, d]];
            let mut taken = Vec::with_capacity(NAMES.len());
            for (name, shape) in NAMES.iter().zip(&shapes) {
                taken.push(take(tensors, i, name, shape)?);
            }
            layers.insert(i, taken.try_into().expect("as many tensors as names"));
        }
        Ok(Self { layers })
    }

    pub(super) fn named(&self, all: &mut Vec<(String, Tensor)>) {
        for (&i, layer) in &self.layers {
            all.extend(
                NAMES
                    .iter()
                    .zip(layer)
                    .map(|(name, t)| (tensor_name(i, name), t.shallow_clone())),
            );
        }
    }

    pub(super) fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.layers.values_mut().flatten()
    }

    pub(super) fn qkv(&self, layer: usize, input: &Tensor, qkv: Tensor) -> Tensor {
        let Some([q_down, q_up, v_down, v_up]) = self.layers.get(&layer) else {
            return qkv;
        };
        let kind = qkv.kind();
        let update = |down: &Tensor, up: &Tensor| {
            let rank = down.size()[1] as f64;
            input.matmul(&down.to_kind(kind)).matmul(&up.to_kind(kind)) / rank
        };
        let parts = qkv.chunk(3, -1);
        Tensor::cat(
            &[
                &parts[0] + update(q_down, q_up),
                parts[1].shallow_clone(),
                &parts[2] + update(v_down, v_up),
            ],
            -1,
        )
    }
}
