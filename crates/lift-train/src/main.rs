//! The `lift-train` program.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use lift_models::{out_of_memory::caught, panics, runtime};
use lift_page::terminal;
use lift_train::{cli::Cli, error::Error};

fn main() -> ExitCode {
    let cli = terminal::arguments::<Cli>();
    runtime::prepare();
    panics::silence();
    match caught(|| cli.run()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Err(refused) => {
            terminal::say(format_args!("error: {}", refused.line()));
            ExitCode::FAILURE
        }
        Ok(Err(error)) => {
            terminal::say(format_args!("error: {error}"));
            match error {
                Error::Usage(_) => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
