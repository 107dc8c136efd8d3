//! The example of a run's report: the demo's recipe in `target/examples/run`, trained and reported on.
//!
//! It is no part of the demo, whose folder is the user's. Invariant: the commands are those of `docs/run-reports.md`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::demo;
use crate::steps::{Steps, succeed};

const FOLDER: &str = "target/examples";
const RECIPE: &str = "--config pipelines/shapes-lt.toml";

/// How long the example trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Training {
    /// As the recipe says.
    Whole,
    /// One epoch: the page is whole, its numbers are not worth a look. The demo trains as the recipe says.
    OneEpoch,
}

/// Trains on the images that the example of `shapes-lt` drew, and reports: the page that was written.
pub fn build(checkout: &Checkout, steps: &mut Steps, training: Training) -> Result<PathBuf> {
    let programs = demo::program_folder()?;
    let page = format!("{FOLDER}/run.html");
    steps.run("report of a run", || {
        for line in commands(training) {
            let (program, rest) = line.split_once(' ').context("a step without arguments")?;
            succeed(
                checkout
                    .command(programs.join(program))
                    .args(rest.split(' ')),
            )?;
        }
        Ok(())
    })?;
    Ok(checkout.root.join(page))
}

fn commands(training: Training) -> Vec<String> {
    let run = format!("{FOLDER}/run");
    let epochs = match training {
        Training::Whole => "",
        Training::OneEpoch => " --epochs 1",
    };
    let train = format!("--shards {run}/shards --head {run}/head.safetensors{epochs}");
    vec![
        format!("lift-data build {RECIPE} --source {FOLDER}/shapes-lt --out {run}/shards"),
        format!("lift-text classifier {RECIPE} --shards {run}/shards --out {run}/head.safetensors"),
        format!("lift-train {RECIPE} {train} --preset lp --tte none --out {run}/classifier-only"),
        format!("lift-train {RECIPE} {train} --out {run}/lift-plus"),
        format!(
            "lift-train report {run}/lift-plus --compare {run}/classifier-only --html {FOLDER}/run.html --json {FOLDER}/run.json --md {FOLDER}/run.md"
        ),
    ]
}
