//! The `lift-train` program.

use std::process::ExitCode;

use clap::Parser;
use lift_train::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lift-train: {error}");
            ExitCode::FAILURE
        }
    }
}
