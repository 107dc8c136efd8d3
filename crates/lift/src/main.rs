//! The `lift` program: starts `lift-data`, `lift-text` and `lift-train`, and links nothing of them.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod fit;
mod programs;
mod recipe;
mod runs;
mod summary;

use std::process::ExitCode;

use lift_page::terminal;

fn main() -> ExitCode {
    let cli = terminal::arguments::<cli::Cli>();
    match cli.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A program that failed has said why.
            let code = error.downcast_ref::<programs::Failed>();
            if code.is_none() {
                terminal::say(format_args!("error: {error:#}"));
            }
            ExitCode::from(code.map_or(1, |failed| failed.0))
        }
    }
}
