//! What is typed.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, CommandFactory, Parser, Subcommand};
use lift_page::manual::Manual;

use crate::{fit, recipe};

/// From photos to a tuned model and its report
#[derive(Debug, Parser)]
#[command(
    name = "lift",
    version,
    after_help = "\
Examples:
  lift fit photos --model openai/clip-vit-base-patch16
  lift fit photos --model clip --out runs -- --tuner lora --epochs 10
  lift run pipelines/shapes-lt.toml"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tune a model on photos with the settings that are advised for them
    ///
    /// Makes shards of the photos (a fifth of each class is held out for testing where there is no test split), a classifier of
    /// the class names, and a run with the settings of `lift-train advise`; evaluates it and writes its report. The same
    /// command goes on where it was stopped, and repeats nothing that is there; other settings make a new run beside it.
    Fit(FitArgs),
    /// Do what a recipe says: its tables [data], [text] and [train], and the report
    Run(RunArgs),
    #[command(flatten)]
    Manual(Manual),
}

/// See `lift fit`.
#[derive(Debug, Args)]
pub(crate) struct FitArgs {
    /// Folder of class folders, or of train/ and test/ with them; or shards
    #[arg(value_name = "PHOTOS")]
    pub photos: PathBuf,
    /// Folder, file, or org/name on Hugging Face
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Folder that gets shards, classifier and numbered runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Share of each class that is held out where there is no test split
    #[arg(long, value_name = "F", default_value_t = 0.2)]
    pub holdout: f64,
    /// A new run, even where one with these settings is there
    #[arg(long)]
    pub again: bool,
    /// Print one JSON document instead of the summary
    #[arg(long)]
    pub json: bool,
    /// More arguments of `lift-train`, behind --
    #[arg(last = true, value_name = "ARGS")]
    pub train: Vec<String>,
}

/// See `lift run`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The recipe; its paths are relative to where this is called, as the programs read them
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// Print one JSON document instead of the summary
    #[arg(long)]
    pub json: bool,
}

impl Cli {
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Fit(args) => fit::run(&args),
            Command::Run(args) => recipe::run(&args),
            Command::Manual(manual) => Ok(manual.run(Self::command())?),
        }
    }
}
