//! Settings: preset < `[train]` table of a recipe < flags, resolved once into a [`TrainConfig`].

mod args;
pub mod start;

use std::path::PathBuf;

use lift_models::{DeviceChoice, Precision, memory::MemorySize};
use lift_page::number::plain;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

pub use args::{TrainArgs, required};
pub use start::Start;
use start::TUNED;

use crate::{
    classifier::ClassifierKind,
    error::{Error, Result},
    eval::{EvalView, Tte},
    footprint::{AHEAD, Steps, of_steps, parts},
    head_init::IMAGES_A_CLASS,
    joint::ContextPosition,
    loss::LossKind,
    model::TunedModel,
    optim::{OptimSettings, OptimiserKind, Schedule, ScheduleKind},
    passes::Passing,
    preset::Preset,
    step::StepSettings,
    tuner::{AftPlace, Layers, LoraTarget, TunerKind, TunerOptions, Tuners, USUAL_LENGTH},
    validation::{Kept, Monitor, ValEvery},
};
use lift_loader::{AreaSchedule, Augmentation, Cache, Sampler};

/// Random crops an image, unless `lift-train eval --crops` says otherwise.
pub const RANDOM_CROPS: usize = 5;

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
    /// What the classifier, or all that is tuned, starts from.
    #[serde(default)]
    pub init: Start,
    /// Images of a class that `init` looks at, at most; 0: all.
    #[serde(default = "images_a_class")]
    pub init_images: usize,
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
    /// Where the learned words of CoOp stand.
    #[serde(default)]
    pub coop_position: ContextPosition,
    /// Phrase that they start from; none: random words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coop_init: Option<String>,
    /// Whether the modules stay as they start, and the classifier alone is tuned.
    #[serde(default)]
    pub freeze_modules: bool,
    /// Whether the blocks are computed again for the backward pass.
    #[serde(default)]
    pub activation_checkpointing: bool,
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
    /// Factor on the cosines of the classifier; none until the classifier is known: class texts have the model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// What is done to training images.
    #[serde(default)]
    pub augment: Augmentation,
    /// How the smallest crop grows.
    pub area_schedule: AreaSchedule,
    /// How training images are drawn.
    #[serde(default)]
    pub sampler: Sampler,
    /// Rows of a window within which instance sampling shuffles; none: all rows together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle_window: Option<usize>,
    /// Whether large JPEGs are decoded at their full size before they are shrunk.
    #[serde(default)]
    pub exact: bool,
    /// Kind of the frozen weights; none: by the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Kind of the tokens between the blocks; none: as the frozen weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub residual: Option<Precision>,
    /// How much memory steps and forward passes may take; none: what there is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory: Option<MemorySize>,
    /// Crops that evaluations pass at once, at most; none: as many as images a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_batch_size: Option<usize>,
    /// Whether classes that start with the same row or text are gone on with.
    #[serde(default)]
    pub allow_identical: bool,
    /// Side of the crops in pixels; none: the model's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<u32>,
    /// Device as typed.
    pub device: String,
    /// Seed of order, crops and initial values.
    pub seed: u64,
    /// Ensembling besides the plain evaluation.
    pub tte: Tte,
    /// Pixels beyond the resolution for ensembling; none until the model is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<u32>,
    /// Threads that compute, and that prepare batches; 0: one a core.
    pub threads: usize,
    /// Batches that are prepared ahead; none: by threads and batch size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefetch: Option<usize>,
    /// Where training shards are while they are read.
    #[serde(default)]
    pub cache: Cache,
    /// Whether the tower's features are computed in each epoch, even where no step changes them.
    #[serde(default)]
    pub no_feature_cache: bool,
    /// When accuracy on the `val` split is measured; none: each epoch where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_every: Option<ValEvery>,
    /// The figure that says which state is the best.
    #[serde(default)]
    pub monitor: Monitor,
    /// States of the model that are kept; the first is the run's model.
    #[serde(default = "Kept::usual")]
    pub keep: Vec<Kept>,
    /// Validations without a better one after which training ends; none: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Steps between two lines of metrics.
    pub log_every: usize,
    /// Steps between two checkpoints; 0: none by steps.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: usize,
    /// Minutes after which there is one at the latest; 0: none by time.
    #[serde(default = "checkpoint_minutes")]
    pub checkpoint_minutes: f64,
    /// How many of the last checkpoints stay when there are newer ones, and when the run has ended.
    #[serde(default)]
    pub keep_checkpoints: usize,
    /// Whether metrics are also written as a TensorBoard event file.
    #[serde(default)]
    pub tensorboard: bool,
}

