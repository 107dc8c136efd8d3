//! The example of a run's report: the demo's recipe in `target/examples/run`, trained and reported on.
//!
//! It is no part of the demo, whose folder is the user's, but reports on the demo's runs where those are there and anything does.
//! Invariant: the commands are those of `docs/run-reports.md`.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::demo;
use crate::steps::{Steps, succeed};

const FOLDER: &str = "target/examples";
const RECIPE: &str = "--config pipelines/shapes-lt.toml";
/// The demo's runs: the one that is reported on, and the one beside it.
const DEMO: [&str; 2] = ["demo/lift-plus", "demo/classifier-only"];

/// How long the example trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Training {
    /// As the recipe says.
    Whole,
    /// The demo's runs, or else one epoch: the page is whole, its numbers are not worth a look.
    WhateverThereIs,
}

/// Trains on the images that the example of `shapes-lt` drew, and reports: the page that was written.
pub fn build(checkout: &Checkout, steps: &mut Steps, training: Training) -> Result<PathBuf> {
    let programs = demo::program_folder()?;
    let is_there = |run: &str| checkout.root.join(run).join("report.json").is_file();
    let has_demo = DEMO.into_iter().all(is_there);
    let page = format!("{FOLDER}/run.html");
    steps.run("report of a run", || {
        for line in commands(training, has_demo) {
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

fn commands(training: Training, has_demo: bool) -> Vec<String> {
    let report = |[first, second]: [&str; 2]| {
        format!(
            "lift-train report {first} --compare {second} --html {FOLDER}/run.html --json {FOLDER}/run.json --md {FOLDER}/run.md"
        )
    };
    let run = format!("{FOLDER}/run");
    let epochs = match (training, has_demo) {
        (Training::WhateverThereIs, true) => return vec![report(DEMO)],
        (Training::WhateverThereIs, false) => " --epochs 1",
        (Training::Whole, _) => "",
    };
    let train = format!("--shards {run}/shards --head {run}/head.safetensors{epochs}");
    vec![
        format!("lift-data build {RECIPE} --source {FOLDER}/shapes-lt --out {run}/shards"),
        format!("lift-text classifier {RECIPE} --shards {run}/shards --out {run}/head.safetensors"),
        format!("lift-train {RECIPE} {train} --preset lp --tte none --out {run}/classifier-only"),
        format!("lift-train {RECIPE} {train} --out {run}/lift-plus"),
        report([
            &format!("{run}/lift-plus"),
            &format!("{run}/classifier-only"),
        ]),
    ]
}
