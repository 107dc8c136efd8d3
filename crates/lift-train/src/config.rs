//! Settings: preset < `[train]` table of a recipe < flags, resolved once into a [`TrainConfig`].

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use lift_clip::{DeviceChoice, Precision};
use serde::{Deserialize, Serialize};

use crate::{
    classifier::ClassifierKind,
    error::{Error, Result},
    eval::{Look, Tte},
    head_init::HeadInit,
    loader::{AreaSchedule, Augmentation, Sampler},
    loss::LossKind,
    optim::{OptimiserKind, ScheduleKind},
    preset::Preset,
    tuner::{AftPlace, Layers, LoraTarget, TunerKind, TunerOptions, Tuners},
};

/// Random crops an image, unless `lift-train eval --crops` says otherwise.
pub const RANDOM_CROPS: usize = 5;

/// What can be typed, and what the `[train]` table of a recipe may hold.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainArgs {
    /// Folder with train/ and test/ shards, as `lift-data build` writes it
    #[arg(long, value_name = "DIR")]
    pub shards: Option<PathBuf>,
    /// Model folder, .safetensors or .bin file, or org/name on Hugging Face
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Classifier file from `lift-text classifier`
    #[arg(long, value_name = "FILE")]
    pub head: Option<PathBuf>,
    /// What the classifier starts from [default: head, with --head]
    ///
    /// The others are made from the training shards; the papers start towers without a text tower from class means.
    #[arg(long, value_enum, hide_short_help = true)]
    pub init: Option<HeadInit>,
    /// New folder for the run's files
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Named settings of the papers [default: lift+]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Modules (lora:8,adaptformer) or none [default: the preset's]
    ///
    /// adaptformer, adapter, lora, vpt-shallow, vpt-deep, ssf, bitfit, layer-norm, aft, full. A size is the bottleneck
    /// dimension, the rank or the number of tokens; bitfit, layer-norm, aft, full and ssf have none.
    #[arg(long, value_name = "A,B")]
    pub tuner: Option<Tuners>,
    /// Size of modules that are given without one [default: from classes and layers]
    #[arg(long, value_name = "R", hide_short_help = true)]
    pub tuner_size: Option<i64>,
    /// Blocks that get modules: all, last:2 or 0,3,5 [default: all]
    #[arg(long)]
    pub layers: Option<Layers>,
    /// Projections that LoRA is put on [default: q,v]
    #[arg(long, value_enum, value_delimiter = ',', hide_short_help = true)]
    pub lora_targets: Option<Vec<LoraTarget>>,
    /// Linears that aft takes entries of [default: all]
    #[arg(long, value_enum, hide_short_help = true)]
    pub aft_on: Option<AftPlace>,
    /// Fraction of their entries [default: as many as the classifier has]
    #[arg(long, hide_short_help = true)]
    pub aft_ratio: Option<f64>,
    /// On the class token [default: cosine]
    #[arg(long, value_enum, hide_short_help = true)]
    pub classifier: Option<ClassifierKind>,
    /// Training loss [default: la]
    #[arg(long, value_enum)]
    pub loss: Option<LossKind>,
    /// Passes over the training images [default: the preset's, 5]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Learning rate of the first epoch [default: the preset's, 0.02]
    #[arg(long)]
    pub lr: Option<f64>,
    /// Images a step [default: 128]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Learning rate of the classifier [default: --lr]
    #[arg(long, hide_short_help = true)]
    pub head_lr: Option<f64>,
    /// Rule of the steps [default: sgd]
    #[arg(long, value_enum, hide_short_help = true)]
    pub optimizer: Option<OptimiserKind>,
    /// How the learning rate falls [default: cosine-epoch]
    #[arg(long, value_enum, hide_short_help = true)]
    pub schedule: Option<ScheduleKind>,
    /// Steps in which the learning rate grows to the schedule's [default: 0]
    #[arg(long, value_name = "STEPS", hide_short_help = true)]
    pub warmup: Option<usize>,
    /// Parts that the images of a step are passed in, for less memory; the result is the same [default: 1]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub accumulate: Option<usize>,
    /// Largest norm of the gradient of a step [default: none]
    #[arg(long, value_name = "X", hide_short_help = true)]
    pub clip_grad: Option<f64>,
    /// Share of a label that is spread over all classes; not with focal [default: 0]
    #[arg(long, value_name = "X", hide_short_help = true)]
    pub label_smoothing: Option<f64>,
    /// Momentum of SGD [default: 0.9]
    #[arg(long, hide_short_help = true)]
    pub momentum: Option<f64>,
    /// Weight decay on everything tuned [default: 5e-4]
    #[arg(long, hide_short_help = true)]
    pub weight_decay: Option<f64>,
    /// Strength of the logit adjustment [default: 1]
    #[arg(long, hide_short_help = true)]
    pub tau: Option<f64>,
    /// Factor on the cosines of the classifier [default: 25]
    #[arg(long, hide_short_help = true)]
    pub scale: Option<f64>,
    /// What is done to training images [default: the preset's, mda]
    #[arg(long, value_enum, hide_short_help = true)]
    pub augment: Option<Augmentation>,
    /// How the smallest crop grows [default: convex]
    #[arg(long, value_enum, hide_short_help = true)]
    pub area_schedule: Option<AreaSchedule>,
    /// How training images are drawn [default: instance]
    #[arg(long, value_enum, hide_short_help = true)]
    pub sampler: Option<Sampler>,
    /// Kind of the frozen weights: fp32 or bf16 [default: fp32]
    #[arg(long, value_parser = precision)]
    pub precision: Option<Precision>,
    /// auto, cpu or cuda:N [default: auto]
    #[arg(long)]
    pub device: Option<String>,
    /// Seed of order, crops and initial values [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Test-time ensembling after training, besides the plain evaluation [default: five-crop]
    #[arg(long, value_enum)]
    pub tte: Option<Tte>,
    /// Pixels beyond the resolution for ensembling [default: 24]
    ///
    /// No multiple of the patch size: the crops would repeat the patch grid.
    #[arg(long, value_name = "PIXELS")]
    pub expand: Option<u32>,
    /// Threads that prepare batches [default: one a core]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub threads: Option<usize>,
    /// Steps between two lines of metrics [default: 10]
    #[arg(long, value_name = "STEPS", hide_short_help = true)]
    pub log_every: Option<usize>,
    /// Steps between two checkpoints; 0: none by steps [default: 500]
    #[arg(long, value_name = "STEPS", hide_short_help = true)]
    pub checkpoint_every: Option<usize>,
    /// Minutes after which there is one at the latest; 0: none by time [default: 10]
    #[arg(long, value_name = "M", hide_short_help = true)]
    pub checkpoint_minutes: Option<f64>,
    /// Also write the metrics as a TensorBoard event file, RUN/tensorboard/
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", hide_short_help = true)]
    pub tensorboard: Option<bool>,
    /// Recipe whose [train] table gives what is not typed
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Print the resolved plan and stop
    #[arg(long)]
    #[serde(skip)]
    pub dry_run: bool,
}

