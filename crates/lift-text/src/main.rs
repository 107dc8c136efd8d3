//! The `lift-text` program.

use std::process::ExitCode;

use clap::Parser;
use lift_text::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lift-text: {error:#}");
            ExitCode::FAILURE
        }
    }
}
