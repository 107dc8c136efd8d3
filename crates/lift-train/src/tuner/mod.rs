//! Lightweight modules in the frozen tower: which there are, how large they are, how they are kept.
//!
//! A [`Tuner`] is a list of modules, one file each, that see the tower's blocks through [`lift_clip::Hooks`].
//! Their tensors are fp32 leaves with gradients; nothing else in the tower has one. Names in files are the authors'
//! (`image_encoder.blocks.0.adaptformer.down.weight`).

mod adaptformer;
mod init;
mod lora;

use std::{collections::BTreeMap, fmt};

use lift_clip::{Hooks, VisionConfig};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

pub use adaptformer::AdaptFormer;
pub use init::Init;
pub use lora::Lora;

use crate::error::{Error, Result};

/// The modules that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum TunerKind {
    /// A bottleneck parallel to each MLP (Chen et al. 2022).
    Adaptformer,
    /// Low-rank updates of query and value (Hu et al. 2022).
    Lora,
    /// No module: the classifier alone is tuned.
    None,
}

impl fmt::Display for TunerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Adaptformer => "adaptformer",
            Self::Lora => "lora",
            Self::None => "none",
        })
    }
}

impl TunerKind {
    /// The bottleneck dimension for K classes and L layers: `2^max(0, floor(log2(K / (c L))))`, c = 2 for AdaptFormer,
    /// 4 for LoRA, so that the module is about as large as the classifier (LIFT, section 4.3).
    pub fn automatic_size(self, num_classes: usize, num_layers: usize) -> Option<i64> {
        let matrices = match self {
            Self::Adaptformer => 2,
            Self::Lora => 4,
            Self::None => return None,
        };
        let mut size = 1;
        while size * 2 * matrices * num_layers <= num_classes {
            size *= 2;
        }
        Some(size as i64)
    }
}

/// One kind of module in all its layers.
#[derive(Debug)]
enum Module {
    AdaptFormer(AdaptFormer),
    Lora(Lora),
}

/// The modules that hang in a tower; none for classifier-only tuning.
#[derive(Debug, Default)]
pub struct Tuner {
    modules: Vec<Module>,
}

impl Tuner {
    /// Fresh modules in every block, of the given bottleneck dimension or the automatic one; they start as the identity.
    pub fn new(
        kind: TunerKind,
        size: Option<i64>,
        tower: &VisionConfig,
        num_classes: usize,
        seed: u64,
    ) -> Self {
        let mut init = Init::new(seed);
        let Some(size) = size.or(kind.automatic_size(num_classes, tower.layers)) else {
            return Self::default();
        };
        let module = match kind {
            TunerKind::Adaptformer => Module::AdaptFormer(AdaptFormer::new(tower, size, &mut init)),
            TunerKind::Lora => Module::Lora(Lora::new(tower, size, &mut init)),
            TunerKind::None => return Self::default(),
        };
        Self {
            modules: vec![module],
        }
    }

    /// Rebuilds modules from named tensors; which module, which layers and what size is read off names and shapes.
    ///
    /// # Errors
    /// When a tensor of a module is missing, does not fit `tower`, or is left over.
    pub fn from_tensors(
        mut tensors: BTreeMap<String, Tensor>,
        tower: &VisionConfig,
    ) -> Result<Self> {
        let mut modules = Vec::new();
        if tensors.keys().any(|name| name.contains(".adaptformer.")) {
            modules.push(Module::AdaptFormer(AdaptFormer::take(&mut tensors, tower)?));
        }
        if tensors.keys().any(|name| name.contains(".lora.")) {
            modules.push(Module::Lora(Lora::take(&mut tensors, tower)?));
        }
        match tensors.keys().next() {
            Some(name) => Err(Error::Tensors(format!("{name} belongs to no known tuner"))),
            None => Ok(Self { modules }),
        }
    }

    /// Every tensor under the name it has in files; they share memory with the modules.
    pub fn named_tensors(&self) -> Vec<(String, Tensor)> {
        let mut all = Vec::new();
        for module in &self.modules {
            match module {
                Module::AdaptFormer(module) => module.named(&mut all),
                Module::Lora(module) => module.named(&mut all),
            }
        }
        all
    }

