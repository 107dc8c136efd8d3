//! The command line of `lift-train`: what was typed becomes settings here, and commands run.

mod adjust;
mod advise;
mod bench;
mod check;
mod eval;
mod export;
mod import;
mod init;
mod passed;
mod predict;
mod report;
mod resume;
mod run_arg;
mod shown;
mod soup;
mod sweep;

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use lift_page::manual::Manual;

use crate::{
    command,
    config::TrainArgs,
    error::{Error, Result},
    stop::Stop,
};

/// Tune a foundation model on long-tailed shards (LIFT+), evaluate it, compare runs.
///
/// Without a command it trains.
#[derive(Debug, Parser)]
#[command(
    name = "lift-train",
    version,
    about,
    args_conflicts_with_subcommands = true
)]
#[command(after_long_help = "Examples:
  lift-train --shards shards --model clip --head head.safetensors --out runs/first
  lift-train --config pipelines/shapes-lt.toml --seed 1 --out runs/seed-1
  lift-train --config pipelines/shapes-lt.toml --dry-run
  lift-train resume runs/first
  lift-train eval runs/first --tte five-crop --expand 24 --json
  lift-train predict runs/first photo.jpg
  lift-train zero-shot --shards shards --model clip --head head.safetensors
  lift-train compare runs/*")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    train: TrainArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tune a model; also without this word
    Train(Box<TrainArgs>),
    /// Go on with a run that was stopped or killed
    ///
    /// It goes on from its last checkpoint, and ends with the losses and weights of a run that was never stopped.
    /// A path that is given replaces the run's, where things were moved; what lies there must be the same. A run that
    /// ended for want of memory goes on with less at once: the result is the same but for rounding.
    Resume(resume::ResumeArgs),
    /// Evaluate a run again
    Eval(eval::EvalArgs),
    /// Classify images without labels
    ///
    /// Files, folders, tars, lists, shards, or paths on standard input.
    #[command(after_long_help = "Examples:
  lift-train predict runs/first photo.jpg
  lift-train predict runs/first photos/ more.tar --out predictions.csv --gallery predictions.html
  find . -name '*.png' | lift-train predict runs/first - --json")]
    Predict(predict::PredictArgs),
    /// Move the balance of head and tail after training
    ///
    /// And fit the temperature. The logits of a split with labels, usually val, are shifted by strengths of the classes' frequencies; the best
    /// shift is kept in the run's folder, and evaluations obey it.
    #[command(after_long_help = adjust::EXAMPLES)]
    Adjust(adjust::AdjustArgs),
    /// Say what to begin with on these shards, and why
    ///
    /// From the class counts and the model's shape; each reason was measured or is cited.
    Advise(advise::AdviseArgs),
    /// Make a classifier file from training shards
    #[command(after_long_help = "Example:
  lift-train init --shards shards --model vit.safetensors --init class-mean --out head.safetensors")]
    Init(init::InitArgs),
    /// Classify by the nearest class text, without training
    ZeroShot(eval::ZeroShotArgs),
    /// Train a grid of settings, and print mean and spread over seeds
    #[command(after_long_help = "Example:
  [train]                     # as in a recipe
  shards = \"shards\"
  model = \"clip-vit-base-patch16\"
  head = \"head.safetensors\"
  [sweep]
  lr = [0.01, 0.02]
  tuner = [\"adaptformer\", \"lora:8\"]
  seeds = [0, 1, 2]

  lift-train sweep grid.toml --out runs/grid")]
    Sweep(sweep::SweepArgs),
    /// Print the reports of runs side by side
    Compare {
        /// Folders of runs
        #[arg(required = true, value_name = "RUN")]
        runs: Vec<PathBuf>,
        #[command(flatten)]
        shown: shown::ShownArgs,
    },
    /// Write a run's report as a page, JSON or Markdown, or print it
    ///
    /// What the run did not record, its predictions before tuning and its consistency, is computed once and kept in
    /// its folder.
    #[command(after_long_help = "Example:
  lift-train report runs/first --compare runs/second --html report.html")]
    Report(report::ReportArgs),
    /// Take a run along: folder, merged model, ONNX, PEFT
    ///
    /// Each folder has a model card, README.md, with what the run's report says and a licence to fill in.
    #[command(after_long_help = "Examples:
  lift-train export runs/first --format folder --out taken
  lift-train eval taken --shards shards
  lift-train export runs/lora --format merged --out model
  lift-train export runs/first --format onnx --out model.onnx")]
    Export(export::ExportArgs),
    /// Make a run of a checkpoint of the authors' LIFT or LIFT+
    ///
    /// And judge it.
    #[command(after_long_help = "Example:
  lift-train import checkpoint.pth.tar --model openai/clip-vit-base-patch16 \\
    --shards shards --out runs/theirs")]
    Import(import::ImportArgs),
    /// Average finished runs into a new one
    ///
    /// Weight-space ensembles of runs of one shape: all alike, weighted, or chosen greedily on a split.
    #[command(after_long_help = soup::EXAMPLES)]
    Soup(soup::SoupArgs),
    /// Compare training and test images in feature space
    ///
    /// Those of each class, before tuning and after it.
    Consistency(report::ConsistencyArgs),
    /// Replay a reference run, and print how far off this is
    ///
    /// Exits with 1 above tolerance: losses 1e-4, gradient norms 1e-3 and each tensor's update 5e-4 relative, logits 1e-3 absolute. In
    /// 16 bits the run is replayed in fp32 as well, and compared with that.
    #[command(after_long_help = "Example:
  lift-train parity --model clip.safetensors --inputs inputs.safetensors --run lora.safetensors

The inputs hold
  train_images (steps, b, 3, r, r), train_labels (steps, b), class_counts (K),
  eval_images (n, 3, r, r) and five_crop_images (m, crops, 3, r, r).
The run holds
  init.* and final.*, losses (steps), first_logits (b, K), eval_logits (n, K),
  five_crop_logits (m, K) and, if it likes, grad_norms (steps).
Its metadata hold
  lr          learning rate of the first epoch; the steps are two epochs
  loss        LA, CE, Focal, LDAM, CB, GRW, BS or LADE
  classifier  CosineClassifier, LinearClassifier, L2NormClassifier or
              LayerNormClassifier
and, where they are not the papers', scale, tau, momentum and weight_decay.")]
    Parity(check::ParityArgs),
    /// Check that batches come to a device bit for bit
    ///
    /// As the CPU makes them. Random batches of several sizes and kinds, mirrored or not, some dropped early, take the way of training.
    CheckDevice(check::CheckDeviceArgs),
    /// Measure the loader alone, or a step or forward pass alone
    ///
    /// How fast the disk and the cores feed a GPU; with --stage, how fast it works on what it has.
    Bench(bench::BenchArgs),
    #[command(flatten)]
    Manual(Manual),
}

fn train(args: TrainArgs) -> Result<()> {
    let dry_run = args.dry_run;
    let config = args.resolve_from(|run| crate::run::finished_config(run).map(Some))?;
    if dry_run {
        return command::dry_run(&config);
    }
    let done = command::train_until(&config, &typed(), &Stop::on_signals()?);
    command::print_run(done, &config.out)
}

/// The program and its arguments.
fn typed() -> Vec<String> {
    let words = std::env::args_os();
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

impl Cli {
    /// Runs what was typed.
    ///
    /// # Errors
    /// When an input is wrong; the message names the file and what to do.
    pub fn run(self) -> Result<()> {
        match self.command {
            None => train(self.train)?,
            Some(Command::Train(args)) => train(*args)?,
            Some(Command::Resume(args)) => args.run()?,
            Some(Command::Eval(args)) => args.run()?,
            Some(Command::Predict(args)) => args.run()?,
            Some(Command::Adjust(args)) => args.run()?,
            Some(Command::Advise(args)) => args.run()?,
            Some(Command::Init(args)) => args.run()?,
            Some(Command::ZeroShot(args)) => args.run()?,
            Some(Command::Sweep(args)) => args.run()?,
            Some(Command::Compare { runs, shown }) => {
                command::print(&command::compare(&runs)?, shown.output())?;
            }
            Some(Command::Report(args)) => args.run()?,
            Some(Command::Export(args)) => args.run()?,
            Some(Command::Import(args)) => args.run()?,
            Some(Command::Soup(args)) => args.run(typed())?,
            Some(Command::Consistency(args)) => {
                let (config, settings) = args.settings()?;
                let found = command::consistency(&config, &settings)?;
                command::print_consistency(&found, args.json)?;
            }
            Some(Command::Parity(args)) => args.run()?,
            Some(Command::CheckDevice(args)) => args.run()?,
            Some(Command::Bench(args)) => args.run()?,
            Some(Command::Manual(manual)) => {
                let done = manual.run(Self::command(), || Ok(TrainArgs::schema()));
                done.map_err(Error::io("standard output"))?;
            }
        }
        Ok(())
    }
}