impl TrainConfig {
    /// Refuses values that cannot be, alone or together.
    ///
    /// # Errors
    /// Names the flag.
    pub(crate) fn check(&self) -> Result<()> {
        let in_range = [
            ("epochs", self.epochs as f64, 0.0, 1e6),
            ("batch-size", self.batch_size as f64, 1.0, 1e6),
            (
                "eval-batch-size",
                self.eval_batch_size.unwrap_or(1) as f64,
                1.0,
                1e6,
            ),
            ("init-images", self.init_images as f64, 0.0, 1e9),
            ("threads", self.threads as f64, 0.0, 1024.0),
            ("prefetch", self.prefetch.unwrap_or(1) as f64, 1.0, 1024.0),
            (
                "shuffle-window",
                self.shuffle_window.unwrap_or(1) as f64,
                1.0,
                1e12,
            ),
            ("expand", f64::from(self.expand.unwrap_or(0)), 0.0, 4096.0),
            ("log-every", self.log_every as f64, 1.0, 1e9),
            ("patience", self.patience.unwrap_or(1) as f64, 1.0, 1e6),
            ("keep-checkpoints", self.keep_checkpoints as f64, 0.0, 1e6),
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
            ("scale", self.scale.unwrap_or(1.0), f64::MIN_POSITIVE, 1e6),
            (
                "aft-ratio",
                self.aft_ratio.unwrap_or(1.0),
                f64::MIN_POSITIVE,
                1.0,
            ),
        ];
        check_ranges(&in_range)?;
        if self.shuffle_window.is_some() && self.sampler != Sampler::Instance {
            return Err(Error::Usage(format!(
                "--shuffle-window goes with --sampler instance; {} draws from all classes at any time",
                self.sampler.as_str()
            )));
        }
        let kinds: Vec<TunerKind> = self.tuner.choices().iter().map(|c| c.kind).collect();
        let without =
            |flag: &str| Error::Usage(format!("--{flag} is given, and no tuner to have it"));
        if self.tuner_size.is_some() && !kinds.iter().any(|kind| kind.has_size()) {
            return Err(without("tuner-size"));
        }
        if self.aft_ratio.is_some() && !kinds.contains(&TunerKind::Aft) {
            return Err(without("aft-ratio"));
        }
        let in_blocks = |kind: &TunerKind| !kind.is_between_towers();
        if self.layers != Layers::All && !kinds.iter().any(in_blocks) {
            return Err(without("layers"));
        }
        if self.freeze_modules && self.init.run().is_none() {
            return Err(Error::Usage(
                "--freeze-modules keeps modules as they start, and fresh ones change nothing\nhint: start from a run, --init RUN".into(),
            ));
        }
        self.check_two_towers(&kinds)?;
        self.check_validation()?;
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

    /// Whether what validation decides goes with when it is made.
    fn check_validation(&self) -> Result<()> {
        let mut kept = self.keep.clone();
        kept.dedup();
        if kept.is_empty() || kept.len() < self.keep.len() || kept.len() > 2 {
            return Err(Error::Usage(
                "--keep takes last, best, or both: the first is the run's model".into(),
            ));
        }
        let never = self.val_every == Some(ValEvery::Never);
        let chooses = self.chooses_on_val();
        match chooses {
            Some(flag) if never => Err(Error::Usage(format!(
                "{flag} goes by the val split, and --val-every is never"
            ))),
            _ => Ok(()),
        }
    }

    /// The setting that needs the `val` split, where there is one.
    pub(crate) fn chooses_on_val(&self) -> Option<&'static str> {
        if self.patience.is_some() {
            Some("--patience")
        } else if self.keep.contains(&Kept::Best) {
            Some("--keep best")
        } else {
            None
        }
    }