/// Settings of a run, all of them; written into the run's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Folder with train/ and test/ shards.
    pub shards: PathBuf,
    /// Model folder or file.
    pub model: PathBuf,
    /// Classifier file; none where `init` makes the classifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<PathBuf>,
    /// What the classifier starts from.
    #[serde(default)]
    pub init: HeadInit,
    /// The run's folder.
    pub out: PathBuf,
    /// Where the other values come from.
    pub preset: Preset,
    /// Modules.
    pub tuner: Tuners,
    /// Size of modules without one of their own; none: automatic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuner_size: Option<i64>,
    /// Blocks that get modules.
    #[serde(default)]
    pub layers: Layers,
    /// Projections that LoRA is put on.
    #[serde(default = "LoraTarget::usual")]
    pub lora_targets: Vec<LoraTarget>,
    /// Linears that AFT takes entries of.
    #[serde(default)]
    pub aft_on: AftPlace,
    /// Fraction of their entries; none: automatic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aft_ratio: Option<f64>,
    /// On the class token.
    #[serde(default)]
    pub classifier: ClassifierKind,
    /// Training loss.
    #[serde(default)]
    pub loss: LossKind,
    /// Passes over the training images.
    pub epochs: usize,
    /// Learning rate of the first epoch.
    pub lr: f64,
    /// Images a step.
    pub batch_size: usize,
    /// Learning rate of the classifier; none: as the modules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_lr: Option<f64>,
    /// Rule of the steps.
    #[serde(default)]
    pub optimizer: OptimiserKind,
    /// How the learning rate falls.
    #[serde(default)]
    pub schedule: ScheduleKind,
    /// Steps in which it grows.
    #[serde(default)]
    pub warmup: usize,
    /// Parts that the images of a step are passed in.
    #[serde(default = "one_part")]
    pub accumulate: usize,
    /// Largest norm of the gradient of a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_grad: Option<f64>,
    /// Share of a label that is spread over all classes.
    #[serde(default)]
    pub label_smoothing: f64,
    /// Momentum of SGD.
    pub momentum: f64,
    /// Weight decay on everything tuned.
    pub weight_decay: f64,
    /// Strength of the logit adjustment.
    pub tau: f64,
    /// Factor on the cosines of the classifier.
    pub scale: f64,
    /// What is done to training images.
    #[serde(default)]
    pub augment: Augmentation,
    /// How the smallest crop grows.
    pub area_schedule: AreaSchedule,
    /// How training images are drawn.
    #[serde(default)]
    pub sampler: Sampler,
    /// Kind of the frozen weights.
    pub precision: Precision,
    /// Device as typed.
    pub device: String,
    /// Seed of order, crops and initial values.
    pub seed: u64,
    /// Ensembling besides the plain evaluation.
    pub tte: Tte,
    /// Pixels beyond the resolution for ensembling.
    pub expand: u32,
    /// Threads that prepare batches; 0: one a core.
    pub threads: usize,
    /// Steps between two lines of metrics.
    pub log_every: usize,
    /// Steps between two checkpoints; 0: none by steps.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: usize,
    /// Minutes after which there is one at the latest; 0: none by time.
    #[serde(default = "checkpoint_minutes")]
    pub checkpoint_minutes: f64,
    /// Whether metrics are also written as a TensorBoard event file.
    #[serde(default)]
    pub tensorboard: bool,
}

