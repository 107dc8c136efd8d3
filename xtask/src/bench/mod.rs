//! `cargo xtask bench`: every stage from photos to batches, measured on this machine, beside peers if wanted.
//!
//! It times programs from outside and judges nothing. Invariant: the contenders of a stage take turns, round after
//! round, so that what else the machine does falls on all of them.

mod machine;
mod measure;
mod peers;
mod photos;
mod report;
mod stage;
mod step;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::checkout::Checkout;
use crate::setup;
use crate::steps::Steps;
use crate::wheels;
use peers::Peer;
use report::{Line, Round, Skipped};
use stage::{STAGES, Stage};

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct BenchOptions {
    /// Where to write the result as JSON too.
    pub json: Option<PathBuf>,
    /// Few short rounds of the programs as `cargo build` makes them.
    pub quick: bool,
    /// Beside peers from PyPI.
    pub peers: bool,
    /// A step of training and of evaluation beside PyTorch, in place of the stages.
    pub step: bool,
}

/// Where everything of a bench lies.
pub struct Bench<'a> {
    checkout: &'a Checkout,
    /// The folder of the programs.
    programs: PathBuf,
    /// `target/bench`
    folder: PathBuf,
    /// How long a round of loading lasts.
    seconds: &'static str,
}

/// Builds the programs, draws the photos, runs the stages, and prints a table.
pub fn run(checkout: &Checkout, steps: &mut Steps, options: &BenchOptions) -> Result<()> {
    let jpeg = setup::run(checkout, steps)?;
    let (profile, rounds) = if options.quick {
        ("dev", 2)
    } else {
        ("release", 5)
    };
    if options.peers {
        // With the programs, compiled in the same way.
        wheels::run(checkout, steps, options.quick)?;
    } else {
        let build = ["build", "--locked", "--profile", profile];
        let programs = ["--bin", "lift-data", "--bin", "lift-train"];
        let mut cargo = checkout.cargo();
        cargo.args(build).args(jpeg.cargo_args()).args(programs);
        steps.command(&format!("cargo {}", build.join(" ")), &mut cargo)?;
    }
    let target = target_folder()?;
    let bench = Bench {
        checkout,
        programs: target.join(if options.quick { "debug" } else { "release" }),
        folder: target.join("bench"),
        seconds: if options.quick { "1" } else { "2" },
    };
    if options.step {
        let machine = machine::describe(checkout, profile)?;
        let lines = steps.run("steps", || step::run(&bench, rounds))?;
        let format = "lift-xtask-steps/1";
        let document = json!({ "format": format, "machine": machine, "results": lines });
        return write(options, &document);
    }
    steps.run("draw photos", || {
        let shared = std::env::var_os("LIFT_SHARED").map(PathBuf::from);
        let shared = shared.unwrap_or_else(|| checkout.root.join("../shared"));
        let samples = shared.join("data/imagenet-samples");
        photos::write(
            &bench.folder.join("photos"),
            1600,
            [500, 375],
            Some(&samples),
        )?;
        photos::write(&bench.folder.join("large"), 640, [1600, 1200], None)
    })?;
    let mut skipped = Vec::new();
    let peers = if options.peers {
        steps.run("install peers", || peers::install(&bench, &mut skipped))?
    } else {
        Vec::new()
    };
    let before = machine::describe(checkout, profile)?;
    let mut lines = Vec::new();
    for stage in &STAGES {
        let measured = steps.run(stage.name, || {
            measure_stage(&bench, stage, &peers, rounds, &mut skipped)
        })?;
        // A long job shows what it has, and an interrupted one has shown it.
        eprint!("{}", report::table(&measured, &[]));
        lines.extend(measured);
    }
    print!("{}", report::table(&lines, &skipped));
    write(options, &report::document(before, &lines, &skipped))
}

/// The result for programs, where it was asked for.
fn write(options: &BenchOptions, document: &Value) -> Result<()> {
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(document)? + "\n";
        fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The rounds of all contenders of a stage; a peer that fails is left out, and its reason kept.
fn measure_stage(
    bench: &Bench,
    stage: &Stage,
    peers: &[&'static Peer],
    rounds: usize,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<Line>> {
    let mut ours = Line {
        stage: stage.name,
        contender: "lift",
        rounds: Vec::new(),
    };
    let mut theirs: Vec<(&Peer, Line)> = peers
        .iter()
        .filter(|peer| peer.stages.contains(&stage.name))
        .map(|peer| {
            let line = Line {
                stage: stage.name,
                contender: peer.name,
                rounds: Vec::new(),
            };
            (*peer, line)
        })
        .collect();
    for _ in 0..rounds {
        ours.rounds.push(stage.ours(bench)?);
        theirs.retain_mut(|(peer, line)| match peer.round(bench, stage) {
            Ok(round) => {
                line.rounds.push(round);
                true
            }
            Err(error) => {
                skipped.push(Skipped {
                    what: format!("{} {}", peer.name, stage.name),
                    reason: format!("{error:#}"),
                });
                false
            }
        });
    }
    let theirs = theirs.into_iter().map(|(_, line)| line);
    Ok(std::iter::once(ours).chain(theirs).collect())
}

/// Cargo's target folder: this program lies in a folder of it.
pub fn target_folder() -> Result<PathBuf> {
    let this = std::env::current_exe().context("the path of xtask is not known")?;
    let folder = this.parent().and_then(Path::parent);
    Ok(folder.context("xtask lies in no target folder")?.to_owned())
}
