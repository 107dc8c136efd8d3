//! `cargo xtask test`: every check that CI runs, in the order of how soon each can fail.

use anyhow::Result;

use crate::checkout::Checkout;
use crate::run_example::Training;
use crate::steps::Steps;
use crate::{examples, python_env, setup, tools};

/// Sets up, then runs all checks; the first that fails ends it.
pub fn run(checkout: &Checkout, steps: &mut Steps) -> Result<()> {
    tools::need_component(&mut checkout.cargo(), "fmt", "rustfmt")?;
    tools::need_component(&mut checkout.cargo(), "clippy", "clippy")?;
    let jpeg = setup::run(checkout, steps)?;
    steps.run("python environment", || python_env::set_up(checkout))?;
    steps.command(
        "cargo fmt --all --check",
        checkout.cargo().args(["fmt", "--all", "--check"]),
    )?;
    steps.command(
        "cargo clippy --workspace --all-targets --locked -- -D warnings",
        checkout
            .cargo()
            .args(["clippy", "--workspace", "--all-targets", "--locked"])
            .args(jpeg.cargo_args())
            .args(["--", "-D", "warnings"]),
    )?;
    // The test that opens a page needs it.
    tools::chromium();
    steps.command(
        "cargo test --workspace --locked",
        checkout
            .cargo()
            .args(["test", "--workspace", "--locked"])
            .args(jpeg.cargo_args()),
    )?;
    examples::build(checkout, steps, Training::WhateverThereIs)?;
    steps.print_times();
    Ok(())
}
