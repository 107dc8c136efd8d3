//! The `lift-text` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use lift_text::cli::Cli;

/// Exit codes: 0 done, 1 failed, 2 wrong usage (clap exits with 2 by itself).
fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lift-text: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