impl TrainArgs {
    /// What the `[train]` table of a recipe says; nothing without a recipe.
    ///
    /// # Errors
    /// When the file cannot be read or has a key that is not known.
    pub fn of_recipe(path: Option<&Path>) -> Result<Self> {
        path.map_or_else(|| Ok(Self::default()), read_table)
    }

    /// Fills what was not typed from the recipe and the preset, and checks the values.
    ///
    /// # Errors
    /// When the recipe cannot be read, a path is missing, or a value cannot be.
    pub fn resolve(self) -> Result<TrainConfig> {
        let recipe = Self::of_recipe(self.config.as_deref())?;
        let preset = self.preset.or(recipe.preset).unwrap_or_default();
        let (tuner, epochs, lr) = preset.values();
        let shards = required(self.shards.or(recipe.shards), "shards")?;
        let model = required(self.model.or(recipe.model), "model")?;
        let typed = (self.init, self.head);
        let (init, head) = initial(typed, (recipe.init, recipe.head))?;
        let config = TrainConfig {
            shards,
            model,
            head,
            init,
            out: required(self.out.or(recipe.out), "out")?,
            preset,
            tuner: self.tuner.or(recipe.tuner).unwrap_or(tuner),
            tuner_size: self.tuner_size.or(recipe.tuner_size),
            layers: self.layers.or(recipe.layers).unwrap_or_default(),
            lora_targets: self
                .lora_targets
                .or(recipe.lora_targets)
                .unwrap_or_else(LoraTarget::usual),
            aft_on: self.aft_on.or(recipe.aft_on).unwrap_or_default(),
            aft_ratio: self.aft_ratio.or(recipe.aft_ratio),
            classifier: self.classifier.or(recipe.classifier).unwrap_or_default(),
            loss: self.loss.or(recipe.loss).unwrap_or_default(),
            epochs: self.epochs.or(recipe.epochs).unwrap_or(epochs),
            lr: self.lr.or(recipe.lr).unwrap_or(lr),
            batch_size: self.batch_size.or(recipe.batch_size).unwrap_or(128),
            head_lr: self.head_lr.or(recipe.head_lr),
            optimizer: self.optimizer.or(recipe.optimizer).unwrap_or_default(),
            schedule: self.schedule.or(recipe.schedule).unwrap_or_default(),
            warmup: self.warmup.or(recipe.warmup).unwrap_or(0),
            accumulate: self
                .accumulate
                .or(recipe.accumulate)
                .unwrap_or_else(one_part),
            clip_grad: self.clip_grad.or(recipe.clip_grad),
            label_smoothing: self
                .label_smoothing
                .or(recipe.label_smoothing)
                .unwrap_or(0.0),
            momentum: self.momentum.or(recipe.momentum).unwrap_or(0.9),
            weight_decay: self.weight_decay.or(recipe.weight_decay).unwrap_or(5e-4),
            tau: self.tau.or(recipe.tau).unwrap_or(1.0),
            scale: self.scale.or(recipe.scale).unwrap_or(25.0),
            augment: self
                .augment
                .or(recipe.augment)
                .unwrap_or(preset.augmentation()),
            area_schedule: self
                .area_schedule
                .or(recipe.area_schedule)
                .unwrap_or_default(),
            sampler: self.sampler.or(recipe.sampler).unwrap_or_default(),
            precision: self.precision.or(recipe.precision).unwrap_or_default(),
            device: self
                .device
                .or(recipe.device)
                .unwrap_or_else(|| "auto".into()),
            seed: self.seed.or(recipe.seed).unwrap_or(0),
            tte: self.tte.or(recipe.tte).unwrap_or_default(),
            expand: self.expand.or(recipe.expand).unwrap_or(24),
            threads: self.threads.or(recipe.threads).unwrap_or(0),
            log_every: self.log_every.or(recipe.log_every).unwrap_or(10),
            checkpoint_every: self
                .checkpoint_every
                .or(recipe.checkpoint_every)
                .unwrap_or_else(checkpoint_every),
            checkpoint_minutes: self
                .checkpoint_minutes
                .or(recipe.checkpoint_minutes)
                .unwrap_or_else(checkpoint_minutes),
            tensorboard: self.tensorboard.or(recipe.tensorboard).unwrap_or(false),
        };
        config.check()?;
        Ok(config)
    }
}

