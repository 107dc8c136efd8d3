//! `lift-data verify`: reads everything and says whether it is whole.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use lift_page::escape;
use lift_page::terminal;
use lift_shards::layout::require_shard_dirs;
use lift_shards::verify::verify;

use super::{CliError, counted, print, size};

/// `lift-data verify`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Reads every byte of every shard: file hashes, the checksum of each row, row and class counts against \
the manifest; the list of bad images; shards that the manifest does not name; splits in each other's \
place, and images that two splits share. Exit code 1 when something is wrong; each problem is a line.

Example:
  lift-data verify shards")]
pub struct VerifyArgs {
    /// Shard folder, or a folder with train/ and test/ shard folders
    dir: PathBuf,
}

/// Verifies the shard folders at the path.
pub fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let mut problems = 0;
    for verdict in verify(&require_shard_dirs(&args.dir)?)? {
        let dir = &verdict.dir;
        let mut text = String::new();
        for problem in &verdict.problems {
            let _ = writeln!(text, "{}/{problem}", escape::path(dir));
        }
        for note in &verdict.notes {
            terminal::say(format!("note: {}/{note}", escape::path(dir)));
        }
        if verdict.is_whole() {
            let (rows, bytes) = (counted(verdict.rows, "image"), size(verdict.bytes));
            let _ = writeln!(
                text,
                "{}: whole: {rows}, {bytes} in {}",
                escape::path(dir),
                counted(verdict.shards as u64, "shard")
            );
        }
        print(&text)?;
        problems += verdict.problems.len();
    }
    match problems {
        0 => Ok(()),
        _ => Err(CliError::NotWhole {
            dir: args.dir.clone(),
            problems,
        }),
    }
}
