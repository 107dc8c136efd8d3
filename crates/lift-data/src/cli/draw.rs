//! `lift-data draw`: datasets that the project draws itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use lift_data::Error;
use lift_files::limits::Threads;
use lift_page::terminal;
use lift_shapes::{ShapesOptions, write_dataset};

use super::CliError;

/// `lift-data draw`
#[derive(Debug, Subcommand)]
pub enum Draw {
    /// 100 coloured shapes as JPEG files in class folders, long-tailed for training
    ShapesLt(ShapesArgs),
}

/// `lift-data draw shapes-lt`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  lift-data draw shapes-lt --out shapes
  lift-data build shapes-lt --source shapes --out shards")]
pub struct ShapesArgs {
    /// Folder that gets train/<class name>/ and test/<class name>/
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of the drawings
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Threads that draw [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<Threads>,
}

/// Draws a dataset.
pub fn run(draw: &Draw) -> Result<(), CliError> {
    let Draw::ShapesLt(args) = draw;
    let threads = args
        .threads
        .unwrap_or_else(Threads::all_cores)
        .number()
        .get();
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|err| Error::Setting {
            reason: format!("cannot start {threads} threads: {err}"),
            hint: "ask for fewer with --threads".to_owned(),
        })?;
    let options = ShapesOptions {
        seed: args.seed,
        ..ShapesOptions::default()
    };
    pool.install(|| write_dataset(&args.out, &options))?;
    terminal::say(format_args!(
        "drawn: shapes-lt, seed {} -> {}",
        args.seed,
        args.out.display()
    ));
    Ok(())
}
