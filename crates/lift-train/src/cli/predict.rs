//! `lift-train predict`, as typed.

use std::path::PathBuf;

use clap::Args;
use lift_models::{Precision, memory::MemorySize};

use crate::{
    adjustment::Adjusting,
    command::{self, Asked, PredictSettings},
    config::{RANDOM_CROPS, check_ranges, precision},
    error::Result,
    eval::{EvalView, Tte},
    passes::Passing,
    run::read_config,
};

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Images, folders, .tar files, lists (.txt, a path a line; .csv or .parquet with a column `path`), a folder of shards, or - for paths on standard input
    #[arg(value_name = "INPUT", required = true)]
    inputs: Vec<PathBuf>,
    /// Model: folder, file or org/name [default: the run's]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Take the logits as the model gives them, whatever `lift-train adjust` keeps in the run
    #[arg(long)]
    no_adjust: bool,
    #[command(flatten)]
    how: AskArgs,
}

/// What is wanted of images without labels.
#[derive(Debug, Args)]
pub(super) struct AnswerArgs {
    /// Write a page with small images by the class they were taken for
    #[arg(long, value_name = "FILE.html")]
    pub(super) gallery: Option<PathBuf>,
    /// Classes of an image that are named, at most
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(super) top: usize,
    /// Name no class that is less likely, such as 0.5
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    pub(super) min_confidence: f64,
    /// Images that may be unreadable; with more the exit code is 1
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) max_bad: u64,
}

impl AnswerArgs {
    pub(super) fn check(&self) -> Result<()> {
        check_ranges(&[
            ("top", self.top as f64, 1.0, 1e6),
            ("min-confidence", self.min_confidence, 0.0, 1.0),
        ])
    }
}

/// How images without labels are asked about.
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    /// Write the predictions: a .csv, .jsonl or .parquet file [default: lines on standard output]
    #[arg(long = "out", value_name = "FILE", id = "predicted")]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    answers: AnswerArgs,
    /// JSON lines on standard output
    #[arg(long, id = "json-lines", conflicts_with = "predicted")]
    json: bool,
    /// Test-time ensembling
    #[arg(long, value_enum, default_value_t = Tte::None)]
    tte: Tte,
    /// Pixels beyond the resolution for ensembling [default: the run's; or 24 of 224]
    #[arg(long, value_name = "PIXELS")]
    expand: Option<u32>,
    /// Crops an image with --tte random-crops
    #[arg(long, value_name = "N", default_value_t = RANDOM_CROPS, hide_short_help = true)]
    crops: usize,
    /// Seed of random crops
    #[arg(long, value_name = "N", default_value_t = 0, hide_short_help = true)]
    seed: u64,
    /// Crops a forward pass, at most
    #[arg(
        long,
        visible_alias = "eval-batch-size",
        value_name = "N",
        default_value_t = 128
    )]
    batch_size: usize,
    /// Most memory that passes may take, such as 12GiB [default: the run's]
    #[arg(long, value_name = "SIZE", hide_short_help = true)]
    max_memory: Option<MemorySize>,
    /// Side of the crops in pixels [default: the run's, or the model's]
    #[arg(long, value_name = "R", hide_short_help = true)]
    resolution: Option<u32>,
    /// Kind of the frozen weights: fp32, bf16 or fp16 [default: the run's, or as in training]
    #[arg(long, value_parser = precision, hide_short_help = true)]
    precision: Option<Precision>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads that compute, and that prepare batches; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Decode large JPEGs at their full size before they are shrunk; as in training if that was with it
    #[arg(long, hide_short_help = true)]
    exact: bool,
}

/// What is taken from a run where nothing is typed.
#[derive(Default)]
pub(super) struct AskDefaults {
    pub(super) expand: Option<u32>,
    pub(super) resolution: Option<u32>,
    pub(super) precision: Option<Precision>,
    pub(super) exact: bool,
    pub(super) max_memory: Option<MemorySize>,
}

impl AskArgs {
    pub(super) fn settings(&self, defaults: &AskDefaults) -> Result<PredictSettings> {
        self.answers.check()?;
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
        Ok(PredictSettings {
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
            top: self.answers.top,
            min_confidence: self.answers.min_confidence,
            max_bad: self.answers.max_bad,
            out: self.out.clone(),
            gallery: self.answers.gallery.clone(),
            json: self.json,
        })
    }
}

impl PredictArgs {
    pub(super) fn run(&self) -> Result<()> {
        let config = read_config(&self.run)?;
        let defaults = AskDefaults {
            expand: config.expand,
            resolution: config.resolution,
            precision: config.precision,
            exact: config.exact,
            max_memory: config.max_memory,
        };
        let settings = self.how.settings(&defaults)?;
        let adjusting = if self.no_adjust {
            Adjusting::LeftOut
        } else {
            Adjusting::AsKept
        };
        let asked = Asked::Run(&self.run, self.model.as_deref(), adjusting);
        command::predict(asked, &self.inputs, &settings)
    }
}
