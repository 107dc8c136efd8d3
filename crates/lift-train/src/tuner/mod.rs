//! Lightweight modules in the frozen tower: which there are, how large they are, how they are kept.
//!
//! A [`Tuner`] is a list of modules, one file each, that see the tower's blocks through [`lift_models::Hooks`].
//! Their tensors are fp32 leaves with gradients; nothing else in the tower has one. Names in files are the authors'
//! (`image_encoder.blocks.0.adaptformer.down.weight`).
//!
//! What is tuned between the two towers has a place of its own, [`crate::joint`].
//!
//! A module's file has its table of tensors and a function for each hook that it uses; here it stands in [`TunerKind`]
//! and in the matches below.

mod adapter;
mod adaptformer;
mod aft;
pub(crate) mod bottleneck;
mod choice;
mod init;
mod lora;
mod nodes;
mod slots;
mod ssf;
mod unfrozen;
mod vpt;

use std::{collections::BTreeMap, fmt};

use lift_models::{Hooks, MlpInput, Parameter, Place, VisionTower};
use tch::{Device, Kind, Tensor};

pub use aft::AftPlace;
pub use choice::{Choice, Layers, TunerOptions, Tuners};
pub use init::Init;
pub use lora::LoraTarget;

use crate::error::{Error, Result};
use slots::Slots;

/// Learned words of `coop`, unless a size or a phrase says otherwise (CoOp, section 4.1).
pub const USUAL_LENGTH: i64 = 4;

/// The modules that can be chosen, in the order in which they act where several act in one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TunerKind {
    /// Learned tokens before the first block (Jia et al. 2022).
    VptShallow,
    /// Learned tokens before every block (Jia et al. 2022).
    VptDeep,
    /// All of the blocks' own tensors.
    Full,
    /// The blocks' biases (Ben Zaken et al. 2022).
    Bitfit,
    /// The blocks' LayerNorms.
    LayerNorm,
    /// A random fraction of the linears' entries (LIFT).
    Aft,
    /// Low-rank updates, of query and value by default (Hu et al. 2022).
    Lora,
    /// Scale and shift after every linear (Lian et al. 2022).
    Ssf,
    /// A bottleneck after each MLP (Houlsby et al. 2019).
    Adapter,
    /// A bottleneck parallel to each MLP (Chen et al. 2022).
    Adaptformer,
    /// The projection into the joint space.
    Projection,
    /// The projections of both towers (the LIFT+ authors' code).
    ProjectionBoth,
    /// A bottleneck in the joint space (Gao et al. 2021).
    ClipAdapter,
    /// A bottleneck behind each tower, as the LIFT+ authors' code has it.
    ClipAdapterBoth,
    /// Learned words of the prompt (Zhou et al. 2022).
    Coop,
}

impl TunerKind {
    /// All modules.
    pub const ALL: [Self; 15] = [
        Self::VptShallow,
        Self::VptDeep,
        Self::Full,
        Self::Bitfit,
        Self::LayerNorm,
        Self::Aft,
        Self::Lora,
        Self::Ssf,
        Self::Adapter,
        Self::Adaptformer,
        Self::Projection,
        Self::ProjectionBoth,
        Self::ClipAdapter,
        Self::ClipAdapterBoth,
        Self::Coop,
    ];

    /// Those that go into one place and exclude each other.
    pub const APART: [[Self; 2]; 4] = [
        [Self::Projection, Self::ProjectionBoth],
        [Self::ClipAdapter, Self::ClipAdapterBoth],
        [Self::ProjectionBoth, Self::Coop],
        [Self::ClipAdapterBoth, Self::Coop],
    ];

    /// The size for K classes and L blocks that get the module: `2^max(0, floor(log2(K / (c L))))`, c being 2 for the
    /// bottlenecks, 4 for LoRA and 1 for VPT, so that the module is about as large as the classifier (LIFT, section
    /// 4.3); 4 for the words of CoOp and the authors' CLIP-Adapter; none where the module has no size, or one that follows from the tower.
    pub fn automatic_size(self, num_classes: usize, num_layers: usize) -> Option<i64> {
        if matches!(self, Self::Coop | Self::ClipAdapterBoth) {
            return Some(USUAL_LENGTH);
        }
        let matrices = self.matrices()?;
        let num_layers = match self {
            Self::VptShallow => 1,
            _ => num_layers,
        };
        let mut size = 1;
        while size * 2 * matrices * num_layers.max(1) <= num_classes {
            size *= 2;
        }
        Some(size as i64)
    }

