//! `lift-data commit`: joins the parts of a build.

use std::path::PathBuf;

use clap::Args;

use lift_data::build::commit;

use super::build::print_split;
use super::{CliError, print_json};

/// `lift-data commit`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Reads every shard that parts have written, compares it with its record, and writes manifest.json when none \
is missing. What it leaves is byte for byte what one build without --part would have left.

Example:
  for i in 1 2 3 4; do lift-data build --config recipe.toml --out shards --part $i/4; done
  lift-data commit shards")]
pub struct CommitArgs {
    /// The --out folder of the parts, or one split's folder in it
    dir: PathBuf,
    /// Print the summary as one JSON document on standard output
    #[arg(long)]
    json: bool,
}

/// Joins the parts and prints the summary.
pub fn run(args: &CommitArgs) -> Result<(), CliError> {
    let splits = commit(&args.dir)?;
    splits.iter().for_each(print_split);
    if args.json {
        print_json(&serde_json::json!({"splits": splits}))
    } else {
        Ok(())
    }
}
