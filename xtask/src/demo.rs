//! `cargo xtask demo`: the main job on the embedded dataset, as commands that a user can type.
//!
//! Invariant: a `demo/` folder without this program's mark in it is never removed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::forecast::Forecast;
use crate::setup;
use crate::steps::{Steps, succeed};

const FOLDER: &str = "demo";
const MARK: &str = ".made-by-xtask-demo";
const RECIPE: &str = "pipelines/shapes-lt.toml";
/// Said before the first build.
const BEFORE: &str = "\
compiling takes 10 to 20 minutes on 2 cores the first time, seconds later; the demo itself takes 2 to 6 minutes then, and says \
beforehand how long here
meanwhile: README.md has a tour of what will lie in demo/, docs/your-data.md says how your own images come in";

/// Sets up, builds the programs and runs [`commands`] into a fresh `demo/`.
pub fn run(checkout: &Checkout, steps: &mut Steps, seed: u64) -> Result<()> {
    let jpeg = setup::run(checkout, steps)?;
    eprintln!("{BEFORE}");
    steps.command(
        "cargo build --locked",
        checkout
            .cargo()
            .args(["build", "--locked"])
            .args(jpeg.cargo_args()),
    )?;
    fresh_folder(&checkout.root.join(FOLDER))?;
    let programs = program_folder()?;
    let shown = programs.strip_prefix(&checkout.root).unwrap_or(&programs);
    let mut forecast = None;
    for line in commands(seed) {
        let (program, args) = line.split_first().context("a step without a program")?;
        if program == "lift-train" && forecast.is_none() {
            let measured = steps.run("measure the first batches here", || {
                Forecast::measure(|| checkout.command(programs.join(program)))
            })?;
            eprintln!("{}", measured.said());
            forecast = Some(measured);
        }
        let name = format!("{} {}", shown.join(program).display(), args.join(" "));
        steps.run(&name, || {
            succeed(checkout.command(programs.join(program)).args(args))
        })?;
    }
    steps.print_times();
    println!("report: {FOLDER}/lift-plus/report.json");
    Ok(())
}

/// Sets up and runs the recipe of `models/shapes-clip`; `rest` goes to it as it is.
pub fn pretrain(checkout: &Checkout, steps: &mut Steps, rest: &[String]) -> Result<()> {
    let jpeg = setup::run(checkout, steps)?;
    steps.command(
        "pre-train models/shapes-clip",
        checkout
            .cargo()
            .args(["run", "--quiet", "--locked", "--package", "lift-train"])
            .args(jpeg.cargo_args())
            .args(["--example", "pretrain_demo", "--"])
            .args(["--out", "models/shapes-clip"])
            .args(rest),
    )
}

/// The demo's commands in their order; paths are relative to the checkout.
fn commands(seed: u64) -> Vec<Vec<String>> {
    let lines = [
        format!("lift-data draw shapes-lt --out {FOLDER}/images --seed {seed}"),
        format!("lift-data build --config {RECIPE}"),
        format!("lift-text classifier --config {RECIPE}"),
        format!("lift-train zero-shot --config {RECIPE} --out {FOLDER}/zero-shot"),
        format!(
            "lift-train --config {RECIPE} --preset lp --tte none --out {FOLDER}/classifier-only --seed {seed}"
        ),
        format!("lift-train --config {RECIPE} --out {FOLDER}/lift-plus --seed {seed}"),
        format!(
            "lift-train compare {FOLDER}/zero-shot {FOLDER}/classifier-only {FOLDER}/lift-plus"
        ),
    ];
    lines
        .iter()
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect()
}

/// Where cargo puts programs: it has put this one there too.
pub fn program_folder() -> Result<PathBuf> {
    let this = env::current_exe().context("the path of xtask is not known")?;
    Ok(this.parent().context("xtask has no folder")?.to_owned())
}

fn fresh_folder(folder: &Path) -> Result<()> {
    let mark = folder.join(MARK);
    if folder.exists() {
        if !mark.is_file() {
            bail!(
                "{}: exists and was not made by the demo\n\
                 hint: move it away, the demo needs that name",
                folder.display()
            );
        }
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir(folder).with_context(|| folder.display().to_string())?;
    fs::write(
        &mark,
        "`cargo xtask demo` removes this folder when it starts\n",
    )
    .with_context(|| mark.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_reaches_drawing_and_training() {
        let with_seed = commands(7)
            .iter()
            .filter(|line| line.join(" ").contains("--seed 7"))
            .count();
        assert_eq!(with_seed, 3);
    }

    #[test]
    fn only_its_own_folder_is_replaced() {
        let root = env::temp_dir().join(format!("lift-xtask-demo-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let folder = root.join("demo");
        fresh_folder(&folder).unwrap();
        fs::write(folder.join("old"), "").unwrap();
        fresh_folder(&folder).unwrap();
        assert!(!folder.join("old").exists());
        fs::remove_file(folder.join(MARK)).unwrap();
        fs::write(folder.join("mine"), "").unwrap();
        assert!(fresh_folder(&folder).is_err());
        assert!(folder.join("mine").exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
