//! `lift-train bench`: its flags, and the settings they mean.
//!
//! Without `--stage` it measures the loader, on shards; with it a part of training or evaluation, on drawn images.

use std::path::PathBuf;

use clap::Args;
use lift_models::{DeviceChoice, Precision};
use lift_page::terminal::words;
use lift_shards::Split;

use crate::{
    command::{self, BenchSettings, Form, Length, Stage, StageSettings},
    config::check_ranges,
    error::{Error, Result},
    tuner::Tuners,
};
use lift_loader::Augmentation;

#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  lift-train bench --shards shards --resolution 224 --batch-size 64
  lift-train bench --stage step --model clip-vit-base-patch16 --device cuda:0

Rounds of two kinds take turns: `loader` loads batches as training gets them, and `bare` does the same decoding and \
cropping of some of the rows in a plain loop on one thread, from memory. What is printed are the medians. Images per \
CPU-second count the time of all threads: they compare machines that are busy with other work too.")]
pub(super) struct BenchArgs {
    /// Folder with shards, as `lift-data build` writes it
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "stage",
        conflicts_with = "stage"
    )]
    shards: Option<PathBuf>,
    /// Instead of the loader: a step of training, the forward pass of an evaluation, or batches' way to the device; with --model
    #[arg(long, value_enum, requires = "model")]
    stage: Option<Stage>,
    /// Model of the stage: folder, file or org/name
    #[arg(long, value_name = "MODEL", requires = "stage")]
    model: Option<PathBuf>,
    /// Classes of the stage's classifier
    #[arg(long, value_name = "K", default_value_t = 1000)]
    num_classes: usize,
    /// Modules of the stage's model [default: adaptformer]
    #[arg(long, value_name = "A,B", requires = "stage")]
    tuner: Option<Tuners>,
    /// Of the stage's frozen weights: fp32, bf16 or fp16 [default: bf16 on CUDA, else fp32]
    #[arg(long, value_parser = words(&Precision::WORDS), hide_possible_values = true, requires = "stage")]
    precision: Option<Precision>,
    /// Where the stage runs: auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Which split
    #[arg(long, value_name = "SPLIT", default_value_t = Split::Train)]
    split: Split,
    /// Side of the crops in pixels [default: 224; a stage's: the model's]
    #[arg(long, value_name = "R")]
    resolution: Option<u32>,
    /// Images a batch [default: 64; a stage's: 128]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Which part of an image is taken; mda as in the first epoch
    #[arg(long, value_parser = words(&Augmentation::WORDS), default_value = "mda")]
    augment: Augmentation,
    /// Length of a round in passes over the images
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    epochs: Option<usize>,
    /// Length of a round in seconds, about [default: 2]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Rounds of each kind
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Threads that prepare batches; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Batches that are prepared ahead [default: by threads and batch size]
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

impl BenchArgs {
    /// Measures, and prints what came out.
    pub(super) fn run(&self) -> Result<()> {
        let seconds = self.seconds.unwrap_or(2.0);
        let resolution = self.resolution.unwrap_or(224);
        check_ranges(&[
            ("resolution", f64::from(resolution), 1.0, 4096.0),
            ("batch-size", self.batch_size.unwrap_or(1) as f64, 1.0, 1e6),
            ("num-classes", self.num_classes as f64, 1.0, 1e6),
            ("epochs", self.epochs.unwrap_or(1) as f64, 1.0, 1e6),
            ("seconds", seconds, f64::MIN_POSITIVE, 86400.0),
            ("rounds", self.rounds as f64, 1.0, 1000.0),
            ("threads", self.threads as f64, 0.0, 1024.0),
            ("depth", self.depth.unwrap_or(1) as f64, 1.0, 1024.0),
        ])?;
        if let (Some(stage), Some(model)) = (self.stage, &self.model) {
            let choice: DeviceChoice = self.device.parse().map_err(Error::Usage)?;
            let report = command::stage(&StageSettings {
                stage,
                model: model.clone(),
                num_classes: self.num_classes,
                tuner: self.tuner.clone(),
                batch_size: self.batch_size.unwrap_or(128),
                resolution: self.resolution,
                precision: self.precision,
                device: choice.resolve_with_note()?,
                seconds,
            })?;
            return command::print_stage(&report, self.form());
        }
        let report = command::bench(&BenchSettings {
            shards: self.shards.clone().unwrap_or_default(),
            split: self.split,
            resolution,
            batch_size: self.batch_size.unwrap_or(64),
            augment: self.augment,
            length: self.epochs.map_or(Length::Seconds(seconds), Length::Epochs),
            rounds: self.rounds,
            threads: self.threads,
            depth: self.depth,
        })?;
        command::print_bench(&report, self.form())
    }

    fn form(&self) -> Form {
        if self.json { Form::Json } else { Form::Table }
    }
}
