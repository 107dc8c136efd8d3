//! `cargo xtask`: sets this checkout up, tests it and runs its demo. Does not depend on libtorch.

#![forbid(unsafe_code)]

mod args;
mod bench;
mod checkout;
mod demo;
mod dispatch;
mod dist;
mod examples;
mod forecast;
mod gpu_bundle;
mod jpeg_tools;
mod libtorch;
mod python_env;
mod run_example;
mod setup;
mod steps;
mod suite;
mod tools;
mod wheels;

use std::process::ExitCode;

fn main() -> ExitCode {
    let request = match args::parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(usage) => {
            eprintln!("error: {usage:#}\nhint: run `cargo xtask -h`");
            return ExitCode::from(2);
        }
    };
    match dispatch::run(request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
