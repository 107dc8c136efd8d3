//! AdaptFormer (Chen et al. 2022, arXiv 2205.13535): a bottleneck parallel to the MLP.
//!
//! `mlp(norm2(x)) + s * up(relu(down(LN(x))))`, with its own LayerNorm (eps 1e-5) and a learned scalar s that starts
//! at 1. `up` starts at zero, so that training starts at the frozen model.

use std::collections::BTreeMap;

use lift_clip::VisionConfig;
use tch::{Kind, Tensor};

use super::{init::Init, layers_with, size_of, take, tensor_name};
use crate::error::Result;

const NAMES: [&str; 7] = [
    "adaptformer.norm.weight",
    "adaptformer.norm.bias",
    "adaptformer.down.weight",
    "adaptformer.down.bias",
    "adaptformer.up.weight",
    "adaptformer.up.bias",
    "adaptformer.scale",
];

/// The module's tensors of one layer, in the order of [`NAMES`]:
/// (d), (d), (r, d), (r), (d, r), (d), scalar.
type Layer = [Tensor; 7];

/// AdaptFormer in some or all blocks.
#[derive(Debug)]
pub struct AdaptFormer {
    layers: BTreeMap<usize, Layer>,
}

impl AdaptFormer {
    /// Fresh modules of bottleneck dimension `size` in every block.
    pub fn new(tower: &VisionConfig, size: i64, init: &mut Init) -> Self {
        let d = tower.width;
        let mut layer = || {
            let down = init.kaiming_uniform([size, d]);
            let (ones, zeros) = (|s: &[i64]| init.ones(s), |s: &[i64]| init.zeros(s));
            [
                ones(&[d]),
                zeros(&[d]),
                down,
                zeros(&[size]),
                zeros(&[d, size]),
                zeros(&[d]),
                ones(&[]),
            ]
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
        for i in layers_with(tensors, "adaptformer.down.weight", tower)? {
            let r = size_of(tensors, i, "adaptformer.down.weight", 0)?;
            let shapes: [Vec<i64>; 7] = [
                vec![d],
                vec![d],
                vec![r, d],
                vec![r],
                vec![d, r],
                vec![d],
                vec![],
            ];
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

    pub(super) fn mlp(&self, layer: usize, input: &Tensor, output: Tensor) -> Tensor {
        let Some([norm_weight, norm_bias, down, down_bias, up, up_bias, scale]) =
            self.layers.get(&layer)
        else {
            return output;
        };
        let kind = output.kind();
        let cast = |t: &Tensor| t.to_kind(kind);
        let d = norm_weight.size()[0];
        let x = input
            .to_kind(Kind::Float)
            .layer_norm([d], Some(norm_weight), Some(norm_bias), 1e-5, true)
            .to_kind(kind);
        let hidden = x.linear(&cast(down), Some(&cast(down_bias))).relu();
        output + hidden.linear(&cast(up), Some(&cast(up_bias))) * cast(scale)
    }
}
