//! `cargo xtask`: sets this checkout up, tests it and runs its demo. Does not depend on libtorch.

mod args;
mod checkout;
mod demo;
mod libtorch;
mod python_env;
mod steps;
mod suite;
mod tools;

use std::process::ExitCode;

use args::Request;
use checkout::Checkout;
use steps::Steps;

fn main() -> ExitCode {
    let request = match args::parse(std::env::args().skip(1)) {
        Ok(request) => request,
        Err(usage) => {
            eprintln!("error: {usage}\nhint: run `cargo xtask -h`");
            return ExitCode::from(2);
        }
    };
    let mut steps = Steps::default();
    let result = Checkout::find().and_then(|checkout| match request {
        Request::Help => {
            print!("{}", args::HELP);
            Ok(())
        }
        Request::Setup => libtorch::set_up(&checkout, &mut steps),
        Request::Test => suite::run(&checkout, &mut steps),
        Request::Demo { seed } => demo::run(&checkout, &mut steps, seed),
        Request::PretrainDemo { rest } => demo::pretrain(&checkout, &mut steps, &rest),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