    /// Moves the modules to `device` as leaves that require gradients.
    pub fn to_device(&mut self, device: Device) {
        let leaf = |tensor: &mut Tensor| {
            *tensor = tensor
                .detach()
                .to_device(device)
                .copy()
                .set_requires_grad(true)
        };
        for module in &mut self.modules {
            match module {
                Module::AdaptFormer(module) => module.tensors_mut().for_each(leaf),
                Module::Lora(module) => module.tensors_mut().for_each(leaf),
            }
        }
    }
}

impl Hooks for Tuner {
    fn qkv(&self, layer: usize, input: &Tensor, qkv: Tensor) -> Tensor {
        self.modules.iter().fold(qkv, |qkv, module| match module {
            Module::Lora(module) => module.qkv(layer, input, qkv),
            Module::AdaptFormer(_) => qkv,
        })
    }

    fn mlp(&self, layer: usize, input: &Tensor, output: Tensor) -> Tensor {
        self.modules
            .iter()
            .fold(output, |output, module| match module {
                Module::AdaptFormer(module) => module.mlp(layer, input, output),
                Module::Lora(_) => output,
            })
    }
}

/// The layers that have a tensor `image_encoder.blocks.N.<name>`, in order; none beyond the tower's.
fn layers_with(
    tensors: &BTreeMap<String, Tensor>,
    name: &str,
    tower: &VisionConfig,
) -> Result<Vec<usize>> {
    let layer = |key: &String| {
        let (number, rest) = key.strip_prefix("image_encoder.blocks.")?.split_once('.')?;
        (rest == name).then(|| number.parse().ok())?
    };
    let mut layers: Vec<usize> = tensors.keys().filter_map(layer).collect();
    layers.sort_unstable();
    match layers.last() {
        Some(&last) if last >= tower.layers => Err(Error::Tensors(format!(
            "{} is for block {last}, the model has {}",
            tensor_name(last, name),
            tower.layers
        ))),
        _ => Ok(layers),
    }
}

/// The name of a module's tensor in files.
fn tensor_name(layer: usize, name: &str) -> String {
    format!("image_encoder.blocks.{layer}.{name}")
}

/// The length of a dimension of a tensor that tells a module's size.
fn size_of(
    tensors: &BTreeMap<String, Tensor>,
    layer: usize,
    name: &str,
    dimension: usize,
) -> Result<i64> {
    let name = tensor_name(layer, name);
    let size = tensors
        .get(&name)
        .and_then(|t| t.size().get(dimension).copied());
    size.ok_or_else(|| Error::Tensors(format!("{name} is missing or has too few dimensions")))
}

/// Takes a tensor of this shape out of `tensors`, as fp32.
fn take(
    tensors: &mut BTreeMap<String, Tensor>,
    layer: usize,
    name: &str,
    shape: &[i64],
) -> Result<Tensor> {
    let name = tensor_name(layer, name);
    match tensors.remove(&name) {
        Some(tensor) if tensor.size() == shape => Ok(tensor.to_kind(tch::Kind::Float)),
        Some(tensor) => Err(Error::Tensors(format!(
            "{name} has shape {:?}, the model needs {shape:?}",
            tensor.size()
        ))),
        None => Err(Error::Tensors(format!("{name} is missing"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_sizes_equal_the_papers() {
        // 2^max(0, floor(log2(K / (2 L)))), by hand; ImageNet-LT, Places-LT, iNaturalist 2018, CIFAR-100 on 12 blocks.
        for (classes, expected) in [(1000, 32), (365, 8), (8142, 256), (100, 4), (10, 1)] {
            assert_eq!(
                TunerKind::Adaptformer.automatic_size(classes, 12),
                Some(expected),
                "{classes}"
            );
        }
        assert_eq!(TunerKind::Adaptformer.automatic_size(100, 3), Some(16));
        assert_eq!(TunerKind::Lora.automatic_size(1000, 12), Some(16));
        assert_eq!(TunerKind::Lora.automatic_size(100, 3), Some(8));
        assert_eq!(TunerKind::None.automatic_size(1000, 12), None);
    }
}
