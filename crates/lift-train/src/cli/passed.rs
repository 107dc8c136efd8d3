//! How images are looked at and passed without training, as typed for evaluations and predictions.

use std::path::PathBuf;

use clap::Args;
use lift_models::{Precision, memory::MemorySize};
use lift_page::terminal::words;
use lift_shards::Split;
use tch::Device;

use crate::{
    adjustment::Adjusting,
    command::{self, EvalSettings},
    config::{RANDOM_CROPS, TrainConfig, check_ranges},
    error::Result,
    eval::{EvalView, Tte},
    passes::Passing,
};

#[derive(Debug, Args)]
pub(super) struct PassArgs {
    /// Test-time ensembling
    #[arg(long, value_enum, default_value_t = Tte::None)]
    tte: Tte,
    /// Pixels beyond the resolution for ensembling [default: the run's; or 24 of 224]
    #[arg(long, value_name = "PIXELS")]
    expand: Option<u32>,
    /// Crops an image with --tte random-crops
    #[arg(long, value_name = "N", default_value_t = RANDOM_CROPS, hide_short_help = true)]
    crops: usize,
    /// Seed of random crops and of the bootstrap intervals
    #[arg(long, value_name = "N", default_value_t = 0, hide_short_help = true)]
    seed: u64,
    /// Crops a forward pass, at most
    #[arg(
        long,
        visible_alias = "eval-batch-size",
        value_name = "N",
        default_value_t = 128,
        hide_short_help = true
    )]
    batch_size: usize,
    /// Most memory that passes may take, such as 12GiB [default: the run's]
    #[arg(long, value_name = "SIZE", hide_short_help = true)]
    max_memory: Option<MemorySize>,
    /// Side of the crops in pixels [default: the run's, or the model's]
    #[arg(long, value_name = "R", hide_short_help = true)]
    resolution: Option<u32>,
    /// Kind of the frozen weights: fp32, bf16 or fp16 [default: the run's, or as in training]
    #[arg(long, value_parser = words(&Precision::WORDS), hide_possible_values = true, hide_short_help = true)]
    precision: Option<Precision>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads that compute, and that prepare batches; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0, hide_short_help = true)]
    threads: usize,
    /// Decode large JPEGs at their full size before they are shrunk; as in training if that was with it
    #[arg(long, hide_short_help = true)]
    exact: bool,
}

/// What is taken from a run or a recipe where nothing is typed.
pub(super) struct PassDefaults {
    pub(super) expand: Option<u32>,
    pub(super) resolution: Option<u32>,
    pub(super) precision: Option<Precision>,
    pub(super) exact: bool,
    pub(super) max_memory: Option<MemorySize>,
}

impl PassDefaults {
    /// Those of a run.
    pub(super) fn of_run(config: &TrainConfig) -> Self {
        Self {
            expand: config.expand,
            resolution: config.resolution,
            precision: config.precision,
            exact: config.exact,
            max_memory: config.max_memory,
        }
    }
}

/// What was typed, with the defaults.
pub(super) struct Passed {
    pub(super) look: EvalView,
    pub(super) passing: Passing,
    pub(super) resolution: Option<u32>,
    pub(super) precision: Precision,
    pub(super) device: Device,
}

impl Passed {
    /// An evaluation of a split that writes no file and obeys no adjustment.
    pub(super) fn of_split(self, shards: PathBuf, split: Split) -> EvalSettings {
        EvalSettings {
            shards,
            split,
            look: self.look,
            passing: self.passing,
            resolution: self.resolution,
            precision: self.precision,
            device: self.device,
            predictions: None,
            confusion: None,
            logits: None,
            adjusting: Adjusting::LeftOut,
            level: None,
        }
    }
}

impl PassArgs {
    pub(super) fn with(&self, defaults: &PassDefaults) -> Result<Passed> {
        let expand = self.expand.or(defaults.expand);
        check_ranges(&[
            ("expand", f64::from(expand.unwrap_or(0)), 0.0, 4096.0),
            ("crops", self.crops as f64, 1.0, 1024.0),
            ("batch-size", self.batch_size as f64, 1.0, 1e6),
            ("threads", self.threads as f64, 0.0, 1024.0),
        ])?;
        let max_memory = self.max_memory.or(defaults.max_memory);
        let device = command::device(&self.device, max_memory, self.threads)?;
        let precision = self.precision.or(defaults.precision);
        Ok(Passed {
            look: EvalView {
                tte: self.tte,
                expand,
                random_crops: self.crops,
                seed: self.seed,
            },
            passing: Passing {
                batch_size: self.batch_size,
                max_memory,
                threads: self.threads,
                exact: self.exact || defaults.exact,
            },
            resolution: self.resolution.or(defaults.resolution),
            precision: precision.unwrap_or_else(|| Precision::usual(device)),
            device,
        })
    }
}
