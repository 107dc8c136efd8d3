//! Accuracy on the `val` split while training: when it is measured, which state of the model is the best by it, and when
//! training has gone on long enough without a better one.
//!
//! It changes nothing of the training itself: without `--patience` and `--keep best` a run with validation ends with the
//! weights of a run without. Invariant: the test split is never looked at here.

use std::{collections::BTreeMap, fmt, path::Path, str::FromStr, sync::Arc};

use lift_loader::View;
use lift_page::progress::Reporting;
use lift_shards::{Split, shard::ShardReader};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::{
    error::Result,
    eval::{EvalOptions, EvalView, Tte, evaluate},
    features::Features,
    footprint::of_passes,
    metrics::Metrics,
    model::TunedModel,
    passes::{Passes, Passing},
    transfer::Transfer,
};

/// When accuracy on `val` is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub enum ValEvery {
    /// At the end of each epoch.
    Epoch,
    /// Each time that so many steps are done, and after the last.
    Steps(usize),
    /// Never.
    Never,
}

/// As a recipe has it: a word or a number of steps.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Steps(usize),
    Word(String),
}

impl TryFrom<Written> for ValEvery {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        match written {
            Written::Steps(steps) => steps.to_string().parse(),
            Written::Word(word) => word.parse(),
        }
    }
}

impl FromStr for ValEvery {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match (text, text.parse()) {
            ("epoch", _) => Ok(Self::Epoch),
            ("never", _) => Ok(Self::Never),
            (_, Ok(steps)) if steps > 0 => Ok(Self::Steps(steps)),
            _ => Err(format!(
                "{text:?} is neither epoch, never nor a number of steps from 1 on"
            )),
        }
    }
}

impl fmt::Display for ValEvery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch => f.write_str("epoch"),
            Self::Never => f.write_str("never"),
            Self::Steps(steps) => write!(f, "{steps}"),
        }
    }
}

impl From<ValEvery> for String {
    fn from(every: ValEvery) -> Self {
        every.to_string()
    }
}

/// The figure that says which state is the best; the largest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Monitor {
    /// Mean of the per-class accuracies.
    #[default]
    MeanClass,
    /// Right images over all.
    Overall,
    /// That mean over the band of frequent classes.
    Many,
    /// Over the band between.
    Medium,
    /// Over the band of rare classes.
    Few,
    /// Harmonic mean of the per-class accuracies: 0 where one of them is.
    HarmonicMean,
    /// Mean F1.
    MacroF1,
}

impl Monitor {
    /// Its value; none where no image, or no class of the band, was judged.
    pub fn of(self, metrics: &Metrics) -> Option<f64> {
        match self {
            Self::MeanClass => metrics.mean_class,
            Self::Overall => metrics.overall,
            Self::Many => metrics.many,
            Self::Medium => metrics.medium,
            Self::Few => metrics.few,
            Self::HarmonicMean => metrics.harmonic_mean,
            Self::MacroF1 => metrics.macro_f1,
        }
    }
}

impl fmt::Display for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MeanClass => "mean-class",
            Self::Overall => "overall",
            Self::Many => "many",
            Self::Medium => "medium",
            Self::Few => "few",
            Self::HarmonicMean => "harmonic-mean",
            Self::MacroF1 => "macro-f1",
        })
    }
}

/// A state of the model that a run keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kept {
    /// After the last step.
    Last,
    /// The best on `val`.
    Best,
}

impl Kept {
    /// As typed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Last => "last",
            Self::Best => "best",
        }
    }

    /// What a run keeps where nothing is said.
    pub fn usual() -> Vec<Self> {
        vec![Self::Last]
    }
}

/// A validation that was the best so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// Of the monitored figure, in 0..=1.
    pub value: f64,
    /// Steps done.
    pub step: usize,
    /// The epoch of the last of them, from 0.
    pub epoch: usize,
}

/// What validations have found so far; part of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validated {
    /// The best; none before the first.
    pub best: Option<Best>,
    /// How many came after it, none of them better.
    pub without_better: usize,
    /// Whether there were as many of them as `--patience` allows.
    pub ended_early: bool,
}

impl Validated {
    /// Takes down one more, and says whether it is the best so far; the first of several equal ones is.
    pub fn note(&mut self, found: Best, patience: Option<usize>) -> bool {
        if self.best.is_none_or(|best| found.value > best.value) {
            self.best = Some(found);
            self.without_better = 0;
            return true;
        }
        self.without_better += 1;
        self.ended_early = patience.is_some_and(|most| self.without_better >= most);
        false
    }
}

/// What a report says of how a run's weights were chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Selection {
    /// The split that was looked at.
    pub split: Split,
    /// The figure.
    pub monitor: Monitor,
    /// The best validation; none where no image could be judged.
    pub best: Option<Best>,
    /// Which weights the run's model has.
    pub kept: Kept,
    /// Whether training ended before its last epoch because none was better.
    pub ended_early: bool,
}

/// The images and the rules of validation.
pub struct Validation {
    val: Arc<ShardReader>,
    train_counts: Vec<u64>,
    every: ValEvery,
    monitor: Monitor,
    patience: Option<usize>,
    passing: Passing,
    seed: u64,
    /// Of the images, where no step changes them.
    features: Option<Features>,
}