impl TrainConfig {
    fn check(&self) -> Result<()> {
        let in_range = [
            ("epochs", self.epochs as f64, 0.0, 1e6),
            ("batch-size", self.batch_size as f64, 1.0, 1e6),
            ("threads", self.threads as f64, 0.0, 1024.0),
            ("expand", f64::from(self.expand), 0.0, 4096.0),
            ("log-every", self.log_every as f64, 1.0, 1e9),
            ("checkpoint-every", self.checkpoint_every as f64, 0.0, 1e9),
            ("checkpoint-minutes", self.checkpoint_minutes, 0.0, 1e6),
            (
                "tuner-size",
                self.tuner_size.map_or(1.0, |r| r as f64),
                1.0,
                65536.0,
            ),
            ("lr", self.lr, 0.0, 1e6),
            ("head-lr", self.head_lr.unwrap_or(0.0), 0.0, 1e6),
            ("warmup", self.warmup as f64, 0.0, 1e9),
            ("accumulate", self.accumulate as f64, 1.0, 1e6),
            (
                "clip-grad",
                self.clip_grad.unwrap_or(1.0),
                f64::MIN_POSITIVE,
                1e9,
            ),
            ("label-smoothing", self.label_smoothing, 0.0, 0.999),
            ("momentum", self.momentum, 0.0, 1.0),
            ("weight-decay", self.weight_decay, 0.0, 1e6),
            ("tau", self.tau, 0.0, 1e6),
            ("scale", self.scale, f64::MIN_POSITIVE, 1e6),
            (
                "aft-ratio",
                self.aft_ratio.unwrap_or(1.0),
                f64::MIN_POSITIVE,
                1.0,
            ),
        ];
        check_ranges(&in_range)?;
        let kinds: Vec<TunerKind> = self.tuner.choices().iter().map(|c| c.kind).collect();
        let without =
            |flag: &str| Error::Usage(format!("--{flag} is given, and no tuner to have it"));
        let has_size = |kind: &TunerKind| kind.automatic_size(1, 1).is_some();
        if self.tuner_size.is_some() && !kinds.iter().any(has_size) {
            return Err(without("tuner-size"));
        }
        if self.aft_ratio.is_some() && !kinds.contains(&TunerKind::Aft) {
            return Err(without("aft-ratio"));
        }
        if self.layers != Layers::All && kinds.is_empty() {
            return Err(without("layers"));
        }
        if self.label_smoothing > 0.0 && self.loss == LossKind::Focal {
            return Err(Error::Usage(
                "--label-smoothing has no meaning for --loss focal".into(),
            ));
        }
        if self.accumulate > 1 && self.loss == LossKind::Lade {
            return Err(Error::Usage(
                "--accumulate would change --loss lade, which looks at all images of a step at once".into(),
            ));
        }
        if self.lora_targets.is_empty() {
            return Err(Error::Usage("--lora-targets names no projection".into()));
        }
        self.device_choice().map(drop)
    }

