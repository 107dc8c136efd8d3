//! What is typed.

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};
use lift_page::manual::Manual;

use crate::fit::{self, FitArgs};
use crate::recipe::{self, RunArgs};

/// From photos to a tuned model and its report
#[derive(Debug, Parser)]
#[command(
    name = "lift",
    mut_subcommand("schema", |schema| schema.hide(false)),
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

impl Cli {
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Fit(args) => fit::run(&args),
            Command::Run(args) => recipe::run(&args),
            Command::Manual(manual) => manual.run(Self::command(), recipe::schema),
        }
    }
}
