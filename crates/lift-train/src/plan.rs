//! What a run is going to do, in a few lines: data, model, steps, and an estimate of its memory.

use std::fmt;

use lift_clip::device_name;
use lift_data::manifest::Manifest;
use tch::{Device, Kind};

use crate::{
    config::TrainConfig,
    model::{ParameterCounts, TunedModel},
    tuner::TunerKind,
};

/// The plan of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    dataset: String,
    images: u64,
    classes: usize,
    tuner: TunerKind,
    size: Option<i64>,
    parameters: ParameterCounts,
    epochs: usize,
    batch_size: usize,
    steps: u64,
    lr: f64,
    precision: String,
    device: String,
    bytes: u64,
}

impl Plan {
    /// The plan of a run with these settings.
    pub fn new(
        config: &TrainConfig,
        model: &TunedModel,
        manifest: &Manifest,
        device: Device,
    ) -> Self {
        let parameters = model.parameter_counts();
        let tower = model.visual.config();
        let kind_bytes = if model.visual.kind() == Kind::Float {
            4
        } else {
            2
        };
        // What backward keeps of a block, in multiples of the token width: the inputs of two LayerNorms, query, key,
        // value and their mix, three hidden tensors of the MLP (4 each), and the module's LayerNorm. Frozen linears
        // keep nothing: only the gradient of their input is wanted.
        const KEPT_WIDTHS: u64 = 2 + 4 + 12 + 2;
        let tokens = tower.tokens() as u64 * config.batch_size as u64;
        let tuned_layers = if config.tuner == TunerKind::None {
            0
        } else {
            tower.layers as u64
        };
        let activations =
            tokens * tower.width as u64 * (KEPT_WIDTHS * tuned_layers).max(10) * kind_bytes;
        // Tuned tensors, their gradients and velocities are fp32.
        let weights = parameters.frozen * kind_bytes + parameters.tuned() * 12;
        Self {
            dataset: manifest.dataset.clone(),
            images: manifest.rows,
            classes: manifest.num_classes(),
            tuner: config.tuner,
            size: config.tuner_size.or(config
                .tuner
                .automatic_size(manifest.num_classes(), tower.layers)),
            parameters,
            epochs: config.epochs,
            batch_size: config.batch_size,
            steps: manifest.rows.div_ceil(config.batch_size as u64) * config.epochs as u64,
            lr: config.lr,
            precision: config.precision.to_string(),
            device: device_name(device),
            bytes: weights + activations,
        }
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
        match self.size.filter(|_| self.tuner != TunerKind::None) {
            Some(size) => write!(
                f,
                "tune     {} (size {size}), {} parameters, ",
                self.tuner, p.modules
            )?,
            None => write!(f, "tune     the classifier alone, ")?,
        }
        writeln!(
            f,
            "{:.2} % of the tower's {}; classifier {}",
            100.0 * p.module_share(),
            p.frozen,
            p.classifier
        )?;
        let (epochs, steps, batch) = (self.epochs, self.steps, self.batch_size);
        writeln!(
            f,
            "train    {epochs} epochs, {steps} steps of {batch} images, learning rate {}",
            self.lr
        )?;
        let gib = self.bytes as f64 / (1u64 << 30) as f64;
        writeln!(
            f,
            "run      {} on {}, about {gib:.2} GiB for weights and activations",
            self.precision, self.device
        )
    }
}