    /// Whether what is tuned goes with the classifier.
    fn check_two_towers(&self, kinds: &[TunerKind]) -> Result<()> {
        let refuse = |text: String| Err(Error::Usage(text));
        let between = kinds.iter().find(|kind| kind.is_between_towers());
        let is_text = self.classifier == ClassifierKind::Text;
        match between {
            Some(kind) if !is_text => {
                return refuse(format!(
                    "--tuner {kind} works on class texts, and --classifier {} has none\nhint: leave --classifier out",
                    self.classifier
                ));
            }
            None if is_text && kinds.is_empty() && self.epochs > 0 => {
                return refuse(
                    "--classifier text is not tuned itself, and no --tuner is given\nhint: `lift-train zero-shot` judges class texts as they are".into(),
                );
            }
            _ => {}
        }
        if is_text && self.init != Start::default() {
            return refuse(format!(
                "--init {} gives a classifier, and --classifier text has class texts instead\nhint: give --head",
                self.init
            ));
        }
        for [one, other] in TunerKind::APART {
            if kinds.contains(&one) && kinds.contains(&other) {
                return refuse(format!(
                    "--tuner {one} and {other} tune the same part in two ways\nhint: choose one of them"
                ));
            }
        }
        if self.coop_init.is_some() && !kinds.contains(&TunerKind::Coop) {
            return refuse("--coop-init is given, and no --tuner coop".into());
        }
        let coop = self
            .tuner
            .choices()
            .iter()
            .find(|c| c.kind == TunerKind::Coop);
        if self.coop_init.is_some() && coop.is_some_and(|coop| coop.size.is_some()) {
            return refuse(
                "--coop-init has as many words as its phrase, and coop was given a size\nhint: leave one of them out".into(),
            );
        }
        Ok(())
    }

    /// The file that training starts from, of those that are hashed: the classifier's, or what a run has tuned.
    pub fn start_file(&self) -> Option<PathBuf> {
        let of_run = self.init.run().map(|run| run.join(TUNED));
        self.head.clone().or(of_run)
    }

    /// The settings with what follows from the device where nothing was said.
    pub fn on(&self, device: Device) -> Self {
        Self {
            precision: Some(self.precision.unwrap_or_else(|| Precision::usual(device))),
            ..self.clone()
        }
    }

    /// The settings with steps in so many parts that they keep to `max_memory`, and with batches prepared ahead as it lets
    /// them; what is learned words' is told to keep to its share.
    ///
    /// # Errors
    /// When a single image does not fit, or the loss wants whole steps.
    pub(crate) fn fitting(&self, model: &TunedModel, rows: usize) -> Result<Self> {
        let mut config = self.clone();
        let Some(limit) = self.max_memory else {
            return Ok(config);
        };
        if let Some(context) = model.joint.words() {
            // Texts are encoded when the images' activations are gone: a share is for the estimate's sake.
            context.keep_to(limit.bytes / 4);
        }
        config.prefetch = Some(self.prefetch.unwrap_or(AHEAD));
        let images = self.images_a_step(rows);
        let mut footprint = of_steps(config.steps(), model, images);
        if footprint.most(limit.bytes) == 0 {
            config.prefetch = Some(1);
            footprint = of_steps(config.steps(), model, images);
        }
        let one = format!("a step of {}, one at once,", plain(images as u64, "image"));
        let most = footprint.fitting(images, Some(limit), &one);
        let most = most.map_err(|reason| {
            Error::Usage(format!(
                "{reason}\nhint: --activation-checkpointing takes less, and a smaller --batch-size, whose pixels are there at once"
            ))
        })?;
        config.accumulate = self.accumulate.max(parts(images, most));
        if config.accumulate > 1 && self.loss == LossKind::Lade {
            return Err(Error::Usage(format!(
                "--max-memory {limit} holds {} at once, and --loss lade looks at all {images} of a step\n\
                 hint: --batch-size {most}",
                plain(most as u64, "image")
            )));
        }
        Ok(config)
    }

