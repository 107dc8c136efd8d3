//! `lift-train adjust`, as typed.

use std::path::{Path, PathBuf};

use clap::Args;
use lift_page::{chart::svg_file, terminal};
use lift_shards::{Split, atomic};

use super::passed::{PassArgs, PassDefaults};
use crate::{
    balance::curve::{Monitor, strengths},
    command::{self, AdjustSettings, EvalSettings, Found, Prior},
    config::{TrainConfig, check_ranges},
    error::{Error, Result},
    run::read_config,
};

pub(super) const EXAMPLES: &str = "Examples:
  lift-train adjust runs/first
  lift-train adjust runs/first --prior frequencies.csv --html balance.html
  lift-train eval runs/first --shards street --logits street.parquet
  lift-train adjust runs/first --prior estimate --unlabelled street.parquet
  lift-train adjust runs/first --reset";

#[derive(Debug, Args)]
pub(super) struct AdjustArgs {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Which split it is chosen on
    #[arg(long, value_name = "SPLIT", default_value_t = Split::Val)]
    split: Split,
    /// Choose on test or training images all the same, and let the run say so
    #[arg(long)]
    i_know: bool,
    /// Logits of the split that `eval --logits` wrote [default: computed once, kept in the run's folder]
    #[arg(long, value_name = "FILE")]
    logits: Option<PathBuf>,
    /// Strengths of the shift: logits minus tau log p [default: 0:2:0.1; -1:1:0.1 where the loss knew the counts]
    #[arg(long, value_name = "FROM:TO:STEP", allow_hyphen_values = true)]
    tau: Option<String>,
    /// What is made large [default: mean-class; expected with another --prior than uniform]
    #[arg(long, value_enum)]
    monitor: Option<Monitor>,
    /// How often classes come in use: uniform, train, estimate, or a table with class and frequency
    #[arg(long, value_name = "PRIOR", default_value = "uniform")]
    prior: String,
    /// Logits of images without labels, for --prior estimate; labels in the file are not looked at
    #[arg(long, value_name = "FILE")]
    unlabelled: Option<PathBuf>,
    /// Add zero-shot logits of these class texts (a classifier file), without CLIP's label prior
    ///
    /// Generalised Logit Adjustment (Zhu et al. 2023). The model before tuning is computed as well from then on, for each image. Logits
    /// that `zero-shot --logits` wrote are taken too, and what comes of them is shown and not kept.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    toward_text: Option<PathBuf>,
    /// What logits are divided by [default: fitted on the split]
    #[arg(long, value_name = "T", hide_short_help = true)]
    temperature: Option<f64>,
    /// Show the choice, keep nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove what is kept
    #[arg(long, conflicts_with_all = ["logits", "tau", "monitor", "unlabelled", "toward_text", "temperature", "dry_run", "chart", "html", "json"])]
    reset: bool,
    /// Write the curve as an SVG file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    chart: Option<PathBuf>,
    /// Write curve and tables as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// One JSON document instead of tables
    #[arg(long)]
    json: bool,
    /// Folder with the split's shards [default: the run's]
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Model: folder, file or org/name [default: the run's]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    #[command(flatten)]
    passed: PassArgs,
}

impl AdjustArgs {
    pub(super) fn run(&self) -> Result<()> {
        if self.reset {
            let said = if command::reset_adjustment(&self.run)? {
                "its adjustment is removed"
            } else {
                "has no adjustment"
            };
            terminal::say(format_args!("{}: {said}", self.run.display()));
            return Ok(());
        }
        let files = [("chart", &self.chart), ("html", &self.html)];
        let files: Vec<(&str, &Path)> = files
            .into_iter()
            .filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
            .collect();
        let settings = self.settings()?;
        command::prepare_outputs(&files)?;
        let found = command::adjust(&settings)?;
        if self.json {
            terminal::print_json(&found).map_err(Error::io("standard output"))?;
        } else {
            command::print_text(&found.text())?;
        }
        write(&found, &files)
    }

    /// How logits are computed where none are given.
    fn evaluation(&self, config: &TrainConfig) -> Result<EvalSettings> {
        let passed = self.passed.with(&PassDefaults::of_run(config))?;
        let shards = self.shards.as_ref().unwrap_or(&config.shards).clone();
        Ok(passed.of_split(shards, self.split))
    }

    fn settings(&self) -> Result<AdjustSettings> {
        check_ranges(&[(
            "temperature",
            self.temperature.unwrap_or(1.0),
            f64::MIN_POSITIVE,
            1000.0,
        )])?;
        let tau = self.tau.as_deref().map(strengths).transpose();
        let prior = match (self.prior.as_str(), &self.unlabelled) {
            ("estimate", Some(file)) => Prior::Estimate(file.clone()),
            ("estimate", None) => {
                return Err(Error::Usage(
                    "--prior estimate looks at images without labels, and --unlabelled gives none\n\
                     hint: `lift-train eval RUN --shards DIR --logits FILE.parquet` writes their logits"
                        .into(),
                ));
            }
            (_, Some(_)) => {
                return Err(Error::Usage(
                    "--unlabelled is looked at with --prior estimate alone".into(),
                ));
            }
            ("uniform", None) => Prior::Uniform,
            ("train", None) => Prior::Train,
            (path, None) => Prior::File(path.into()),
        };
        let config = read_config(&self.run)?;
        Ok(AdjustSettings {
            run: self.run.clone(),
            model: self.model.clone(),
            eval: self.evaluation(&config)?,
            logits: self.logits.clone(),
            tau: tau.map_err(|reason| Error::Usage(format!("--tau {reason}")))?,
            monitor: self.monitor,
            prior,
            text: self.toward_text.clone(),
            temperature: self.temperature,
            any_split: self.i_know,
            dry_run: self.dry_run,
        })
    }
}

/// Writes the files that were asked for; each is tried.
fn write(found: &Found, files: &[(&str, &Path)]) -> Result<()> {
    let mut all = Ok(());
    for (flag, path) in files {
        let figure = found.figure();
        let text = match *flag {
            "html" => found.page().html(),
            _ => svg_file(&figure.plot, &figure.title, &figure.description),
        };
        match atomic::write(path, text.as_bytes()) {
            Ok(()) => terminal::say(format_args!("{flag}: {}", path.display())),
            Err(error) => all = all.and(Err(error.into())),
        }
    }
    all
}
