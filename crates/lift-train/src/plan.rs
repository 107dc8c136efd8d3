//! What a run is going to do, in a few lines: data, model, steps, and an estimate of its memory.

use std::fmt;

use lift_models::{device_name, memory::MemorySize};
use lift_page::number::plain;
use lift_shards::manifest::Manifest;
use tch::Device;

use crate::{
    config::TrainConfig,
    error::Result,
    footprint::of_steps,
    loss::LossKind,
    model::{ParameterCounts, TunedModel},
    tuner::{Choice, TunerKind},
};
use lift_loader::{Augmentation, Sampler};

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    dataset: String,
    images: u64,
    classes: usize,
    tuner: String,
    parameters: ParameterCounts,
    epochs: usize,
    images_a_step: usize,
    steps: u64,
    sampler: Sampler,
    lr: f64,
    precision: String,
    device: String,
    bytes: u64,
    parts: usize,
    start: Option<String>,
    cache: Option<String>,
    features: Option<String>,
    warnings: Vec<String>,
}

impl Plan {
    /// The plan of a run with these settings, on these training images and so many of `val`.
    ///
    /// # Errors
    /// When the shards are to be held in memory and are larger than what is free.
    pub fn new(
        config: &TrainConfig,
        model: &TunedModel,
        (manifest, val_images): (&Manifest, u64),
        device: Device,
    ) -> Result<Self> {
        let parameters = model.parameter_counts();
        let images_a_step = config.images_a_step(manifest.rows as usize);
        let part = images_a_step.div_ceil(config.accumulate);
        let layers = config.layers.of(model.visual.config().layers);
        let layers = layers.unwrap_or_default();
        Ok(Self {
            dataset: manifest.dataset.clone(),
            images: manifest.rows,
            classes: manifest.num_classes(),
            tuner: describe(config, model, manifest.num_classes(), &layers),
            parameters,
            epochs: config.epochs,
            images_a_step,
            steps: manifest.rows.div_ceil(config.batch_size as u64) * config.epochs as u64,
            sampler: config.sampler,
            lr: config.lr,
            precision: config.precision().to_string(),
            device: device_name(device),
            bytes: of_steps(config.steps(), model, images_a_step).bytes(part),
            parts: config.accumulate.min(images_a_step.max(1)),
            start: start(config, model, manifest),
            cache: config.cache.plan(manifest.bytes())?,
            features: kept(config, model, manifest.rows, val_images),
            warnings: warnings(config, model, manifest, &layers),
        })
    }
}

/// The most that is kept of features of all images together; others are passed through the tower whenever they are looked at.
const MOST_KEPT_BYTES: u64 = 16 << 30;

/// Of which images features are kept, and the bytes that they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeptFeatures {
    /// Of training images.
    pub train: Option<u64>,
    /// Of `val`.
    pub val: Option<u64>,
}

impl KeptFeatures {
    /// Those of so many images that no step changes, and that are looked at more than once.
    pub fn of(config: &TrainConfig, model: &TunedModel, (train, val): (u64, u64)) -> Self {
        if !model.tower_is_frozen() || config.no_feature_cache {
            return Self::default();
        }
        let a_row = model.visual.config().width as u64 * 4;
        let kept = |is_again: bool, images: u64, room: u64| {
            let bytes = images * a_row;
            (is_again && images > 0 && bytes <= room).then_some(bytes)
        };
        let (epochs, is_one_way) = (config.epochs > 1, config.augment == Augmentation::Plain);
        let train = kept(epochs && is_one_way, train, MOST_KEPT_BYTES);
        let room = MOST_KEPT_BYTES - train.unwrap_or(0);
        Self {
            train,
            val: kept(epochs || config.validates_by_steps(), val, room),
        }
    }
}