    /// How test images are looked at after training.
    pub fn look(&self) -> Look {
        Look {
            tte: self.tte,
            expand: self.expand,
            random_crops: RANDOM_CROPS,
            seed: self.seed,
        }
    }

    /// What the modules are made from.
    pub fn tuner_options(&self) -> TunerOptions {
        TunerOptions {
            tuners: self.tuner.clone(),
            layers: self.layers.clone(),
            size: self.tuner_size,
            lora_targets: self.lora_targets.clone(),
            aft_place: self.aft_on,
            aft_ratio: self.aft_ratio,
            seed: self.seed,
        }
    }

    /// The device as meant.
    ///
    /// # Errors
    /// When it is none of auto, cpu and cuda:N.
    pub fn device_choice(&self) -> Result<DeviceChoice> {
        self.device.parse().map_err(Error::Usage)
    }
}

/// What the classifier starts from, and its file: what was typed before what the recipe says.
fn initial(
    typed: (Option<HeadInit>, Option<PathBuf>),
    recipe: (Option<HeadInit>, Option<PathBuf>),
) -> Result<(HeadInit, Option<PathBuf>)> {
    let recipes_head = recipe.1.clone();
    match [typed, recipe].into_iter().find(|(init, head)| init.is_some() || head.is_some()) {
        None => Err(Error::Usage(
            "no head given, and no --init to make one\nhint: --head PATH, or `head` in [train] of the recipe; or --init class-mean, linear-probe or random".into(),
        )),
        Some((None | Some(HeadInit::Head), head)) => {
            let head = required(head.or(recipes_head), "head")?;
            Ok((HeadInit::Head, Some(head)))
        }
        Some((Some(init), None)) => Ok((init, None)),
        Some((Some(init), Some(head))) => Err(Error::Usage(format!(
            "--init {init} makes the classifier itself, and --head {} is given too\nhint: leave one of them out",
            head.display()
        ))),
    }
}

/// Refuses the first of (flag, value, lowest, highest) that lies outside, or is no number.
///
/// # Errors
/// Names the flag and its range.
pub fn check_ranges(values: &[(&str, f64, f64, f64)]) -> Result<()> {
    let outside = values
        .iter()
        .find(|(_, value, low, high)| !(low..=high).contains(&value));
    match outside {
        Some((flag, value, low, high)) if *low == f64::MIN_POSITIVE => Err(Error::Usage(format!(
            "--{flag} {value} must be above 0 and at most {high}"
        ))),
        Some((flag, value, low, high)) => Err(Error::Usage(format!(
            "--{flag} {value} must be a number from {low} to {high}"
        ))),
        None => Ok(()),
    }
}

/// The [train] table of a recipe; the other tables belong to the other programs.
fn read_table(path: &Path) -> Result<TrainArgs> {
    #[derive(Deserialize)]
    struct Recipe {
        train: TrainArgs,
    }
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    let recipe: Recipe =
        toml::from_str(&text).map_err(|e| Error::Config(format!("{}: {e}", path.display())))?;
    Ok(recipe.train)
}

fn one_part() -> usize {
    1
}

fn checkpoint_every() -> usize {
    500
}

fn checkpoint_minutes() -> f64 {
    10.0
}

/// A path that must have been given.
///
/// # Errors
/// When it was not; the message names the flag.
pub fn required(path: Option<PathBuf>, flag: &str) -> Result<PathBuf> {
    path.ok_or_else(|| {
        Error::Usage(format!(
            "no {flag} given\nhint: --{flag} PATH, or `{flag}` in [train] of the recipe"
        ))
    })
}

/// Reads a precision as typed.
pub fn precision(text: &str) -> std::result::Result<Precision, String> {
    match text {
        "fp32" => Ok(Precision::Fp32),
        "bf16" => Ok(Precision::Bf16),
        other => Err(format!("{other:?} is not a precision; use fp32 or bf16")),
    }
}

#[cfg(test)]
mod tests;
