//! `lift-train bench`: its flags, and the settings they mean.

use std::path::PathBuf;

use clap::Args;
use lift_data::Split;

use crate::{
    command::{BenchSettings, Form, Length},
    config::check_ranges,
    error::Result,
    loader::Augmentation,
};

#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  lift-train bench --shards shards --resolution 224 --batch-size 64

Rounds of two kinds take turns: `loader` loads batches as training gets them, and `bare` does the same decoding and
cropping of some of the rows in a plain loop on one thread, from memory. What is printed are the medians. Images per
CPU-second count the time of all threads: they compare machines that are busy with other work too.")]
pub(super) struct BenchArgs {
    /// Folder with shards, as `lift-data build` writes it
    #[arg(long, value_name = "DIR")]
    shards: PathBuf,
    /// Which split
    #[arg(long, value_name = "SPLIT", default_value_t = Split::Train)]
    split: Split,
    /// Side of the crops in pixels
    #[arg(long, value_name = "R", default_value_t = 224)]
    resolution: u32,
    /// Images a batch
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch_size: usize,
    /// Which part of an image is taken; mda as in the first epoch
    #[arg(long, value_enum, default_value_t = Augmentation::Mda)]
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
    pub(super) fn settings(&self) -> Result<BenchSettings> {
        let seconds = self.seconds.unwrap_or(2.0);
        check_ranges(&[
            ("resolution", f64::from(self.resolution), 1.0, 4096.0),
            ("batch-size", self.batch_size as f64, 1.0, 1e6),
            ("epochs", self.epochs.unwrap_or(1) as f64, 1.0, 1e6),
            ("seconds", seconds, f64::MIN_POSITIVE, 86400.0),
            ("rounds", self.rounds as f64, 1.0, 1000.0),
            ("threads", self.threads as f64, 0.0, 1024.0),
            ("depth", self.depth.unwrap_or(1) as f64, 1.0, 1024.0),
        ])?;
        Ok(BenchSettings {
            shards: self.shards.clone(),
            split: self.split,
            resolution: self.resolution,
            batch_size: self.batch_size,
            augment: self.augment,
            length: self.epochs.map_or(Length::Seconds(seconds), Length::Epochs),
            rounds: self.rounds,
            threads: self.threads,
            depth: self.depth,
        })
    }

    pub(super) fn form(&self) -> Form {
        match self.json {
            true => Form::Json,
            false => Form::Table,
        }
    }
}
