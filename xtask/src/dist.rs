//! `cargo xtask dist`: what a release has, into `target/dist/`: a tarball of the programs with a script that installs them, the Python
//! wheels, and the checksums of all.
//!
//! Invariant: the same programs give the same tarball, and none of them looks for a library in a folder of this machine.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bench;
use crate::checkout::Checkout;
use crate::steps::{Steps, succeed};
use crate::tools::remove_any;
use crate::wheels;

const PROGRAMS: [&str; 4] = ["lift", "lift-data", "lift-text", "lift-train"];
/// From `bin/`: where `install.sh` puts a link to libtorch.
const RUN_PATH: &str = "$ORIGIN/../lib/lift/torch/lib";
const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
/// Files have this age, so that bytes do not depend on when they were packed.
const DAY: &str = "--mtime=1980-01-01 00:00:00Z";

/// Makes it; with `is_quick` of programs as `cargo build` makes them.
pub fn run(checkout: &Checkout, steps: &mut Steps, is_quick: bool) -> Result<()> {
    wheels::run(checkout, steps, is_quick)?;
    let target = bench::target_folder()?;
    let bin = target.join(if is_quick { "debug" } else { "release" });
    let dist = target.join("dist");
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("lift-{version}-{}-linux", std::env::consts::ARCH);
    steps.run("tarball", || {
        remove_any(&dist)?;
        let folder = dist.join(&name);
        for program in PROGRAMS {
            wheels::pack(
                checkout,
                &bin.join(program),
                &folder.join("bin").join(program),
                RUN_PATH,
            )?;
            wheels::manual(&bin.join(program), &folder.join("share"))?;
        }
        copy(&checkout.root.join("xtask/dist/install.sh"), &folder)?;
        for document in DOCUMENTS {
            copy(&checkout.root.join(document), &folder)?;
        }
        for part in ["schemas", "pipelines", "datasets"] {
            let from = checkout.root.join(part);
            for entry in fs::read_dir(&from).with_context(|| from.display().to_string())? {
                copy(&entry?.path(), &folder.join("share/lift").join(part))?;
            }
        }
        let mut tar = Command::new("tar");
        tar.args([
            "--create",
            "--use-compress-program=gzip -9n",
            "--sort=name",
            "--owner=0",
            "--group=0",
            "--numeric-owner",
            DAY,
        ]);
        // Whoever unpacks it decides who may write.
        tar.arg("--mode=u=rwX,go=rX");
        tar.arg("--file").arg(dist.join(format!("{name}.tar.gz")));
        tar.arg("--directory").arg(&dist).arg(&name);
        succeed(&mut tar)?;
        remove_any(&folder)
    })?;
    steps.run("checksums", || {
        for wheel in wheels::files(&target.join("wheels"))? {
            copy(&wheel, &dist)?;
        }
        let files = wheels::files(&dist)?;
        let names = files.iter().filter_map(|path| path.file_name());
        let names: Vec<&OsStr> = names.collect();
        let sums = Command::new("sha256sum")
            .args(&names)
            .current_dir(&dist)
            .output()
            .context("sha256sum cannot be started")?;
        ensure!(sums.status.success(), "sha256sum: {}", sums.status);
        let path = dist.join("SHA256SUMS");
        fs::write(&path, sums.stdout).with_context(|| path.display().to_string())
    })?;
    for path in wheels::files(&dist)? {
        let bytes = fs::metadata(&path)?.len();
        println!("{}, {:.1} MB", path.display(), bytes as f64 / 1e6);
    }
    Ok(())
}

/// A copy in `folder`, which is made where it is not there.
fn copy(from: &Path, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let to = folder.join(from.file_name().context("a file has a name")?);
    fs::copy(from, &to).with_context(|| from.display().to_string())?;
    Ok(())
}
