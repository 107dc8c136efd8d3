//! The command line: what was typed becomes a typed options struct, once, here.
//!
//! Data goes to standard output, everything else to standard error. Invariant: a command is one
//! function, and this folder is the only place that prints results.

mod bench;
mod build;
mod build_options;
mod commit;
mod data_table;
mod datasets;
mod draw;
mod export;
mod inspect;
mod no_effect;
mod query;
mod recipe;
mod report;
mod split;
mod stats;
mod stopped;
mod verify;

use std::io;
use std::path::PathBuf;
use std::sync::LazyLock;

use lift_page::number::{bytes as size, counted, grouped};
use lift_page::{manual::Manual, terminal};

use clap::{CommandFactory, Parser, Subcommand};

/// With what decides the speed here, but no byte.
static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let kernel = lift_image::ResizeKernel::available()[0];
    format!("{}\nresizes with {kernel}", lift_data::VERSION)
});

/// Long-tailed image datasets: build Parquet shards from images, describe them, verify them.
#[derive(Debug, Parser)]
#[command(version = lift_data::VERSION, long_version = LONG_VERSION.as_str(), max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "`lift-data <command> --help` shows examples.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build shards from a dataset's images
    Build(Box<build::BuildArgs>),
    /// Join the parts that `build --part` has built
    Commit(commit::CommitArgs),
    /// Write the lists of a source's splits, long-tailed or held out, without building
    Split(Box<split::SplitArgs>),
    /// Describe a class distribution: counts, imbalance ratio, bands, Gini
    Stats(stats::StatsArgs),
    /// Ask shards, a table or a source in SQL
    Query(query::QueryArgs),
    /// Report on a data set: long tail, quality, duplicates; HTML, JSON, Markdown
    Report(Box<report::ReportArgs>),
    /// Read all of a shard folder and say whether it is whole
    Verify(verify::VerifyArgs),
    /// Measure how fast images can be decoded, resized and encoded here
    Bench(Box<bench::BenchArgs>),
    /// Write rows back as image files, or as a table
    Export(export::ExportArgs),
    /// Show a shard folder's manifest and schema, and one row
    Inspect(inspect::InspectArgs),
    /// List the datasets that are known by name: counts, bands, what to download
    Datasets(datasets::DatasetsArgs),
    /// Draw a dataset that needs no download
    #[command(subcommand)]
    Draw(draw::Draw),
    #[command(flatten)]
    Manual(Manual),
}

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line does not say what to do.
    #[error("{0}\n\nFor more information, try '--help'.")]
    Usage(String),
    /// It could not be done.
    #[error(transparent)]
    Failed(#[from] lift_data::Error),
    /// A shard folder is damaged; what is wrong was printed.
    #[error("{}: not whole, problems found: {problems}\nhint: build it again", dir.display())]
    NotWhole {
        /// What was verified.
        dir: PathBuf,
        /// How many problems were printed.
        problems: usize,
    },
    /// What `--fail-if` names is so.
    #[error("{}: --fail-if holds: {condition}", path.display())]
    Condition {
        /// What was reported on.
        path: PathBuf,
        /// The condition, with the values that it names.
        condition: String,
    },
    /// Standard output could not be written.
    #[error("standard output: cannot write: {0}")]
    Output(io::Error),
}

impl From<lift_shards::Error> for CliError {
    fn from(error: lift_shards::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<lift_image::Error> for CliError {
    fn from(error: lift_image::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl CliError {
    /// 2 for wrong usage, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => 2,
            CliError::Failed(_)
            | CliError::NotWhole { .. }
            | CliError::Condition { .. }
            | CliError::Output(_) => 1,
        }
    }
}

/// Runs the command.
pub fn run(cli: Cli) -> Result<(), CliError> {
    match cli.command {
        Command::Build(args) => build::run(*args),
        Command::Commit(args) => commit::run(&args),
        Command::Split(args) => split::run(*args),
        Command::Stats(args) => stats::run(&args),
        Command::Query(args) => query::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Bench(args) => bench::run(*args),
        Command::Export(args) => export::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Datasets(args) => datasets::run(&args),
        Command::Draw(draw) => draw::run(&draw),
        Command::Manual(manual) => manual
            .run(Cli::command(), || Ok(data_table::schema()))
            .map_err(CliError::Output),
    }
}

/// Writes to standard output.
fn print(text: &str) -> Result<(), CliError> {
    terminal::print(text).map_err(CliError::Output)
}

/// Prints one JSON document.
fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    terminal::print_json(value).map_err(CliError::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_help_is_forty_lines_of_eighty_columns() {
        let program = Cli::command();
        let below: Vec<clap::Command> = program.get_subcommands().cloned().collect();
        for command in below.into_iter().chain([program]) {
            let mut command = command.term_width(80);
            let text = command.render_help().to_string();
            assert!(text.lines().count() <= 40, "{text}");
            assert!(
                text.lines().all(|line| line.chars().count() <= 80),
                "{text}"
            );
        }
    }
}
