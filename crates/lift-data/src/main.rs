//! The `lift-data` program: parse, run, print the error, exit code.

#![forbid(unsafe_code)]
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;

use std::process::ExitCode;

use lift_files::memory;
use lift_page::terminal;

/// Exit codes: 0 done, 1 failed, 2 wrong usage (clap exits with 2 by itself).
fn main() -> ExitCode {
    memory::prepare();
    match cli::run(terminal::arguments()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            terminal::say(format_args!("error: {err}"));
            ExitCode::from(err.exit_code())
        }
    }
}
