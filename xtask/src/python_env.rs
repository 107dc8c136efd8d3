//! `.venv`: a Python with pyarrow, polars, DuckDB, Hugging Face's datasets and mlcroissant, through which the tests read shards
//! and reports from outside, with onnxruntime, which runs exported models, and NVIDIA's compiler, with which they compile the
//! CUDA kernels.
//!
//! Does not touch a `.venv` that it did not make. Invariant: `.venv` is put in place by one
//! rename with its stamp inside, so a stamp means that all pinned packages are installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::checkout::Checkout;
use crate::steps::succeed;
use crate::tools;

const REQUIREMENTS: &str = include_str!("../requirements-tests.txt");
const STAMP: &str = "lift-requirements.txt";

/// Makes `.venv`, or makes it anew when the pinned versions or the Python changed.
pub fn set_up(checkout: &Checkout) -> Result<()> {
    let folder = checkout.root.join(".venv");
    if is_current(&folder) {
        eprintln!("the Python environment is there: .venv");
        return Ok(());
    }
    if folder.exists() {
        if !folder.join(STAMP).is_file() {
            bail!(
                "{}: was not made by xtask, and the tests need their own\n\
                 hint: move it out of the checkout",
                folder.display()
            );
        }
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    tools::need_pip()?;
    let work = checkout.root.join(".venv.tmp");
    if work.exists() {
        fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
    }
    fill(checkout, &work)?;
    fs::write(work.join(STAMP), REQUIREMENTS).with_context(|| work.display().to_string())?;
    fs::rename(&work, &folder).with_context(|| folder.display().to_string())
}

fn is_current(folder: &Path) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|text| text == REQUIREMENTS)
        // The system's Python may have gone or changed its version since.
        && Command::new(folder.join("bin/python"))
            .args(["-c", "import pyarrow, polars, duckdb, datasets, mlcroissant, onnx, onnxruntime"])
            .output()
            .is_ok_and(|output| output.status.success())
}

/// `--without-pip` and [`tools::pip_install`] spare Debian's python3-venv package.
fn fill(checkout: &Checkout, work: &Path) -> Result<()> {
    let mut venv = checkout.command("python3");
    venv.args(["-m", "venv", "--without-pip"]).arg(work);
    if let Err(error) = succeed(&mut venv) {
        bail!("cannot make an environment: {error:#}\nhint: apt-get install python3-venv");
    }
    let output = checkout
        .command(work.join("bin/python"))
        .args([
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
        ])
        .output()?;
    ensure!(output.status.success(), ".venv.tmp/bin/python does not run");
    let target = String::from_utf8_lossy(&output.stdout);
    let mut pip = tools::pip_install(checkout, "xtask/requirements-tests.txt", target.trim());
    succeed(&mut pip).context("pip cannot install what xtask/requirements-tests.txt lists")
}
