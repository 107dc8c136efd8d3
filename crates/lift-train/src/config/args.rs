//! What can be typed: flags, and the `[train]` table of a recipe below them.

use std::path::{Path, PathBuf};

use clap::Args;
use lift_files::Purpose;
use lift_models::{Precision, memory::MemorySize};
use lift_page::{
    schema::{self, Shape},
    terminal::words,
};
use lift_shards::{Manifest, Split, layout::split_dir};
use serde::Deserialize;

use super::{Start, TrainConfig, checkpoint_every, checkpoint_minutes, one_part};
use crate::{
    classifier::ClassifierKind,
    error::{Error, Result},
    eval::Tte,
    head_init::{HeadInit, IMAGES_A_CLASS},
    joint::ContextPosition,
    loss::LossKind,
    optim::{OptimiserKind, ScheduleKind},
    preset::Preset,
    tuner::{AftPlace, Layers, LoraTarget, TunerKind, Tuners},
    validation::{Kept, Monitor, ValEvery},
};
use lift_loader::{AreaSchedule, Augmentation, Cache, Sampler};

/// `--residual`: what is wider than 16 bits.
const RESIDUALS: [(Precision, &str, &str); 1] = [(Precision::Fp32, "fp32", "32-bit floats")];

/// What can be typed, and what the `[train]` table of a recipe may hold.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainArgs {
    /// Folder of shards, as `lift-data build` writes it
    #[arg(long, value_name = "DIR")]
    pub shards: Option<PathBuf>,
    /// Model: folder, file, or org/name on Hugging Face
    #[arg(long, value_name = "MODEL")]
    pub model: Option<PathBuf>,
    /// Classifier file from `lift-text classifier`
    #[arg(long, value_name = "FILE")]
    pub head: Option<PathBuf>,
    /// head (with --head), class-mean, linear-probe, random, or the folder of a run [default: head]
    ///
    /// What the classifier starts from. class-mean and linear-probe are made from the training shards; the papers start towers
    /// without a text tower from class means. A run gives its modules too, and its settings of them where none are typed.
    #[arg(long, value_name = "START|RUN", hide_short_help = true)]
    pub init: Option<Start>,
    /// Images of a class that --init looks at, at most; 0: all [default: 100]
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub init_images: Option<usize>,
    /// New folder for the run's files
    #[arg(long, value_name = "RUN")]
    pub out: Option<PathBuf>,
    /// Named settings: lift+, lift, lp, fft, aft, coop, zs
    #[arg(long, value_enum, hide_possible_values = true)]
    pub preset: Option<Preset>,
    /// Modules, such as lora:8,adaptformer, or none
    ///
    /// adaptformer, adapter, lora, vpt-shallow, vpt-deep, ssf, bitfit, layer-norm, aft, full; and between the towers of a
    /// CLIP, without a classifier: coop, projection and clip-adapter (of images, as in its paper), projection-both and
    /// clip-adapter-both (of images and texts, as in the LIFT+ authors' code). A size is the bottleneck dimension, the
    /// rank, the number of tokens or of learned words; bitfit, layer-norm, aft, full, ssf and projections have none.
    #[arg(long, value_name = "A,B")]
    pub tuner: Option<Tuners>,
    /// Size of modules that are given without one [default: from classes and layers]
    #[arg(
        long,
        value_name = "R",
        hide_short_help = true,
        help_heading = "What is tuned"
    )]
    pub tuner_size: Option<i64>,
    /// Blocks that get modules: all, last:2 or 0,3,5 [default: all]
    #[arg(long, help_heading = "What is tuned", hide_short_help = true)]
    pub layers: Option<Layers>,
    /// Projections that LoRA is put on [default: q,v]
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        hide_short_help = true,
        help_heading = "What is tuned"
    )]
    pub lora_targets: Option<Vec<LoraTarget>>,
    /// Linears that aft takes entries of [default: all]
    #[arg(
        long,
        value_enum,
        hide_short_help = true,
        help_heading = "What is tuned"
    )]
    pub aft_on: Option<AftPlace>,
    /// Fraction of their entries [default: as many as the classifier has]
    #[arg(long, hide_short_help = true, help_heading = "What is tuned")]
    pub aft_ratio: Option<f64>,
    /// On the class token [default: cosine; text with projection, clip-adapter and coop]
    #[arg(
        long,
        value_enum,
        hide_short_help = true,
        help_heading = "What is tuned"
    )]
    pub classifier: Option<ClassifierKind>,
    /// Where the learned words of coop stand: the class name after, between or before them [default: end]
    #[arg(
        long,
        value_enum,
        hide_short_help = true,
        help_heading = "What is tuned"
    )]
    pub coop_position: Option<ContextPosition>,
    /// Phrase that they start from, such as "a photo of a"; its full stop is learned too [default: random words]
    #[arg(
        long,
        value_name = "PHRASE",
        hide_short_help = true,
        help_heading = "What is tuned"
    )]
    pub coop_init: Option<String>,
    /// Tune the classifier alone, and keep the modules that --init RUN brings (cRT, Kang et al. 2020)
    #[arg(
        long,
        num_args = 0,
        default_missing_value = "true",
        hide_short_help = true,
        help_heading = "What is tuned"
    )]
    pub freeze_modules: Option<bool>,
    /// Training loss [default: la]
    #[arg(long, value_enum, help_heading = "Training", hide_short_help = true)]
    pub loss: Option<LossKind>,
    /// Passes over the training images [the preset's: 5]
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Learning rate of the first epoch [default: the preset's, 0.02]
    #[arg(long, help_heading = "Training", hide_short_help = true)]
    pub lr: Option<f64>,
    /// Images a step [default: the preset's, 128]
    #[arg(
        long,
        value_name = "N",
        help_heading = "Training",
        hide_short_help = true
    )]
    pub batch_size: Option<usize>,
    /// Keep of the blocks only what enters them, and compute them again in the backward pass: less memory, more time
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", hide_short_help = true, help_heading = "Training")]
    pub activation_checkpointing: Option<bool>,
    /// Learning rate of the classifier [default: --lr]
    #[arg(long, hide_short_help = true, help_heading = "Training")]
    pub head_lr: Option<f64>,
    /// Rule of the steps [default: sgd]
    #[arg(long, value_enum, hide_short_help = true, help_heading = "Training")]
    pub optimizer: Option<OptimiserKind>,
    /// How the learning rate falls [default: cosine-epoch]
    #[arg(long, value_enum, hide_short_help = true, help_heading = "Training")]
    pub schedule: Option<ScheduleKind>,
    /// Steps in which the learning rate grows to the schedule's [default: 0]
    #[arg(
        long,
        value_name = "STEPS",
        hide_short_help = true,
        help_heading = "Training"
    )]
    pub warmup: Option<usize>,
    /// Parts that the images of a step are passed in, for less memory; the result is the same [default: 1]
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Training"
    )]
    pub accumulate: Option<usize>,
    /// Largest norm of the gradient of a step [default: none]
    #[arg(
        long,
        value_name = "X",
        hide_short_help = true,
        help_heading = "Training"
    )]
    pub clip_grad: Option<f64>,
    /// Share of a label that is spread over all classes; not with focal [default: 0]
    #[arg(
        long,
        value_name = "X",
        hide_short_help = true,
        help_heading = "Training"
    )]
    pub label_smoothing: Option<f64>,
    /// Momentum of SGD [default: 0.9]
    #[arg(long, hide_short_help = true, help_heading = "Training")]
    pub momentum: Option<f64>,
    /// Weight decay on everything tuned [default: 5e-4]
    #[arg(long, hide_short_help = true, help_heading = "Training")]
    pub weight_decay: Option<f64>,
    /// Strength of the logit adjustment [default: 1]
    #[arg(long, hide_short_help = true, help_heading = "Training")]
    pub tau: Option<f64>,
    /// Factor on the cosines of the classifier [default: 25; 100 for text]
    #[arg(long, hide_short_help = true, help_heading = "Training")]
    pub scale: Option<f64>,
    /// What is done to training images [default: the preset's, mda]
    #[arg(long, value_parser = words(&Augmentation::WORDS), hide_short_help = true, help_heading = "Images")]
    pub augment: Option<Augmentation>,
    /// How the smallest crop grows [default: convex]
    #[arg(long, value_parser = words(&AreaSchedule::WORDS), hide_short_help = true, help_heading = "Images")]
    pub area_schedule: Option<AreaSchedule>,
    /// How training images are drawn [default: instance]
    #[arg(long, value_parser = words(&Sampler::WORDS), hide_short_help = true, help_heading = "Images")]
    pub sampler: Option<Sampler>,
    /// Shuffle windows of so many images, for shards larger than memory [default: all together]
    ///
    /// Runs of 256 neighbouring images, in random order, shuffled within a window. Build with --order shuffled for it.
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Images"
    )]
    pub shuffle_window: Option<usize>,
    /// Decode large JPEGs at their full size before they are shrunk (slower)
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", hide_short_help = true, help_heading = "Images")]
    pub exact: Option<bool>,
    /// Kind of the frozen weights: fp32, bf16 or fp16 [default: by device]
    ///
    /// bf16 on CUDA, fp32 on the CPU. With fp16 the loss is scaled by a factor that adapts itself, and steps whose gradients overflow are skipped.
    #[arg(long, value_parser = words(&Precision::WORDS), hide_possible_values = true, help_heading = "Machine", hide_short_help = true)]
    pub precision: Option<Precision>,
    /// fp32: keep the tokens between the blocks in 32 bits beside weights of 16 [default: as --precision]
    #[arg(long, value_parser = words(&RESIDUALS), hide_possible_values = true, value_name = "fp32", help_heading = "Machine", hide_short_help = true)]
    pub residual: Option<Precision>,
    /// auto, cpu or cuda:N [default: auto]
    #[arg(long, help_heading = "Machine", hide_short_help = true)]
    pub device: Option<String>,
    /// Most memory that steps and evaluations may take, such as 12GiB; they are passed in as many parts as it needs
    ///
    /// By an estimate on the CPU; on CUDA the device's allocator keeps to it too. The result is that of whole steps.
    #[arg(
        long,
        value_name = "SIZE",
        hide_short_help = true,
        help_heading = "Machine"
    )]
    pub max_memory: Option<MemorySize>,
    /// Crops that evaluations pass at once, at most; the result is the same [default: --batch-size]
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Validation and evaluation"
    )]
    pub eval_batch_size: Option<usize>,
    /// Go on where classes start with the same row or text, which may never be told apart
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", hide_short_help = true)]
    pub allow_identical: Option<bool>,
    /// Side of the crops in pixels, a multiple of the patch size [default: the model's]
    ///
    /// Positions are resampled for it (bicubic), as timm does.
    #[arg(
        long,
        value_name = "R",
        hide_short_help = true,
        help_heading = "Images"
    )]
    pub resolution: Option<u32>,
    /// Seed of order, crops and initial values [default: 0]
    #[arg(long, help_heading = "Training", hide_short_help = true)]
    pub seed: Option<u64>,
    /// Test-time ensembling after training [default: five-crop]
    ///
    /// Besides the plain evaluation: none, five-crop, ten-crop or random-crops.
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        help_heading = "Validation and evaluation",
        hide_short_help = true
    )]
    pub tte: Option<Tte>,
    /// Pixels beyond the resolution for ensembling [default: 24 of 224]
    ///
    /// From a resolution of 224 on it is 24, below that 3 in 28 of it. No multiple of the patch size: the crops would repeat the
    /// patch grid.
    #[arg(
        long,
        value_name = "PIXELS",
        help_heading = "Validation and evaluation",
        hide_short_help = true
    )]
    pub expand: Option<u32>,
    /// Threads that compute, and that prepare batches [default: one a core]
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Machine"
    )]
    pub threads: Option<usize>,
    /// Batches that are prepared ahead [default: by threads and batch size]
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Images"
    )]
    pub prefetch: Option<usize>,
    /// Where training shards are while they are read: system (mapped) or ram [default: system]
    #[arg(long, value_parser = words(&Cache::WORDS), hide_short_help = true, help_heading = "Images")]
    pub cache: Option<Cache>,
    /// Compute features in each epoch, even where no step changes them: of a frozen tower, with --augment plain and of val
    #[arg(
        long,
        num_args = 0,
        default_missing_value = "true",
        hide_short_help = true,
        help_heading = "Images"
    )]
    pub no_feature_cache: Option<bool>,
    /// Measure accuracy on the val split: epoch, never or every N steps [default: epoch, where there is one]
    ///
    /// The figures by band go into the log, the run's page and TensorBoard. Nothing of the training changes by it.
    #[arg(
        long,
        value_name = "WHEN",
        help_heading = "Validation and evaluation",
        hide_short_help = true
    )]
    pub val_every: Option<ValEvery>,
    /// The figure on val that says which state of the model is the best [default: mean-class]
    #[arg(
        long,
        value_enum,
        hide_short_help = true,
        help_heading = "Validation and evaluation"
    )]
    pub monitor: Option<Monitor>,
    /// States of the model that are kept: last, best or both; the first is the run's model [default: last]
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        help_heading = "Validation and evaluation",
        hide_short_help = true
    )]
    pub keep: Option<Vec<Kept>>,
    /// End training after so many validations without a better one [default: none]
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Validation and evaluation"
    )]
    pub patience: Option<usize>,
    /// Steps between two lines of metrics [default: 10]
    #[arg(
        long,
        value_name = "STEPS",
        hide_short_help = true,
        help_heading = "Log and checkpoints"
    )]
    pub log_every: Option<usize>,
    /// Steps between two checkpoints; 0: none by steps [default: 500]
    #[arg(
        long,
        value_name = "STEPS",
        hide_short_help = true,
        help_heading = "Log and checkpoints"
    )]
    pub checkpoint_every: Option<usize>,
    /// Minutes after which there is one at the latest; 0: none by time [default: 10]
    #[arg(
        long,
        value_name = "M",
        hide_short_help = true,
        help_heading = "Log and checkpoints"
    )]
    pub checkpoint_minutes: Option<f64>,
    /// Checkpoints that stay when there are newer ones, and when the run has ended [default: 0]
    ///
    /// A run that kept one can be extended (`resume RUN --epochs 8`), or gone back to (`resume RUN --from-step N`).
    #[arg(
        long,
        value_name = "K",
        hide_short_help = true,
        help_heading = "Log and checkpoints"
    )]
    pub keep_checkpoints: Option<usize>,
    /// Also write the metrics as a TensorBoard event file, RUN/tensorboard/
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", hide_short_help = true, help_heading = "Log and checkpoints")]
    pub tensorboard: Option<bool>,
    /// Recipe (its table [train]), or the config.toml of a run
    ///
    /// It gives what is not typed.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Print the resolved plan and stop
    #[arg(long)]
    #[serde(skip)]
    pub dry_run: bool,
}

