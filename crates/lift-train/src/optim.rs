//! Optimisers over the tuned tensors: modules and classifier are a group each, with a learning rate of their own.
//!
//! [`sgd`] and [`adamw`] hold the rules, [`schedule`] the learning rate over time, `clip` a bound on gradients,
//! [`scaler`] their factor in fp16. Nothing here waits for the device but what says so. Invariant: from the state of an
//! optimiser, and the same gradients, the same steps follow bit for bit.

pub mod adamw;
mod clip;
mod flat;
pub mod scaler;
pub mod schedule;
pub mod sgd;

use std::{collections::BTreeMap, fmt};

use lift_models::Precision;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use flat::Flat;

pub use adamw::AdamW;
pub use scaler::LossScaler;
pub use schedule::{Schedule, ScheduleKind, cosine_lr};
pub use sgd::Sgd;

use crate::{
    error::{Error, Result},
    model::TunedModel,
};

/// The rules that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserKind {
    /// Stochastic gradient descent with momentum.
    #[default]
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019), betas 0.9 and 0.999.
    Adamw,
}

impl fmt::Display for OptimiserKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sgd => "sgd",
            Self::Adamw => "adamw",
        })
    }
}

/// A rule with the state that it has of its tensors.
#[derive(Debug)]
enum Rule {
    Sgd(Sgd),
    AdamW(AdamW),
}

impl Rule {
    fn flat(&mut self) -> &mut Flat {
        match self {
            Self::Sgd(sgd) => &mut sgd.flat,
            Self::AdamW(adamw) => &mut adamw.flat,
        }
    }
}

/// Tensors with one learning rate.
#[derive(Debug)]
struct Group {
    name: &'static str,
    lr: f64,
    rule: Rule,
}

/// What an optimiser does.
#[derive(Clone, Copy, Debug)]
pub struct OptimSettings {
    /// Which rule.
    pub optimizer: OptimiserKind,
    /// Learning rate of the modules.
    pub lr: f64,
    /// That of the classifier.
    pub head_lr: f64,
    /// Of SGD.
    pub momentum: f64,
    /// Decay of weights.
    pub weight_decay: f64,
    /// The largest norm of all gradients; `None`: any.
    pub clip_grad: Option<f64>,
    /// In fp16 losses are scaled.
    pub precision: Precision,
}

/// The groups of a model that have tensors.
#[derive(Debug)]
pub struct Optimiser {
    groups: Vec<Group>,
    largest_norm: Option<f64>,
    scaler: Option<LossScaler>,
}

impl Optimiser {
    /// Over what is tuned of `model` and not frozen, whose tensors become views of the optimiser's memory.
    pub fn new(model: &TunedModel, settings: OptimSettings) -> Self {
        let group = |name, lr, tensors: Vec<(String, Tensor)>| {
            // By name: fresh modules and those of a checkpoint may come in another order.
            let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
            let tensors = tensors.into_values().filter(Tensor::requires_grad);
            let tensors: Vec<Tensor> = tensors.collect();
            let decay = settings.weight_decay;
            (!tensors.is_empty()).then(|| Group {
                name,
                lr,
                rule: match settings.optimizer {
                    OptimiserKind::Sgd => Rule::Sgd(Sgd::new(tensors, settings.momentum, decay)),
                    OptimiserKind::Adamw => Rule::AdamW(AdamW::new(tensors, decay)),
                },
            })
        };
        let modules = group("modules", settings.lr, model.modules());
        let classifier = group("classifier", settings.head_lr, model.classifier.named());
        let scales = settings.precision == Precision::Fp16;
        Self {
            groups: modules.into_iter().chain(classifier).collect(),
            largest_norm: settings.clip_grad,
            scaler: scales.then(|| LossScaler::new(model.visual.device())),
        }
    }

    /// Forgets the gradients of the last step.
    pub fn zero_grad(&mut self) {
        let groups = self.groups.iter_mut();
        groups.for_each(|group| group.rule.flat().zero_grad());
    }

