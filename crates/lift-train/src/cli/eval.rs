//! `lift-train eval` and `zero-shot`, as typed.

use std::path::PathBuf;

use clap::Args;
use lift_shards::{Split, ranks::RANKS};

use super::{
    passed::{PassArgs, PassDefaults},
    predict,
    run_arg::RunArg,
    shown::ShownArgs,
};
use crate::{
    adjustment::Adjusting,
    command::{self, Asked, EvalSettings, HeadFile, PredictSettings},
    config::{TrainArgs, required},
    error::Result,
    level::Level,
    run::read_config,
};

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
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

impl EvalArgs {
    pub(super) fn run(self) -> Result<()> {
        let run = self.run.path();
        let config = read_config(&run)?;
        let defaults = PassDefaults::of_run(&config);
        let shards = self.shards.unwrap_or(config.shards);
        let mut settings = self.how.settings(shards, &defaults)?;
        if self.no_adjust {
            settings.adjusting = Adjusting::LeftOut;
        }
        let done = command::eval(&run, self.model.as_deref(), &settings);
        command::print_done(done, self.how.shown.output())
    }
}

#[derive(Debug, Args)]
pub(super) struct ZeroShotArgs {
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

impl ZeroShotArgs {
    pub(super) fn run(self) -> Result<()> {
        let recipe = TrainArgs::of_recipe(self.config.as_deref())?;
        let shards = match self.inputs.as_slice() {
            [] => required(self.shards.or(recipe.shards), "shards")?,
            _ => PathBuf::new(),
        };
        let model = required(self.model.or(recipe.model), "model")?;
        let head = required(self.head.or(recipe.head), "head")?;
        let defaults = PassDefaults {
            expand: recipe.expand,
            resolution: recipe.resolution,
            precision: recipe.precision,
            exact: recipe.exact.unwrap_or(false),
            max_memory: recipe.max_memory,
        };
        let settings = self.how.settings(shards, &defaults)?;
        let allow = self.allow_identical || recipe.allow_identical.unwrap_or(false);
        let head = HeadFile::new(&head, allow);
        if !self.inputs.is_empty() {
            self.answers.check()?;
            let settings = PredictSettings {
                look: settings.look,
                passing: settings.passing,
                resolution: settings.resolution,
                precision: settings.precision,
                device: settings.device,
                top: self.answers.top,
                min_confidence: self.answers.min_confidence,
                max_bad: self.answers.max_bad,
                out: settings.predictions,
                gallery: self.answers.gallery,
                json: self.how.shown.json,
            };
            let asked = Asked::ZeroShot(&model, head);
            return command::predict(asked, &self.inputs, &settings);
        }
        let done = command::zero_shot(&model, head, self.out.as_deref(), &settings);
        command::print_done(done, self.how.shown.output())
    }
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

impl HowArgs {
    fn settings(&self, shards: PathBuf, defaults: &PassDefaults) -> Result<EvalSettings> {
        let passed = self.pass.with(defaults)?;
        Ok(EvalSettings {
            predictions: self.predictions.clone(),
            confusion: self.confusion.clone(),
            logits: self.logits.clone(),
            adjusting: Adjusting::AsKept,
            level: self
                .level
                .clone()
                .zip(self.taxonomy.clone())
                .map(|(rank, taxonomy)| Level { rank, taxonomy }),
            ..passed.of_split(shards, self.split)
        })
    }
}