impl TrainArgs {
    /// The JSON schema of the `[train]` table.
    pub fn schema() -> serde_json::Value {
        let command = Self::augment_args(clap::Command::new("train"));
        let shapes = [
            ("lora_targets", Shape::List),
            ("val_every", Shape::TextOrCount),
            ("keep", Shape::List),
            ("config", Shape::Typed),
            ("dry_run", Shape::Typed),
        ];
        schema::of_table(&command, &shapes)
    }

    /// What the `[train]` table of a recipe says; nothing without a recipe.
    ///
    /// # Errors
    /// When the file cannot be read or has a key that is not known.
    pub fn of_recipe(path: Option<&Path>) -> Result<Self> {
        path.map_or_else(|| Ok(Self::default()), read_table)
    }

    /// With the model and the modules of a run where nothing is said of them.
    fn or_of_run(self, run: TrainConfig) -> Self {
        Self {
            model: self.model.or(Some(run.model)),
            tuner: self.tuner.or(Some(run.tuner)),
            tuner_size: self.tuner_size.or(run.tuner_size),
            layers: self.layers.or(Some(run.layers)),
            lora_targets: self.lora_targets.or(Some(run.lora_targets)),
            aft_on: self.aft_on.or(Some(run.aft_on)),
            aft_ratio: self.aft_ratio.or(run.aft_ratio),
            classifier: self.classifier.or(Some(run.classifier)),
            scale: self.scale.or(run.scale),
            resolution: self.resolution.or(run.resolution),
            ..self
        }
    }