    /// How many matrices of the module's size and the tower's width a block gets.
    fn matrices(self) -> Option<usize> {
        match self {
            Self::Adaptformer | Self::Adapter => Some(2),
            Self::Lora => Some(4),
            Self::VptShallow | Self::VptDeep => Some(1),
            Self::Full | Self::Bitfit | Self::LayerNorm | Self::Aft | Self::Ssf => None,
            Self::Projection | Self::ProjectionBoth | Self::ClipAdapter | Self::ClipAdapterBoth => {
                None
            }
            Self::Coop => None,
        }
    }

    /// Whether a size can be given.
    pub fn has_size(self) -> bool {
        let sized = [Self::ClipAdapter, Self::ClipAdapterBoth, Self::Coop];
        self.matrices().is_some() || sized.contains(&self)
    }

    /// Whether it is a part of [`crate::joint::Joint`], between the two towers, and not of the image tower's blocks.
    pub fn is_between_towers(self) -> bool {
        self == Self::Projection || self == Self::ClipAdapter || self.tunes_texts()
    }

    /// Whether it is tuned through the class texts, which the run then makes itself.
    pub fn tunes_texts(self) -> bool {
        matches!(
            self,
            Self::ProjectionBoth | Self::ClipAdapterBoth | Self::Coop
        )
    }

    /// Whether a block with the module is a block with other tensors, and nothing else ([`VisionTower::absorb`]).
    pub fn folds(self) -> bool {
        self.tunes_own_tensors() || matches!(self, Self::Lora | Self::Ssf)
    }

    /// Whether the module stands in the place of tensors of the blocks.
    fn tunes_own_tensors(self) -> bool {
        matches!(
            self,
            Self::Full | Self::Bitfit | Self::LayerNorm | Self::Aft
        )
    }
}

impl fmt::Display for TunerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VptShallow => "vpt-shallow",
            Self::VptDeep => "vpt-deep",
            Self::Full => "full",
            Self::Bitfit => "bitfit",
            Self::LayerNorm => "layer-norm",
            Self::Aft => "aft",
            Self::Lora => "lora",
            Self::Ssf => "ssf",
            Self::Adapter => "adapter",
            Self::Adaptformer => "adaptformer",
            Self::Projection => "projection",
            Self::ProjectionBoth => "projection-both",
            Self::ClipAdapter => "clip-adapter",
            Self::ClipAdapterBoth => "clip-adapter-both",
            Self::Coop => "coop",
        })
    }
}

/// One kind of module in all its blocks.
#[derive(Debug)]
struct Module {
    kind: TunerKind,
    slots: Slots,
}

/// The modules that hang in a tower; none for classifier-only tuning.
#[derive(Debug, Default)]
pub struct Tuner {
    modules: Vec<Module>,
}

impl Tuner {
    /// Fresh modules for a tower that is still in fp32; all but VPT and SSF start as the identity.
    ///
    /// # Errors
    /// When the tower lacks a block that was asked for.
    pub fn new(options: &TunerOptions, tower: &VisionTower, num_classes: usize) -> Result<Self> {
        let mut init = Init::new(options.seed);
        let layers = options.layers.of(tower.resblocks.len());
        let layers = layers.map_err(Error::Usage)?;
        let mut modules: Vec<Module> = Vec::new();
        for &Choice { kind, size } in options.tuners.choices() {
            let automatic = kind.automatic_size(num_classes, layers.len());
            // A module without a size does not look at it.
            let size = size.or(options.size).or(automatic).unwrap_or(1);
            let mut table = |parts: &[slots::TensorSpec], layers: &[usize]| {
                Slots::fresh(parts, layers, tower, size, &mut init)
            };
            let slots = match kind {
                TunerKind::VptShallow => table(&vpt::PARTS, &layers[..1]),
                TunerKind::VptDeep => table(&vpt::PARTS, &layers),
                TunerKind::Full => unfrozen::fresh(&unfrozen::full(), &layers, tower),
                TunerKind::Bitfit => unfrozen::fresh(&unfrozen::biases(), &layers, tower),
                TunerKind::LayerNorm => {
                    let mut which = unfrozen::layer_norms();
                    if modules
                        .iter()
                        .any(|module| module.kind == TunerKind::Bitfit)
                    {
                        which.retain(|which| matches!(which, Parameter::Weight(_)));
                    }
                    unfrozen::fresh(&which, &layers, tower)
                }
                TunerKind::Aft => {
                    let (place, ratio) = (options.aft_place, options.aft_ratio);
                    aft::fresh(place, ratio, &layers, tower, num_classes, &mut init)
                }
                TunerKind::Lora => {
                    let targets = options.lora_targets.iter();
                    let parts: Vec<_> = targets.flat_map(|target| target.parts()).collect();
                    table(&parts, &layers)
                }
                TunerKind::Ssf => table(&ssf::PARTS, &layers),
                TunerKind::Adapter => table(&adapter::PARTS, &layers),
                TunerKind::Adaptformer => table(&adaptformer::PARTS, &layers),
                TunerKind::Projection | TunerKind::ProjectionBoth => continue,
                TunerKind::ClipAdapter | TunerKind::ClipAdapterBoth | TunerKind::Coop => continue,
            };
            modules.push(Module { kind, slots });
        }
        Ok(Self { modules })
    }