    /// What decides the memory of a step.
    pub(crate) fn steps(&self) -> Steps {
        Steps {
            optimizer: self.optimizer,
            activation_checkpointing: self.activation_checkpointing,
            prefetch: self.prefetch,
        }
    }

    /// What the optimiser does.
    pub fn optim_settings(&self) -> OptimSettings {
        OptimSettings {
            optimizer: self.optimizer,
            lr: self.lr,
            head_lr: self.head_lr.unwrap_or(self.lr),
            momentum: self.momentum,
            weight_decay: self.weight_decay,
            clip_grad: self.clip_grad,
            precision: self.precision(),
        }
    }

    /// What decides the steps of `model`, of which there are so many in all epochs together.
    pub(crate) fn step_settings(&self, model: &TunedModel, steps: usize) -> StepSettings {
        StepSettings {
            optim: self.optim_settings(),
            schedule: Schedule {
                kind: self.schedule,
                warmup: self.warmup,
                epochs: self.epochs,
                steps,
            },
            loss: self.loss,
            tau: self.tau,
            scale: self.scale(),
            label_smoothing: self.label_smoothing,
            parts: self.accumulate,
            footprint: of_steps(self.steps(), model, self.batch_size),
            max_memory: self.max_memory,
        }
    }

    /// How many images a step has when there are so many training images: the first of an epoch, which is the largest.
    pub(crate) fn images_a_step(&self, rows: usize) -> usize {
        self.batch_size.min(rows)
    }

    /// How test images are passed, and training images where no step is made of them.
    pub fn passing(&self) -> Passing {
        Passing {
            batch_size: self.eval_batch_size.unwrap_or(self.batch_size),
            max_memory: self.max_memory,
            threads: self.threads,
            exact: self.exact,
        }
    }

    /// Whether there may be several validations in an epoch.
    pub fn validates_by_steps(&self) -> bool {
        matches!(self.val_every, Some(ValEvery::Steps(_)))
    }

    /// Kind of the frozen weights; fp32 where it was neither said nor resolved.
    pub fn precision(&self) -> Precision {
        self.precision.unwrap_or_default()
    }

    /// Kind of the residual stream where it is not the frozen weights'.
    pub(crate) fn residual_kind(&self) -> Option<Kind> {
        self.residual.map(Precision::kind)
    }

    /// Factor on the cosines of the classifier; the usual one where the classifier was not asked.
    pub fn scale(&self) -> f64 {
        self.scale.unwrap_or(self.classifier.usual_scale())
    }

    /// How test images are looked at after training.
    pub fn look(&self) -> EvalView {
        EvalView {
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

    /// Whether class texts are tuned, so that the run makes them itself.
    pub fn tunes_texts(&self) -> bool {
        let mut choices = self.tuner.choices().iter();
        choices.any(|choice| choice.kind.tunes_texts())
    }

    /// How many words CoOp learns; none without it.
    pub fn learned_words(&self) -> Option<i64> {
        let mut choices = self.tuner.choices().iter();
        let coop = choices.find(|choice| choice.kind == TunerKind::Coop)?;
        coop.size.or(self.tuner_size).or(Some(USUAL_LENGTH))
    }

    /// The device as meant.
    ///
    /// # Errors
    /// When it is none of auto, cpu and cuda:N.
    pub fn device_choice(&self) -> Result<DeviceChoice> {
        self.device.parse().map_err(Error::Usage)
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

fn images_a_class() -> usize {
    IMAGES_A_CLASS
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

#[cfg(test)]
mod tests;