    /// Fills what was not typed from the recipe and the preset, and checks the values.
    ///
    /// # Errors
    /// When the recipe cannot be read, a path is missing, or a value cannot be.
    pub fn resolve(self) -> Result<TrainConfig> {
        self.resolve_from(|_| Ok(None))
    }

    /// As [`TrainArgs::resolve`], with what `of_run` says are the settings of the run that training starts from, where it does:
    /// behind what is typed and the recipe, before the preset.
    ///
    /// # Errors
    /// As [`TrainArgs::resolve`], and when `of_run` fails.
    pub fn resolve_from(
        self,
        of_run: impl FnOnce(&Path) -> Result<Option<TrainConfig>>,
    ) -> Result<TrainConfig> {
        let recipe = Self::of_recipe(self.config.as_deref())?;
        let start = self.init.as_ref().or(recipe.init.as_ref());
        let of_run = start.and_then(Start::run).map(of_run).transpose()?;
        let recipe = match of_run.flatten() {
            Some(of_run) => recipe.or_of_run(of_run),
            None => recipe,
        };
        let preset = self.preset.or(recipe.preset).unwrap_or_default();
        let shards = required(self.shards.or(recipe.shards), "shards")?;
        let usual = preset.values(dataset_of(&shards).as_deref());
        let model = required(self.model.or(recipe.model), "model")?;
        let tuner = self.tuner.or(recipe.tuner).unwrap_or(usual.tuner);
        let kinds = || tuner.choices().iter().map(|choice| choice.kind);
        let typed = (self.init, self.head);
        let texts = kinds().find(|kind| kind.tunes_texts());
        let (init, head) = match texts {
            // A recipe may serve several methods, and its head the others.
            Some(kind) if typed != (None, None) => {
                return Err(Error::Usage(format!(
                    "--tuner {kind} makes the class texts itself\nhint: leave --head and --init out"
                )));
            }
            Some(_) => (Start::default(), None),
            None => initial(typed, (recipe.init, recipe.head))?,
        };
        let classifier = self.classifier.or(recipe.classifier).unwrap_or_else(|| {
            if kinds().any(TunerKind::is_between_towers) {
                ClassifierKind::Text
            } else {
                ClassifierKind::default()
            }
        });
        let config = TrainConfig {
            shards,
            model,
            head,
            init,
            init_images: self
                .init_images
                .or(recipe.init_images)
                .unwrap_or(IMAGES_A_CLASS),
            out: required(self.out.or(recipe.out), "out")?,
            preset,
            tuner,
            tuner_size: self.tuner_size.or(recipe.tuner_size),
            layers: self.layers.or(recipe.layers).unwrap_or_default(),
            lora_targets: self
                .lora_targets
                .or(recipe.lora_targets)
                .unwrap_or_else(LoraTarget::usual),
            aft_on: self.aft_on.or(recipe.aft_on).unwrap_or_default(),
            aft_ratio: self.aft_ratio.or(recipe.aft_ratio),
            classifier,
            coop_position: self
                .coop_position
                .or(recipe.coop_position)
                .unwrap_or_default(),
            coop_init: self.coop_init.or(recipe.coop_init),
            freeze_modules: self
                .freeze_modules
                .or(recipe.freeze_modules)
                .unwrap_or(false),
            activation_checkpointing: self
                .activation_checkpointing
                .or(recipe.activation_checkpointing)
                .unwrap_or(false),
            loss: self.loss.or(recipe.loss).unwrap_or_default(),
            epochs: self.epochs.or(recipe.epochs).unwrap_or(usual.epochs),
            lr: self.lr.or(recipe.lr).unwrap_or(usual.lr),
            batch_size: self
                .batch_size
                .or(recipe.batch_size)
                .unwrap_or(usual.batch_size),
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
            scale: self.scale.or(recipe.scale),
            augment: self.augment.or(recipe.augment).unwrap_or(usual.augment),
            area_schedule: self
                .area_schedule
                .or(recipe.area_schedule)
                .unwrap_or_default(),
            sampler: self.sampler.or(recipe.sampler).unwrap_or_default(),
            shuffle_window: self.shuffle_window.or(recipe.shuffle_window),
            exact: self.exact.or(recipe.exact).unwrap_or(false),
            precision: self.precision.or(recipe.precision),
            residual: self.residual.or(recipe.residual),
            max_memory: self.max_memory.or(recipe.max_memory),
            eval_batch_size: self.eval_batch_size.or(recipe.eval_batch_size),
            allow_identical: self
                .allow_identical
                .or(recipe.allow_identical)
                .unwrap_or(false),
            resolution: self.resolution.or(recipe.resolution),
            device: self
                .device
                .or(recipe.device)
                .unwrap_or_else(|| "auto".into()),
            seed: self.seed.or(recipe.seed).unwrap_or(0),
            tte: self.tte.or(recipe.tte).unwrap_or_default(),
            expand: self.expand.or(recipe.expand),
            threads: self.threads.or(recipe.threads).unwrap_or(0),
            prefetch: self.prefetch.or(recipe.prefetch),
            cache: self.cache.or(recipe.cache).unwrap_or_default(),
            no_feature_cache: self
                .no_feature_cache
                .or(recipe.no_feature_cache)
                .unwrap_or(false),
            val_every: self.val_every.or(recipe.val_every),
            monitor: self.monitor.or(recipe.monitor).unwrap_or_default(),
            keep: self.keep.or(recipe.keep).unwrap_or_else(Kept::usual),
            patience: self.patience.or(recipe.patience),
            log_every: self.log_every.or(recipe.log_every).unwrap_or(10),
            checkpoint_every: self
                .checkpoint_every
                .or(recipe.checkpoint_every)
                .unwrap_or_else(checkpoint_every),
            checkpoint_minutes: self
                .checkpoint_minutes
                .or(recipe.checkpoint_minutes)
                .unwrap_or_else(checkpoint_minutes),
            keep_checkpoints: self
                .keep_checkpoints
                .or(recipe.keep_checkpoints)
                .unwrap_or(0),
            tensorboard: self.tensorboard.or(recipe.tensorboard).unwrap_or(false),
        };
        config.check()?;
        Ok(config)
    }
}

