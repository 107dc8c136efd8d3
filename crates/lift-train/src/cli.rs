//! The command line of `lift-train`: what was typed becomes settings here, and commands run.

mod adjust;
mod advise;
mod bench;
mod export;
mod import;
mod passed;
mod predict;
mod report;
mod run_arg;
mod soup;
mod sweep;

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use lift_models::{DeviceChoice, Precision, memory::MemorySize};
use lift_page::terminal;
use lift_shards::{Split, ranks::RANKS};

use passed::{PassArgs, PassDefaults};
use run_arg::RunArg;

use crate::{
    adjustment::Adjusting,
    command::{self, Asked, EvalSettings, Form, HeadFile, InitSettings, Output, PredictSettings},
    config::{TrainArgs, TrainConfig, check_ranges, precision, required},
    error::{Error, Result},
    eval::Tte,
    head_init::HeadInit,
    level::Level,
    passes::Passing,
    report::Columns,
    stop::Stop,
    tuner::Tuners,
    validation::{Kept, Monitor, ValEvery},
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
    Resume(ResumeArgs),
    /// Evaluate a run again
    Eval(EvalArgs),
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
    Init(InitArgs),
    /// Classify by the nearest class text, without training
    ZeroShot(ZeroShotArgs),
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
        shown: ShownArgs,
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
    /// Exits with 1 above tolerance: losses 1e-4 relative, logits and final tensors 1e-3 absolute; 500 times that in bf16,
    /// 60 times in fp16.
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
    Parity(ParityArgs),
    /// Check that batches come to a device bit for bit
    ///
    /// As the CPU makes them. Random batches of several sizes and kinds, mirrored or not, some dropped early, take the way of training.
    CheckDevice(CheckDeviceArgs),
    /// Measure the loader alone, or a step or forward pass alone
    ///
    /// How fast the disk and the cores feed a GPU; with --stage, how fast it works on what it has.
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct ResumeArgs {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Folder with its train/ and test/ shards [default: the run's]
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Its model: folder, file or org/name [default: the run's]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Its classifier file [default: the run's]
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// auto, cpu or cuda:N [default: the run's]
    #[arg(long)]
    device: Option<String>,
    /// Most memory that steps and evaluations may take [default: the run's]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemorySize>,
    /// Parts that the images of a step are passed in [default: the run's]
    #[arg(long, value_name = "N", hide_short_help = true)]
    accumulate: Option<usize>,
    /// Crops that evaluations pass at once, at most [default: the run's]
    #[arg(long, value_name = "N", hide_short_help = true)]
    eval_batch_size: Option<usize>,
    /// Passes over the training images, those done counted in; a finished run that kept a checkpoint is extended
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Learning rate of the first epoch, from which the schedule has that of the next steps
    #[arg(long)]
    lr: Option<f64>,
    /// Learning rate of the classifier
    #[arg(long, hide_short_help = true)]
    head_lr: Option<f64>,
    /// Largest norm of the gradient of a step
    #[arg(long, value_name = "X", hide_short_help = true)]
    clip_grad: Option<f64>,
    /// Test-time ensembling after training
    #[arg(long, value_enum, hide_possible_values = true)]
    tte: Option<Tte>,
    /// Pixels beyond the resolution for ensembling
    #[arg(long, value_name = "PIXELS", hide_short_help = true)]
    expand: Option<u32>,
    /// Measure accuracy on the val split: epoch, never or every N steps
    #[arg(long, value_name = "WHEN")]
    val_every: Option<ValEvery>,
    /// The figure on val that says which state of the model is the best
    #[arg(long, value_enum, hide_short_help = true)]
    monitor: Option<Monitor>,
    /// States of the model that are kept: last, best or both; the first is the run's model
    #[arg(long, value_enum, value_delimiter = ',')]
    keep: Option<Vec<Kept>>,
    /// End training after so many validations without a better one
    #[arg(long, value_name = "N", hide_short_help = true)]
    patience: Option<usize>,
    /// Checkpoints that stay when there are newer ones, and when the run has ended
    #[arg(long, value_name = "K", hide_short_help = true)]
    keep_checkpoints: Option<usize>,
    /// Go back to the checkpoint of this step first, which the run kept (--keep-checkpoints)
    #[arg(long, value_name = "STEP")]
    from_step: Option<usize>,
}

impl ResumeArgs {
    /// The settings of the run with what was typed; all but where things lie is kept in the run's folder, so that it goes on
    /// like this whenever it goes on.
    fn apply(self, recorded: TrainConfig) -> Result<TrainConfig> {
        let config = TrainConfig {
            out: self.run,
            max_memory: self.max_memory.or(recorded.max_memory),
            accumulate: self.accumulate.unwrap_or(recorded.accumulate),
            eval_batch_size: self.eval_batch_size.or(recorded.eval_batch_size),
            epochs: self.epochs.unwrap_or(recorded.epochs),
            lr: self.lr.unwrap_or(recorded.lr),
            head_lr: self.head_lr.or(recorded.head_lr),
            clip_grad: self.clip_grad.or(recorded.clip_grad),
            tte: self.tte.unwrap_or(recorded.tte),
            expand: self.expand.or(recorded.expand),
            val_every: self.val_every.or(recorded.val_every),
            monitor: self.monitor.unwrap_or(recorded.monitor),
            keep: self.keep.unwrap_or_else(|| recorded.keep.clone()),
            patience: self.patience.or(recorded.patience),
            keep_checkpoints: self.keep_checkpoints.unwrap_or(recorded.keep_checkpoints),
            ..recorded.clone()
        };
        config.check()?;
        let run = &config.out;
        let extends = config.epochs > recorded.epochs && run.join("report.json").exists();
        if self.from_step.is_some() || extends {
            command::go_back(run, self.from_step)?;
        }
        let kept = TrainConfig {
            out: recorded.out.clone(),
            ..config.clone()
        };
        let at_once =
            |config: &TrainConfig| (config.max_memory, config.accumulate, config.eval_batch_size);
        if at_once(&config) != at_once(&recorded) {
            terminal::say(format_args!(
                "{}: goes on with other amounts at once: the same result but for rounding",
                run.display()
            ));
        }
        if kept != recorded {
            command::change(&config)?;
        }
        Ok(TrainConfig {
            shards: self.shards.unwrap_or(recorded.shards),
            model: self.model.unwrap_or(recorded.model),
            head: self.head.or(recorded.head),
            device: self.device.unwrap_or(recorded.device),
            ..config
        })
    }
}

#[derive(Debug, Args)]
struct EvalArgs {
    #[command(flatten)]
    run: RunArg,
    /// Folder with test shards [default: the run's]
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Model: folder, file or org/name [default: the run's]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Judge the logits as the model gives them, whatever `lift-train adjust` keeps in the run
    #[arg(long)]
    no_adjust: bool,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Folder with train shards
    #[arg(long, value_name = "DIR")]
    shards: PathBuf,
    /// Model: folder, file or org/name on Hugging Face
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// What makes the rows
    #[arg(long, value_enum)]
    init: HeadInit,
    /// Classifier file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Seed of random rows, and of the images that class means are taken over
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Images a forward pass
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    /// Most memory that passes may take, such as 12GiB
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemorySize>,
    /// Side of the crops in pixels [default: the model's]
    #[arg(long, value_name = "R")]
    resolution: Option<u32>,
    /// Of the frozen weights: fp32, bf16 or fp16 [default: bf16 on CUDA, else fp32]
    #[arg(long, value_parser = precision)]
    precision: Option<Precision>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads that compute, and that prepare batches; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl InitArgs {
    fn settings(&self) -> Result<InitSettings> {
        if self.init == HeadInit::Head {
            return Err(Error::Usage(
                "--init head makes nothing\nhint: use class-mean, linear-probe or random".into(),
            ));
        }
        check_ranges(&[
            ("batch-size", self.batch_size as f64, 1.0, 1e6),
            ("threads", self.threads as f64, 0.0, 1024.0),
        ])?;
        let device = command::device(&self.device, self.max_memory, self.threads)?;
        let usual = || Precision::usual(device);
        Ok(InitSettings {
            shards: self.shards.clone(),
            model: self.model.clone(),
            init: self.init,
            seed: self.seed,
            passing: Passing {
                batch_size: self.batch_size,
                max_memory: self.max_memory,
                threads: self.threads,
                exact: false,
            },
            resolution: self.resolution,
            precision: self.precision.unwrap_or_else(usual),
            device,
        })
    }
}

#[derive(Debug, Args)]
struct ZeroShotArgs {
    /// Images without labels, as for `predict`, in the place of --shards
    #[arg(value_name = "INPUT", conflicts_with_all = ["shards", "out", "confusion", "level", "details", "per_class"])]
    inputs: Vec<PathBuf>,
    /// Folder with test shards; train shards beside them give the bands
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Model: folder, file or org/name on Hugging Face
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Classifier file from `lift-text classifier`
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// Recipe whose [train] table gives the shards, the model and the head that are not typed
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder to write report.json to
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    out: Option<PathBuf>,
    /// Go on where classes have the same text, which cannot be told apart
    #[arg(long, hide_short_help = true)]
    allow_identical: bool,
    #[command(flatten)]
    answers: predict::AnswerArgs,
    #[command(flatten)]
    how: HowArgs,
}

#[derive(Debug, Args)]
struct HowArgs {
    /// Which split
    #[arg(long, value_name = "SPLIT", default_value_t = Split::Test)]
    split: Split,
    /// Judge at a rank above the classes (kingdom, phylum, class, order, family, genus), with --taxonomy
    #[arg(long, value_name = "RANK", value_parser = RANKS, requires = "taxonomy", hide_short_help = true)]
    level: Option<String>,
    /// categories.json of iNaturalist 2018, or one like it
    #[arg(long, value_name = "FILE", requires = "level", hide_short_help = true)]
    taxonomy: Option<PathBuf>,
    /// Write what was said of each image: a .csv or .parquet file
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// Write the confusion matrix, a row a pair of classes: a .csv or .parquet file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    confusion: Option<PathBuf>,
    /// Write the logits of each image, before any adjustment: a .parquet file
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    #[command(flatten)]
    pass: PassArgs,
    #[command(flatten)]
    shown: ShownArgs,
}

/// How reports are printed.
#[derive(Debug, Args)]
struct ShownArgs {
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
    /// Also top-5, macro F1, worst class, harmonic and geometric mean, calibration error
    #[arg(long, conflicts_with = "json")]
    details: bool,
    /// Also a line a class
    #[arg(long, conflicts_with = "json")]
    per_class: bool,
}

impl ShownArgs {
    fn output(&self) -> Output {
        let columns = if self.details {
            Columns::All
        } else {
            Columns::Accuracies
        };
        match (self.json, self.per_class) {
            (true, _) => Output::Json,
            (false, true) => Output::TableAndClasses(columns),
            (false, false) => Output::Table(columns),
        }
    }
}

#[derive(Debug, Args)]
struct ParityArgs {
    /// Model: a .safetensors or .bin file (OpenAI / open_clip or timm names), a folder, or org/name
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Batches, labels and class counts of the run
    #[arg(long, value_name = "FILE")]
    inputs: PathBuf,
    /// The reference run: init.*, final.*, losses, logits; settings in its metadata
    #[arg(long, value_name = "FILE")]
    run: PathBuf,
    /// Modules that the run must be of [default: read off its tensors]
    #[arg(long, value_name = "A,B")]
    tuner: Option<Tuners>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Of the frozen weights: fp32, bf16 or fp16; in 16 bits more is tolerated
    #[arg(long, value_parser = precision, default_value = "fp32")]
    precision: Precision,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct CheckDeviceArgs {
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// One JSON document instead of a line a check
    #[arg(long)]
    json: bool,
}

impl HowArgs {
    fn settings(&self, shards: PathBuf, defaults: &PassDefaults) -> Result<EvalSettings> {
        let passed = self.pass.with(defaults)?;
        Ok(EvalSettings {
            shards,
            split: self.split,
            look: passed.look,
            passing: passed.passing,
            resolution: passed.resolution,
            precision: passed.precision,
            device: passed.device,
            predictions: self.predictions.clone(),
            confusion: self.confusion.clone(),
            logits: self.logits.clone(),
            adjusting: Adjusting::AsKept,
            level: self
                .level
                .clone()
                .zip(self.taxonomy.clone())
                .map(|(rank, taxonomy)| Level { rank, taxonomy }),
        })
    }
}

fn train(args: TrainArgs) -> Result<()> {
    let dry_run = args.dry_run;
    let config = args.resolve()?;
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
            Some(Command::Resume(args)) => {
                let recorded = crate::run::read_config(&args.run)?;
                let config = args.apply(recorded)?;
                let done = command::resume(&config, &Stop::on_signals()?);
                command::print_run(done, &config.out)?;
            }
            Some(Command::Eval(args)) => {
                let run = args.run.path();
                let config = crate::run::read_config(&run)?;
                let defaults = PassDefaults::of_run(&config);
                let shards = args.shards.unwrap_or(config.shards);
                let mut settings = args.how.settings(shards, &defaults)?;
                if args.no_adjust {
                    settings.adjusting = Adjusting::LeftOut;
                }
                let done = command::eval(&run, args.model.as_deref(), &settings);
                command::print_done(done, args.how.shown.output())?;
            }
            Some(Command::Predict(args)) => args.run()?,
            Some(Command::Adjust(args)) => args.run()?,
            Some(Command::Advise(args)) => args.run()?,
            Some(Command::Init(args)) => command::init(&args.settings()?, &args.out)?,
            Some(Command::ZeroShot(args)) => {
                let recipe = TrainArgs::of_recipe(args.config.as_deref())?;
                let shards = match args.inputs.as_slice() {
                    [] => required(args.shards.or(recipe.shards), "shards")?,
                    _ => PathBuf::new(),
                };
                let model = required(args.model.or(recipe.model), "model")?;
                let head = required(args.head.or(recipe.head), "head")?;
                let defaults = PassDefaults {
                    expand: recipe.expand,
                    resolution: recipe.resolution,
                    precision: recipe.precision,
                    exact: recipe.exact.unwrap_or(false),
                    max_memory: recipe.max_memory,
                };
                let settings = args.how.settings(shards, &defaults)?;
                let allow = args.allow_identical || recipe.allow_identical.unwrap_or(false);
                let head = HeadFile::new(&head, allow);
                if !args.inputs.is_empty() {
                    args.answers.check()?;
                    let settings = PredictSettings {
                        look: settings.look,
                        passing: settings.passing,
                        resolution: settings.resolution,
                        precision: settings.precision,
                        device: settings.device,
                        top: args.answers.top,
                        min_confidence: args.answers.min_confidence,
                        max_bad: args.answers.max_bad,
                        out: settings.predictions,
                        gallery: args.answers.gallery,
                        json: args.how.shown.json,
                    };
                    let asked = Asked::ZeroShot(&model, head);
                    return command::predict(asked, &args.inputs, &settings);
                }
                let done = command::zero_shot(&model, head, args.out.as_deref(), &settings);
                command::print_done(done, args.how.shown.output())?;
            }
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
            Some(Command::Parity(args)) => {
                let output = if args.json {
                    Output::Json
                } else {
                    Output::Table(Columns::Accuracies)
                };
                let tuner = args.tuner.as_ref();
                let choice: DeviceChoice = args.device.parse().map_err(Error::Usage)?;
                let place = (choice.resolve_with_note()?, args.precision);
                command::parity(&args.model, &args.inputs, &args.run, tuner, place, output)?;
            }
            Some(Command::CheckDevice(args)) => {
                let choice: DeviceChoice = args.device.parse().map_err(Error::Usage)?;
                let output = if args.json { Form::Json } else { Form::Table };
                command::check_device(choice.resolve_with_note()?, output)?;
            }
            Some(Command::Bench(args)) => {
                args.run()?;
            }
            Some(Command::Completions { shell }) => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Self::command(), "lift-train", &mut script);
                terminal::print_as_it_is(&script).map_err(Error::io("standard output"))?;
            }
        }
        Ok(())
    }
}