    /// Rebuilds modules from named tensors; which module, which blocks and what size is read off names and shapes.
    ///
    /// # Errors
    /// When a tensor of a module is missing, does not fit `tower`, or is left over.
    pub fn from_tensors(tensors: BTreeMap<String, Tensor>, tower: &VisionTower) -> Result<Self> {
        let mut found = Slots::parse(tensors, tower)?;
        let mut modules = Vec::new();
        for kind in TunerKind::ALL {
            let slots = match kind {
                TunerKind::VptDeep => Slots::take(&mut found, &vpt::PARTS, tower)?,
                TunerKind::Full => unfrozen::take(&mut found, tower)?,
                // Their tensors are a part of the kinds' before.
                TunerKind::VptShallow | TunerKind::Bitfit | TunerKind::LayerNorm => continue,
                TunerKind::Projection | TunerKind::ProjectionBoth => continue,
                TunerKind::ClipAdapter | TunerKind::ClipAdapterBoth | TunerKind::Coop => continue,
                TunerKind::Aft => aft::take(&mut found, tower)?,
                TunerKind::Lora => {
                    let mut slots = Slots::default();
                    for target in LoraTarget::ALL {
                        slots.extend(Slots::take(&mut found, &target.parts(), tower)?);
                    }
                    slots
                }
                TunerKind::Ssf => Slots::take(&mut found, &ssf::PARTS, tower)?,
                TunerKind::Adapter => Slots::take(&mut found, &adapter::PARTS, tower)?,
                TunerKind::Adaptformer => Slots::take(&mut found, &adaptformer::PARTS, tower)?,
            };
            if slots.layers().next().is_some() {
                modules.push(Module { kind, slots });
            }
        }
        match found.named().next() {
            Some((name, _)) => Err(Error::Tensors(format!("{name} belongs to no known tuner"))),
            None => Ok(Self { modules }),
        }
    }

    /// What the modules are called on the command line, as far as their tensors tell: prompts before one block
    /// alone are `vpt-shallow`; a block's own tensors are `bitfit` if all are biases, `layer-norm` if all are
    /// LayerNorms', else `full`.
    pub fn kinds(&self) -> Vec<TunerKind> {
        let kind = |module: &Module| match module.kind {
            TunerKind::VptDeep if module.slots.layers().count() == 1 => TunerKind::VptShallow,
            TunerKind::Full => {
                let mut names = module.slots.local_names();
                let mut names_again = module.slots.local_names();
                if names.all(|name| name.ends_with("_bias")) {
                    TunerKind::Bitfit
                } else if names_again.all(|name| name.starts_with("norm")) {
                    TunerKind::LayerNorm
                } else {
                    TunerKind::Full
                }
            }
            kind => kind,
        };
        let mut kinds: Vec<TunerKind> = self.modules.iter().map(kind).collect();
        kinds.sort_unstable();
        kinds
    }

    /// The first block that has a module, below which nothing needs a gradient.
    pub fn first_block(&self) -> Option<usize> {
        let firsts = self.modules.iter();
        firsts
            .filter_map(|module| module.slots.layers().next())
            .min()
    }

    /// Every tuned tensor under the name it has in files; they share memory with the modules.
    pub fn named_tensors(&self) -> Vec<(String, Tensor)> {
        self.named(|tensor| tensor.kind() != Kind::Bool)
    }

