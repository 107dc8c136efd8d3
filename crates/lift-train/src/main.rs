//! The `lift-train` program.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use lift_train::{cli::Cli, error::Error};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lift-train: {error}");
            match error {
                Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
