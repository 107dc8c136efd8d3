//! The `lift-train` program.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use lift_data::terminal;
use lift_train::{cli::Cli, error::Error};

fn main() -> ExitCode {
    match terminal::arguments::<Cli>().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::say(format_args!("lift-train: {error}"));
            match error {
                Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
