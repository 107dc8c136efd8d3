//! What a run is going to do, in a few lines: data, model, steps, and an estimate of its memory.

use std::fmt;

use lift_clip::device_name;
use lift_data::manifest::Manifest;
use tch::Device;

use crate::{
    config::TrainConfig,
    error::Result,
    footprint::of_steps,
    loader::Sampler,
    model::{ParameterCounts, TunedModel},
    tuner::{Choice, TunerKind},
};

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    dataset: String,
    images: u64,
    classes: usize,
    tuner: String,
    parameters: ParameterCounts,
    epochs: usize,
    batch_size: usize,
    steps: u64,
    sampler: Sampler,
    lr: f64,
    precision: String,
    device: String,
    bytes: u64,
    parts: usize,
    start: Option<String>,
    cache: Option<String>,
}

impl Plan {
    /// The plan of a run with these settings.
    ///
    /// # Errors
    /// When the shards are to be held in memory and are larger than what is free.
    pub fn new(
        config: &TrainConfig,
        model: &TunedModel,
        manifest: &Manifest,
        device: Device,
    ) -> Result<Self> {
        let parameters = model.parameter_counts();
        let part = config.batch_size.div_ceil(config.accumulate);
        let layers = config.layers.of(model.visual.config().layers);
        let layers = layers.unwrap_or_default();
        Ok(Self {
            dataset: manifest.dataset.clone(),
            images: manifest.rows,
            classes: manifest.num_classes(),
            tuner: describe(config, model, manifest.num_classes(), &layers),
            parameters,
            epochs: config.epochs,
            batch_size: config.batch_size,
            steps: manifest.rows.div_ceil(config.batch_size as u64) * config.epochs as u64,
            sampler: config.sampler,
            lr: config.lr,
            precision: config.precision().to_string(),
            device: device_name(device),
            bytes: of_steps(config, model).bytes(part),
            parts: config.accumulate,
            start: config.init.plan(manifest, model.visual.config().width),
            cache: config.cache.plan(manifest.bytes())?,
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = &self.parameters;
        writeln!(
            f,
            "data     {}: {} training images, {} classes",
            self.dataset, self.images, self.classes
        )?;
        match self.tuner.as_str() {
            "" => write!(f, "tune     the classifier alone, ")?,
            tuner => write!(f, "tune     {tuner}, {} parameters, ", p.modules)?,
        }
        writeln!(
            f,
            "{:.2} % of the tower's {}; classifier {}",
            100.0 * p.module_share(),
            p.frozen,
            p.classifier
        )?;
        let (epochs, steps, batch) = (self.epochs, self.steps, self.batch_size);
        write!(
            f,
            "train    {epochs} epochs, {steps} steps of {batch} images, learning rate {}",
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
        for (name, line) in [("cache", &self.cache), ("start", &self.start)] {
            if let Some(line) = line {
                writeln!(f, "{name:<8} {line}")?;
            }
        }
        Ok(())
    }
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
    let learned = model.joint.context().map(|context| context.words() as i64);
    let size = |choice: &Choice| match choice.kind {
        TunerKind::Coop => learned,
        kind if kind.has_size() => choice
            .size
            .or(config.tuner_size)
            .or(kind.automatic_size(num_classes, layers.len())),
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