/// Of which images features are computed once, and what that takes.
fn kept(config: &TrainConfig, model: &TunedModel, train: u64, val: u64) -> Option<String> {
    let kept = KeptFeatures::of(config, model, (train, val));
    let of_train = kept.train.map(|bytes| (plain(train, "image"), bytes));
    let of_val = kept
        .val
        .map(|bytes| (format!("{} of val", plain(val, "image")), bytes));
    let (images, bytes): (Vec<String>, Vec<u64>) = of_train.into_iter().chain(of_val).unzip();
    let bytes = bytes.iter().sum();
    (!images.is_empty()).then(|| {
        format!(
            "of {}, computed once before the first step, {} on disk until the last",
            images.join(" and "),
            MemorySize { bytes }
        )
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &self.parameters;
        writeln!(
            f,
            "data     {}: {}, {}",
            self.dataset,
            plain(self.images, "training image"),
            plain(self.classes as u64, "class")
        )?;
        match self.tuner.as_str() {
            "" => write!(f, "tune     the classifier alone, ")?,
            tuner => write!(f, "tune     {tuner}, {}, ", plain(p.modules, "parameter"))?,
        }
        writeln!(
            f,
            "{:.2} % of the tower's {}; classifier {}",
            100.0 * p.module_share(),
            p.frozen,
            p.classifier
        )?;
        write!(
            f,
            "train    {}, {} of {}, learning rate {}",
            plain(self.epochs as u64, "epoch"),
            plain(self.steps, "step"),
            plain(self.images_a_step as u64, "image"),
            self.lr
        )?;
        match self.sampler {
            Sampler::Instance => writeln!(f)?,
            other => writeln!(f, ", {} sampling", other.as_str())?,
        }
        let gib = self.bytes as f64 / (1u64 << 30) as f64;
        write!(
            f,
            "run      {} on {}, about {gib:.2} GiB for weights, activations and batches",
            self.precision, self.device
        )?;
        match self.parts {
            1 => writeln!(f)?,
            parts => writeln!(f, ", steps in {parts} parts")?,
        }
        for warning in &self.warnings {
            writeln!(f, "{:<8} {warning}", "warning")?;
        }
        let lines = [
            ("cache", &self.cache),
            ("features", &self.features),
            ("start", &self.start),
        ];
        for (name, line) in lines {
            if let Some(line) = line {
                writeln!(f, "{name:<8} {line}")?;
            }
        }
        Ok(())
    }
}

/// What it starts from, where that is no classifier file.
fn start(config: &TrainConfig, model: &TunedModel, manifest: &Manifest) -> Option<String> {
    if let Some(run) = config.init.run() {
        let frozen = if config.freeze_modules {
            ", its modules frozen"
        } else {
            ""
        };
        return Some(format!("the run {}{frozen}", run.display()));
    }
    let width = model.visual.config().width;
    config
        .init
        .makes()?
        .plan(manifest, width, config.init_images)
}

/// What can be done, and is hardly meant.
fn warnings(
    config: &TrainConfig,
    model: &TunedModel,
    manifest: &Manifest,
    layers: &[usize],
) -> Vec<String> {
    let mut found = Vec::new();
    let (rows, classes) = (manifest.rows, manifest.num_classes());
    if config.batch_size as u64 > rows {
        found.push(format!(
            "--batch-size {} is more than there are: a step has all {}",
            config.batch_size,
            plain(rows, "training image")
        ));
    }
    if classes == 1 {
        found.push("there is one class: nothing is told apart, and every accuracy is 100 %".into());
    }
    if config.epochs > 0 && config.lr == 0.0 {
        found.push(match config.head_lr {
            Some(lr) if lr > 0.0 => "--lr 0: only the classifier is tuned, by --head-lr".into(),
            _ => "--lr 0: nothing is tuned, the model stays as it is".to_owned(),
        });
    }
    let width = model.visual.config().width;
    for choice in config.tuner.choices() {
        let what = match choice.kind {
            TunerKind::Lora => "rank",
            TunerKind::Adaptformer | TunerKind::Adapter => "bottleneck",
            _ => continue,
        };
        let size = size_of(choice, config, classes, layers).unwrap_or(0);
        if size > width {
            found.push(format!(
                "{}: its {what} {size} is above the tower's width {width}: more parameters than what it stands beside, and no more that it can learn",
                choice.kind
            ));
        }
    }
    let loss_knows = match config.loss {
        LossKind::La => config.tau > 0.0,
        LossKind::Bs | LossKind::Lade | LossKind::Cb | LossKind::Grw | LossKind::Ldam => true,
        LossKind::Ce | LossKind::Focal => false,
    };
    if config.sampler != Sampler::Instance && loss_knows {
        found.push(format!(
            "--sampler {} and --loss {} both make up for rare classes, which is twice: use --loss ce, or --sampler instance",
            config.sampler.as_str(),
            config.loss
        ));
    }
    found
}

/// The size of a module: its own, the one for all, or the automatic one.
fn size_of(
    choice: &Choice,
    config: &TrainConfig,
    num_classes: usize,
    layers: &[usize],
) -> Option<i64> {
    let automatic = choice.kind.automatic_size(num_classes, layers.len());
    choice.size.or(config.tuner_size).or(automatic)
}

/// The modules with their sizes, and their blocks where that is not all of them; nothing for the classifier alone.
fn describe(
    config: &TrainConfig,
    model: &TunedModel,
    num_classes: usize,
    layers: &[usize],
) -> String {
    let blocks = model.visual.config().layers;
    // A phrase may have other words than the usual four.
    let learned = model.joint.words().map(|context| context.words() as i64);
    let size = |choice: &Choice| match choice.kind {
        TunerKind::Coop => learned,
        kind if kind.has_size() => size_of(choice, config, num_classes, layers),
        _ => None,
    };
    let module = |choice: &Choice| match size(choice) {
        Some(size) => format!("{} (size {size})", choice.kind),
        None => choice.kind.to_string(),
    };
    let modules: Vec<String> = config.tuner.choices().iter().map(module).collect();
    let mut text = modules.join(" + ");
    if !modules.is_empty() && layers.len() < blocks {
        text += &format!(" in {} of {blocks} blocks", layers.len());
    }
    text
}
