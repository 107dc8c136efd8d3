//! `lift-train predict`, as typed.

use std::path::PathBuf;

use clap::Args;

use super::passed::{PassArgs, PassDefaults};
use crate::{
    adjustment::Adjusting,
    command::{self, Asked, PredictSettings},
    config::check_ranges,
    error::Result,
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
struct AskArgs {
    /// Write the predictions: a .csv, .jsonl or .parquet file [default: lines on standard output]
    #[arg(long = "out", value_name = "FILE", id = "predicted")]
    out: Option<PathBuf>,
    #[command(flatten)]
    answers: AnswerArgs,
    /// JSON lines on standard output
    #[arg(long, id = "json-lines", conflicts_with = "predicted")]
    json: bool,
    #[command(flatten)]
    pass: PassArgs,
}

impl AskArgs {
    fn settings(&self, defaults: &PassDefaults) -> Result<PredictSettings> {
        self.answers.check()?;
        let passed = self.pass.with(defaults)?;
        Ok(PredictSettings {
            look: passed.look,
            passing: passed.passing,
            resolution: passed.resolution,
            precision: passed.precision,
            device: passed.device,
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
        let defaults = PassDefaults::of_run(&read_config(&self.run)?);
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