    /// The factor that losses must have before `backward`, in fp16.
    pub fn scaler(&self) -> Option<&LossScaler> {
        self.scaler.as_ref()
    }

    /// One step of every group with its learning rate at this time. In fp16 it is left out where a gradient overflowed.
    ///
    /// # Errors
    /// When libtorch refuses it.
    pub fn step(&mut self, schedule: &Schedule, epoch: usize, step: usize) -> Result<()> {
        let Self {
            groups,
            largest_norm,
            scaler,
        } = self;
        let mut gradients = Vec::with_capacity(groups.len());
        for group in groups.iter_mut() {
            gradients.push(group.rule.flat().gradients.shallow_clone());
        }
        let overflow = match scaler {
            Some(scaler) => Some(scaler.unscale(gradients.iter())?),
            None => None,
        };
        if let Some(norm) = largest_norm.filter(|_| !gradients.is_empty()) {
            clip::clip_gradients(gradients.iter(), norm);
        }
        for group in groups {
            let lr = schedule.lr(group.lr, epoch, step);
            match &mut group.rule {
                Rule::Sgd(sgd) => sgd.step(lr, overflow)?,
                Rule::AdamW(adamw) => adamw.step(lr, overflow)?,
            }
        }
        Ok(())
    }

    /// Copies of all that the rules keep, by names of their own.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let of_group = |group: &Group| {
            let state = match &group.rule {
                Rule::Sgd(sgd) => sgd.state(),
                Rule::AdamW(adamw) => adamw.state(),
            };
            under(group.name, state)
        };
        let scaler = self.scaler.iter();
        let scaler = scaler.flat_map(|scaler| under(SCALER, scaler.state()));
        self.groups
            .iter()
            .flat_map(of_group)
            .chain(scaler)
            .collect()
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// When it is not that of such an optimiser over such tensors.
    pub fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        for group in &mut self.groups {
            let of_group = take_under(group.name, &mut state);
            match &mut group.rule {
                Rule::Sgd(sgd) => sgd.restore(of_group)?,
                Rule::AdamW(adamw) => adamw.restore(of_group)?,
            }
        }
        if let Some(scaler) = &mut self.scaler {
            scaler.restore(&mut take_under(SCALER, &mut state))?;
        }
        none_left(&state)
    }
}

const SCALER: &str = "scaler";

/// The tensors with a name before theirs.
fn under(
    name: &'static str,
    state: BTreeMap<String, Tensor>,
) -> impl Iterator<Item = (String, Tensor)> {
    let tensors = state.into_iter();
    tensors.map(move |(key, tensor)| (format!("{name}.{key}"), tensor))
}

/// Moves the tensors that have this name before theirs out of `state`.
fn take_under(name: &str, state: &mut BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let prefix = format!("{name}.");
    let mut taken = BTreeMap::new();
    state.retain(|name, tensor| match name.strip_prefix(&prefix) {
        Some(name) => {
            taken.insert(name.to_owned(), tensor.shallow_clone());
            false
        }
        None => true,
    });
    taken
}

/// Copies a tensor of a state, which must have its shape and kind, to its place.
fn take_state(state: &mut BTreeMap<String, Tensor>, name: &str, mut place: Tensor) -> Result<()> {
    let Some(tensor) = state.remove(name) else {
        return Err(Error::Tensors(format!("the optimiser lacks its {name}")));
    };
    if tensor.size() != place.size() || tensor.kind() != Kind::Float {
        return Err(Error::Tensors(format!(
            "the optimiser's {name} is {:?} of shape {:?}, its tensor's shape is {:?}",
            tensor.kind(),
            tensor.size(),
            place.size()
        )));
    }
    place.copy_(&tensor);
    Ok(())
}

fn none_left(state: &BTreeMap<String, Tensor>) -> Result<()> {
    match state.keys().next() {
        Some(name) => Err(Error::Tensors(format!(
            "the optimiser's {name} belongs to no tensor"
        ))),
        None => Ok(()),
    }
}