    /// What the modules need besides, and is not tuned: AFT's masks.
    pub fn constants(&self) -> Vec<(String, Tensor)> {
        self.named(|tensor| tensor.kind() == Kind::Bool)
    }

    fn named(&self, wanted: impl Fn(&Tensor) -> bool) -> Vec<(String, Tensor)> {
        let all = self.modules.iter().flat_map(|module| module.slots.named());
        all.filter(|(_, tensor)| wanted(tensor))
            .map(|(name, tensor)| (name, tensor.shallow_clone()))
            .collect()
    }

    /// Moves the modules to `device`, what is tuned as leaves that require gradients.
    pub fn to_device(&mut self, device: Device) {
        for module in &mut self.modules {
            for tensor in module.slots.values_mut() {
                let tuned = tensor.kind() != Kind::Bool;
                *tensor = tensor.detach().to_device(device).copy();
                *tensor = tensor.set_requires_grad(tuned);
            }
        }
    }

    /// Lets every module in turn change `value`.
    fn through<T>(&self, value: T, mut change: impl FnMut(TunerKind, &Slots, T) -> T) -> T {
        let modules = self.modules.iter();
        modules.fold(value, |value, module| {
            change(module.kind, &module.slots, value)
        })
    }
}

impl Hooks for Tuner {
    fn changes(&self, layer: usize, place: Place) -> bool {
        let changes = |Module { kind, slots }: &Module| match kind {
            TunerKind::Full
            | TunerKind::Bitfit
            | TunerKind::LayerNorm
            | TunerKind::Aft
            | TunerKind::Ssf => slots.layers().any(|tuned| tuned == layer),
            TunerKind::Lora => lora::changes(slots, layer, place),
            _ => false,
        };
        self.modules.iter().any(changes)
    }

    fn tokens(&self, layer: usize, x: Tensor) -> Tensor {
        self.through(x, |kind, slots, x| match kind {
            TunerKind::VptShallow | TunerKind::VptDeep => vpt::tokens(slots, layer, x),
            _ => x,
        })
    }

    fn parameter(&self, layer: usize, which: Parameter, frozen: &Tensor) -> Tensor {
        self.through(frozen.shallow_clone(), |kind, slots, tensor| match kind {
            TunerKind::Full | TunerKind::Bitfit | TunerKind::LayerNorm => {
                unfrozen::parameter(slots, layer, which, tensor)
            }
            TunerKind::Aft => aft::parameter(slots, layer, which, tensor),
            _ => tensor,
        })
    }

    fn linear(&self, layer: usize, place: Place, input: &Tensor, output: Tensor) -> Tensor {
        self.through(output, |kind, slots, output| match kind {
            TunerKind::Lora => lora::linear(slots, layer, place, input, output),
            TunerKind::Ssf => ssf::linear(slots, layer, place, output),
            _ => output,
        })
    }

    fn mlp(&self, layer: usize, input: MlpInput, output: Tensor) -> Tensor {
        self.through(output, |kind, slots, output| match kind {
            TunerKind::Adapter => adapter::mlp(slots, layer, output),
            TunerKind::Adaptformer => adaptformer::mlp(slots, layer, input, output),
            _ => output,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_sizes_equal_the_papers() {
        // 2^max(0, floor(log2(K / (2 L)))), by hand; ImageNet-LT, Places-LT, iNaturalist 2018, CIFAR-100 on 12 blocks.
        for (classes, expected) in [(1000, 32), (365, 8), (8142, 256), (100, 4), (10, 1)] {
            for kind in [TunerKind::Adaptformer, TunerKind::Adapter] {
                assert_eq!(
                    kind.automatic_size(classes, 12),
                    Some(expected),
                    "{classes}"
                );
            }
        }
        assert_eq!(TunerKind::Adaptformer.automatic_size(100, 3), Some(16));
        assert_eq!(TunerKind::Lora.automatic_size(1000, 12), Some(16));
        assert_eq!(TunerKind::Lora.automatic_size(100, 3), Some(8));
        assert_eq!(TunerKind::VptDeep.automatic_size(100, 3), Some(32));
        assert_eq!(TunerKind::VptShallow.automatic_size(100, 3), Some(64));
        assert_eq!(TunerKind::Ssf.automatic_size(1000, 12), None);
    }
}
