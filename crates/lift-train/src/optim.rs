//! Optimisers over the tuned tensors: modules and classifier are a group each, with a learning rate of their own.
//!
//! [`sgd`] and [`adamw`] hold the rules, [`schedule`] the learning rate over time, [`clip`] a bound on gradients,
//! [`scaler`] their factor in fp16. Invariant: from the state of an optimiser, and the same gradients, the same steps
//! follow bit for bit.

pub mod adamw;
pub mod clip;
pub mod scaler;
pub mod schedule;
pub mod sgd;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

pub use adamw::AdamW;
pub use scaler::LossScaler;
pub use schedule::{Schedule, ScheduleKind, cosine_lr};
pub use sgd::Sgd;

use crate::{
    config::TrainConfig,
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

/// Tensors with one learning rate.
#[derive(Debug)]
struct Group {
    name: &'static str,
    lr: f64,
    parameters: Vec<Tensor>,
    rule: Rule,
}

/// The groups of a model.
#[derive(Debug)]
pub struct Optimiser {
    groups: [Group; 2],
}

impl Optimiser {
    /// Over what is tuned of `model`.
    pub fn new(model: &TunedModel, config: &TrainConfig) -> Self {
        let head_lr = config.head_lr.unwrap_or(config.lr);
        let group = |name, lr, tensors: Vec<(String, Tensor)>| {
            // By name: fresh modules and those of a checkpoint may come in another order.
            let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
            let copies = || tensors.values().map(Tensor::shallow_clone).collect();
            let decay = config.weight_decay;
            Group {
                name,
                lr,
                parameters: copies(),
                rule: match config.optimizer {
                    OptimiserKind::Sgd => Rule::Sgd(Sgd::new(copies(), config.momentum, decay)),
                    OptimiserKind::Adamw => Rule::AdamW(AdamW::new(copies(), decay)),
                },
            }
        };
        Self {
            groups: [
                group("modules", config.lr, model.modules()),
                group("classifier", head_lr, model.classifier.named()),
            ],
        }
    }

    /// Forgets the gradients of the last step.
    pub fn zero_grad(&mut self) {
        let tensors = self
            .groups
            .iter_mut()
            .flat_map(|group| &mut group.parameters);
        tensors.for_each(Tensor::zero_grad);
    }

    /// Takes a factor on the loss out of the gradients; whether they are finite.
    pub fn unscale(&self, scaler: &mut LossScaler) -> bool {
        scaler.unscale(self.groups.iter().flat_map(|group| &group.parameters))
    }

    /// Scales the gradients of all groups down to this norm, where theirs is larger.
    pub fn clip_gradients(&mut self, largest_norm: f64) {
        let tensors = self.groups.iter().flat_map(|group| &group.parameters);
        clip::clip_gradients(tensors, largest_norm);
    }

    /// One step of every group with its learning rate at this time.
    pub fn step(&mut self, schedule: &Schedule, epoch: usize, step: usize) {
        for group in &mut self.groups {
            let lr = schedule.lr(group.lr, epoch, step);
            match &mut group.rule {
                Rule::Sgd(sgd) => sgd.step(lr),
                Rule::AdamW(adamw) => adamw.step(lr),
            }
        }
    }

    /// Copies of all that the rules keep, by names of their own.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let of_group = |group: &Group| {
            let state = match &group.rule {
                Rule::Sgd(sgd) => sgd.state(),
                Rule::AdamW(adamw) => adamw.state(),
            };
            let name = group.name;
            state
                .into_iter()
                .map(move |(key, tensor)| (format!("{name}.{key}"), tensor))
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// When it is not that of such an optimiser over such tensors.
    pub fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        for group in &mut self.groups {
            let prefix = format!("{}.", group.name);
            let mut of_group = BTreeMap::new();
            state.retain(|name, tensor| match name.strip_prefix(&prefix) {
                Some(name) => {
                    of_group.insert(name.to_owned(), tensor.shallow_clone());
                    false
                }
                None => true,
            });
            match &mut group.rule {
                Rule::Sgd(sgd) => sgd.restore(of_group)?,
                Rule::AdamW(adamw) => adamw.restore(of_group)?,
            }
        }
        none_left(&state)
    }
}

/// Moves a tensor of a state, which must have this shape, to where its parameter is.
fn take_state(
    state: &mut BTreeMap<String, Tensor>,
    name: &str,
    parameter: &Tensor,
) -> Result<Option<Tensor>> {
    match state.remove(name) {
        Some(tensor) if tensor.size() != parameter.size() || tensor.kind() != Kind::Float => {
            Err(Error::Tensors(format!(
                "the optimiser's {name} is {:?} of shape {:?}, its tensor's shape is {:?}",
                tensor.kind(),
                tensor.size(),
                parameter.size()
            )))
        }
        found => Ok(found.map(|tensor| tensor.to_device(parameter.device()))),
    }
}

fn none_left(state: &BTreeMap<String, Tensor>) -> Result<()> {
    match state.keys().next() {
        Some(name) => Err(Error::Tensors(format!(
            "the optimiser's {name} belongs to no tensor"
        ))),
        None => Ok(()),
    }
}
