//! `lift-train consistency` and `lift-train report`, as typed.

use std::path::{Path, PathBuf};

use clap::Args;
use lift_models::memory::MemorySize;
use lift_page::terminal;
use lift_shards::atomic;

use super::run_arg::RunArg;
use crate::{
    command::{self, ConsistencySettings, IMAGES_PER_CLASS, ReportSettings},
    config::{TrainConfig, check_ranges},
    error::Result,
    passes::Passing,
    run::read_config,
    run_report::{
        page::{Shown, page},
        summary,
    },
};

#[derive(Debug, Args)]
pub(super) struct ConsistencyArgs {
    #[command(flatten)]
    run: RunArg,
    #[command(flatten)]
    moved: MovedArgs,
    /// The most images of a class that are taken of each split
    #[arg(long, value_name = "N", default_value_t = IMAGES_PER_CLASS)]
    images_per_class: usize,
    /// Seed of the images' draw
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Images a forward pass
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    /// Most memory that passes may take, such as 12GiB [default: the run's]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemorySize>,
    /// Threads that compute, and that prepare batches; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// One JSON document, with every class, instead of a table
    #[arg(long)]
    pub(super) json: bool,
}

/// Where things lie now.
#[derive(Debug, Args)]
pub(super) struct MovedArgs {
    /// Folder with its train/ and test/ shards [default: the run's]
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Its model: folder, file or org/name [default: the run's]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// auto, cpu or cuda:N [default: the run's]
    #[arg(long)]
    device: Option<String>,
}

impl MovedArgs {
    fn apply(&self, recorded: TrainConfig) -> TrainConfig {
        TrainConfig {
            shards: self.shards.clone().unwrap_or(recorded.shards),
            model: self.model.clone().unwrap_or(recorded.model),
            device: self.device.clone().unwrap_or(recorded.device),
            ..recorded
        }
    }
}

impl ConsistencyArgs {
    pub(super) fn settings(&self) -> Result<(TrainConfig, ConsistencySettings)> {
        check_ranges(&[
            ("images-per-class", self.images_per_class as f64, 2.0, 1e6),
            ("batch-size", self.batch_size as f64, 1.0, 1e6),
            ("threads", self.threads as f64, 0.0, 1024.0),
        ])?;
        let config = self.moved.apply(read_config(&self.run.path())?);
        let max_memory = self.max_memory.or(config.max_memory);
        let settings = ConsistencySettings {
            run: self.run.path(),
            images_per_class: self.images_per_class,
            seed: self.seed,
            passing: Passing {
                batch_size: self.batch_size,
                max_memory,
                threads: self.threads,
                exact: config.exact,
            },
            device: command::device(&config.device, max_memory, self.threads)?,
        };
        Ok((config, settings))
    }
}

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Runs with the same classes to set beside it
    #[arg(long, value_name = "RUN", num_args = 1..)]
    compare: Vec<PathBuf>,
    /// Title of the page [default: the run's name]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write it as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write it as Markdown
    #[arg(long, value_name = "FILE")]
    md: Option<PathBuf>,
    /// Accuracy for each value of a column that the shards keep, or that --slice has
    #[arg(long, value_name = "COLUMN")]
    by: Option<String>,
    /// A table (CSV, Parquet) with that column and `path`
    #[arg(long, value_name = "FILE", requires = "by")]
    slice: Option<PathBuf>,
    /// Take what the run's folder holds: compute nothing, read no image
    #[arg(long)]
    recorded: bool,
    #[command(flatten)]
    moved: MovedArgs,
}

/// Rows of a table that Markdown keeps.
const MARKDOWN_ROWS: usize = 100;

impl ReportArgs {
    pub(super) fn run(&self) -> Result<()> {
        let files = [("html", &self.html), ("json", &self.json), ("md", &self.md)];
        let files: Vec<(&str, &Path)> = files
            .into_iter()
            .filter_map(|(flag, path)| Some((flag, path.as_deref()?)))
            .collect();
        command::prepare_outputs(&files)?;
        let (report, shown) = command::report(&self.settings()?)?;
        if files.is_empty() {
            return command::print_text(&summary(&report));
        }
        let json = serde_json::to_string_pretty(&report).expect("a report is plain data") + "\n";
        let page = page(
            &report,
            Shown {
                title: self.title.clone(),
                ..shown
            },
        );
        let mut all = Ok(());
        for (flag, path) in files {
            let written = match flag {
                "html" => atomic::write(path, page.html().as_bytes()),
                "json" => atomic::write(path, json.as_bytes()),
                _ => atomic::write(path, page.markdown(MARKDOWN_ROWS).as_bytes()),
            };
            match written {
                Ok(()) => terminal::say(format_args!("report: {}", path.display())),
                Err(error) => all = all.and(Err(error.into())),
            }
        }
        if all.is_err() {
            command::print_text(&summary(&report))?;
        }
        all
    }

    fn settings(&self) -> Result<ReportSettings> {
        // A zero-shot run has a report and no settings.
        let config = if self.run.join("config.toml").exists() {
            Some(self.moved.apply(read_config(&self.run)?))
        } else {
            None
        };
        let device = match &config {
            Some(config) => config.device.as_str(),
            None => "cpu",
        };
        let max_memory = config.as_ref().and_then(|config| config.max_memory);
        let threads = config.as_ref().map_or(0, |config| config.threads);
        Ok(ReportSettings {
            run: self.run.clone(),
            compare: self.compare.clone(),
            slice_by: self.by.clone().map(|column| (column, self.slice.clone())),
            compute: if self.recorded {
                None
            } else {
                Some(command::device(device, max_memory, threads)?)
            },
            config,
            shards: self.moved.shards.clone(),
        })
    }
}