impl Validation {
    /// Of these shards, for a run with these training images of each class.
    pub fn new(
        val: Arc<ShardReader>,
        train_counts: &[u64],
        (every, monitor, patience): (ValEvery, Monitor, Option<usize>),
        (passing, seed): (Passing, u64),
    ) -> Self {
        Self {
            val,
            train_counts: train_counts.to_vec(),
            every,
            monitor,
            patience,
            passing,
            seed,
            features: None,
        }
    }

    /// Computes the features of its images, and looks at them from now on.
    ///
    /// # Errors
    /// As [`Features::compute`].
    pub fn keep_features(
        &mut self,
        model: &TunedModel,
        transfer: &Transfer,
        folder: &Path,
    ) -> Result<()> {
        let kept = Features::compute(&self.val, model, transfer, self.passing, folder)?;
        self.features = Some(kept);
        Ok(())
    }

    /// Whether there is one after this step.
    pub fn is_due(&self, step: usize, ends_epoch: bool, ends_training: bool) -> bool {
        match self.every {
            ValEvery::Epoch => ends_epoch,
            ValEvery::Steps(steps) => step.is_multiple_of(steps) || ends_training,
            ValEvery::Never => false,
        }
    }

    /// The figures of the model as it is, in the plain centre crop.
    ///
    /// # Errors
    /// When an image cannot be loaded, memory does not suffice, or a logit is not finite.
    pub fn judge(&self, model: &TunedModel, transfer: &Transfer) -> Result<Metrics> {
        let (tower, classes) = (&model.visual, self.train_counts.len() as u64);
        let tuned = model.parameter_counts().tuned();
        let passes = Passes::open(
            Arc::clone(&self.val),
            tower,
            transfer,
            (View::Center, "validation"),
            of_passes(tower, tuned, classes),
            self.passing,
        )?;
        let options = EvalOptions {
            train_counts: Some(&self.train_counts),
            look: EvalView {
                tte: Tte::None,
                expand: None,
                random_crops: 1,
                seed: self.seed,
            },
            groups: None,
            adjustment: None,
            // The bar of the training stays.
            reporting: Reporting::Silent,
        };
        let forward = |patches: &Tensor| model.forward(patches);
        let (evaluation, _) = evaluate(
            &passes,
            &self.val,
            &options,
            tower.device(),
            (forward, self.features.as_ref()),
            None,
        )?;
        Ok(evaluation.metrics)
    }

    /// Takes down the figures of a state, and says whether it is the best so far. Where none can be had, it is not.
    pub fn note(
        &self,
        found: &mut Validated,
        metrics: &Metrics,
        (step, epoch): (usize, usize),
    ) -> bool {
        self.monitor.of(metrics).is_some_and(|value| {
            let best = Best { value, step, epoch };
            found.note(best, self.patience)
        })
    }
}

/// A copy of tensors in the host's memory.
pub fn copied(state: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let copy = |tensor: &Tensor| tensor.detach().to_device(Device::Cpu).copy();
    let named = state.iter();
    named.map(|(name, t)| (name.clone(), copy(t))).collect()
}

/// Puts what [`copied`] gave back into the tensors of a model's state, which share memory with the model.
pub fn put_back(state: &BTreeMap<String, Tensor>, kept: &BTreeMap<String, Tensor>) {
    tch::no_grad(|| {
        for (name, tensor) in state {
            if let Some(kept) = kept.get(name) {
                tensor.shallow_clone().copy_(kept);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_is_the_first_of_equals_and_patience_counts_from_it() {
        let mut found = Validated::default();
        let values = [0.3, 0.5, 0.5, 0.4, 0.6, 0.1, 0.2];
        let at = |step: usize| Best {
            value: values[step],
            step,
            epoch: step,
        };
        let better: Vec<bool> = (0..5).map(|step| found.note(at(step), Some(3))).collect();
        assert_eq!(better, [true, true, false, false, true]);
        assert_eq!((found.best, found.without_better), (Some(at(4)), 0));
        assert!(!found.note(at(5), Some(2)) && !found.ended_early);
        assert!(!found.note(at(6), Some(2)) && found.ended_early);
    }

    #[test]
    fn when_it_is_due() {
        let read = |text: &str| text.parse::<ValEvery>();
        assert_eq!(read("epoch"), Ok(ValEvery::Epoch));
        assert_eq!(read("never"), Ok(ValEvery::Never));
        assert_eq!(read("250"), Ok(ValEvery::Steps(250)));
        for wrong in ["0", "-1", "1.5", "epochs", ""] {
            assert!(read(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
        #[derive(Deserialize, Serialize, PartialEq, Debug)]
        struct Table {
            every: ValEvery,
        }
        for (text, every) in [
            ("every = 250", ValEvery::Steps(250)),
            ("every = '250'", ValEvery::Steps(250)),
            ("every = 'epoch'", ValEvery::Epoch),
        ] {
            let table: Table = toml::from_str(text).unwrap();
            assert_eq!(table, Table { every });
            let again: Table = toml::from_str(&toml::to_string(&table).unwrap()).unwrap();
            assert_eq!(again, table);
        }
        assert!(toml::from_str::<Table>("every = 0").is_err());
    }
}
