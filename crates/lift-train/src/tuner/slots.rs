//! Tensors of a module by block and name, and the tables that say which tensors a module has.
//!
//! A [`TensorSpec`] is one tensor of a module in every block: its name, its shape and how it starts. Fresh modules and those
//! read from files follow the same tables, so what is written is read back. Invariant: every tensor in [`Slots`] has
//! the shape that its table asks for.

use std::collections::BTreeMap;

use lift_models::{Parameter, Place, VisionTower};
use tch::{Kind, Tensor};

use super::init::Init;
pub(super) use super::init::Start;
use crate::error::{Error, Result};

const BLOCKS: &str = "image_encoder.blocks.";

/// The name in files of a block's tensor, or of several that begin alike.
pub(super) fn name(layer: usize, rest: &str) -> String {
    format!("{BLOCKS}{layer}.{rest}")
}

/// Tensors by block and by the rest of their name.
#[derive(Debug, Default)]
pub(super) struct Slots(BTreeMap<usize, BTreeMap<String, Tensor>>);

/// One tensor of a module.
#[derive(Clone, Copy, Debug)]
pub(super) struct TensorSpec {
    pub name: &'static str,
    pub shape: &'static [Length],
    pub start: Start,
}

/// The length of a dimension.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// The tower's width.
    Width,
    /// How many numbers the linear at this place gives.
    Output(Place),
    /// The module's own size: bottleneck dimension, rank, number of tokens.
    Size,
}

impl TensorSpec {
    fn shape(&self, tower: &VisionTower, size: i64) -> Vec<i64> {
        let length = |length: &Length| match *length {
            Length::Width => tower.config().width,
            Length::Output(place) => tower.resblocks[0].parameter(Parameter::Bias(place)).size()[0],
            Length::Size => size,
        };
        self.shape.iter().map(length).collect()
    }

    /// The module's size that a tensor of this part tells, if it tells any.
    fn size_in(&self, tensor: &Tensor) -> Option<i64> {
        let dimension = self.shape.iter().position(|l| matches!(l, Length::Size))?;
        tensor.size().get(dimension).copied()
    }
}

impl Slots {
    /// Sorts named tensors into blocks.
    ///
    /// # Errors
    /// When a name is no block's, or the tower has no such block.
    pub fn parse(tensors: BTreeMap<String, Tensor>, tower: &VisionTower) -> Result<Self> {
        let blocks = tower.resblocks.len();
        let mut slots = Self::default();
        for (name, tensor) in tensors {
            let in_block = || {
                let (number, rest) = name.strip_prefix(BLOCKS)?.split_once('.')?;
                Some((number.parse::<usize>().ok()?, rest))
            };
            match in_block() {
                Some((layer, rest)) if layer < blocks => slots.insert(layer, rest, tensor),
                Some((layer, _)) => {
                    return Err(Error::Tensors(format!(
                        "{name} is for block {layer}, the model has {blocks}"
                    )));
                }
                None => return Err(Error::Tensors(format!("{name} belongs to no known tuner"))),
            }
        }
        Ok(slots)
    }

    /// Fresh tensors of `parts` in these blocks.
    pub fn fresh(
        parts: &[TensorSpec],
        layers: &[usize],
        tower: &VisionTower,
        size: i64,
        init: &mut Init,
    ) -> Self {
        let mut slots = Self::default();
        for &layer in layers {
            for part in parts {
                let shape = part.shape(tower, size);
                slots.insert(layer, part.name, init.draw(part.start, &shape));
            }
        }
        slots
    }

    /// Moves `parts` out of `found`, in every block that has one of them; the size is read off their shapes.
    ///
    /// # Errors
    /// When a block lacks one of them, or a shape does not fit.
    pub fn take(found: &mut Self, parts: &[TensorSpec], tower: &VisionTower) -> Result<Self> {
        let mut slots = Self::default();
        let has_any = |layer: &usize| {
            parts
                .iter()
                .any(|part| found.get(*layer, part.name).is_some())
        };
        let layers: Vec<usize> = found.layers().filter(has_any).collect();
        for layer in layers {
            let size = |part: &TensorSpec| part.size_in(found.get(layer, part.name)?);
            let size = parts.iter().find_map(size).unwrap_or(1);
            for part in parts {
                let tensor = found.take_one(layer, part.name, &part.shape(tower, size))?;
                slots.insert(layer, part.name, tensor.to_kind(Kind::Float));
            }
        }
        Ok(slots)
    }

    /// Moves one tensor of this shape out, in the kind it is stored in.
    ///
    /// # Errors
    /// When it is missing or has another shape.
    pub fn take_one(&mut self, layer: usize, name: &str, shape: &[i64]) -> Result<Tensor> {
        let full = || self::name(layer, name);
        let removed = self.0.get_mut(&layer).and_then(|block| block.remove(name));
        match removed {
            Some(tensor) if tensor.size() == shape => Ok(tensor),
            Some(tensor) => Err(Error::Tensors(format!(
                "{} has shape {:?}, the model needs {shape:?}",
                full(),
                tensor.size()
            ))),
            None => Err(Error::Tensors(format!("{} is missing", full()))),
        }
    }

    pub fn insert(&mut self, layer: usize, name: &str, tensor: Tensor) {
        self.0
            .entry(layer)
            .or_default()
            .insert(name.to_owned(), tensor);
    }

    pub fn extend(&mut self, other: Self) {
        for (layer, block) in other.0 {
            self.0.entry(layer).or_default().extend(block);
        }
    }

    pub fn get(&self, layer: usize, name: &str) -> Option<&Tensor> {
        self.0.get(&layer)?.get(name)
    }

    /// The tensors of `parts` in a block, or `None` where the module is not in it.
    pub fn all<const N: usize>(
        &self,
        layer: usize,
        parts: &[TensorSpec; N],
    ) -> Option<[&Tensor; N]> {
        let found: Option<Vec<&Tensor>> = parts
            .iter()
            .map(|part| self.get(layer, part.name))
            .collect();
        found?.try_into().ok()
    }

    /// The blocks that have a tensor, in order.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = usize> {
        let some = self.0.iter().filter(|(_, block)| !block.is_empty());
        some.map(|(&layer, _)| layer)
    }

    /// The names within their blocks.
    pub fn local_names(&self) -> impl Iterator<Item = &str> {
        self.0.values().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Every tensor under its name in files.
    pub fn named(&self) -> impl Iterator<Item = (String, &Tensor)> {
        self.0.iter().flat_map(|(layer, block)| {
            block
                .iter()
                .map(move |(rest, tensor)| (name(*layer, rest), tensor))
        })
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        self.0.values_mut().flat_map(BTreeMap::values_mut)
    }
}