/// What training starts from, and a classifier's file: what was typed before what the recipe says.
fn initial(
    typed: (Option<Start>, Option<PathBuf>),
    recipe: (Option<Start>, Option<PathBuf>),
) -> Result<(Start, Option<PathBuf>)> {
    let recipes_head = recipe.1.clone();
    match [typed, recipe].into_iter().find(|(init, head)| init.is_some() || head.is_some()) {
        None => Err(Error::Usage(
            "no head given, and no --init to make one\nhint: --head PATH, or `head` in [train] of the recipe; or --init class-mean, linear-probe or random".into(),
        )),
        Some((None | Some(Start::Head(HeadInit::Head)), head)) => {
            let head = required(head.or(recipes_head), "head")?;
            Ok((Start::default(), Some(head)))
        }
        Some((Some(init), None)) => Ok((init, None)),
        Some((Some(init), Some(head))) => Err(Error::Usage(format!(
            "--init {init} gives the classifier itself, and --head {} is given too\nhint: leave one of them out",
            head.display()
        ))),
    }
}

/// The [train] table of a recipe, the other tables of which belong to the other programs; or the settings of a run, whose
/// folder is not taken for the new one's.
fn read_table(path: &Path) -> Result<TrainArgs> {
    #[derive(Deserialize)]
    struct Recipe {
        train: TrainArgs,
    }
    let text = lift_files::text(path, Purpose::Settings).map_err(Error::io(path))?;
    if toml::from_str::<TrainConfig>(&text).is_ok()
        && let Ok(settings) = toml::from_str::<TrainArgs>(&text)
    {
        return Ok(TrainArgs {
            out: None,
            ..settings
        });
    }
    let recipe: Recipe = toml::from_str(&text)
        .map_err(|e| Error::Config(format!("{}: {}", path.display(), e.to_string().trim_end())))?;
    Ok(recipe.train)
}

/// The dataset that the shards are of; shards that cannot be read are refused when they are opened.
fn dataset_of(shards: &Path) -> Option<String> {
    let manifest = split_dir(shards, Split::Train).and_then(|dir| Manifest::load(&dir));
    manifest.ok().map(|manifest| manifest.dataset)
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
