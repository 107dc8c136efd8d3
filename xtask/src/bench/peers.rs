//! Other people's loaders from PyPI, each a script in `xtask/peers/` that does our stages as its makers show it.
//!
//! A script takes a stage, the photos, a folder and a number of passes, and prints a JSON line. Starting Python and
//! importing its packages takes seconds that a long job would not notice, so a run of no passes is taken off.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::measure::last_lines;
use super::report::Skipped;
use super::stage::{Stage, number};
use super::{Bench, Round, measure};
use crate::checkout::Checkout;
use crate::tools;

/// A peer.
#[derive(Debug)]
pub struct Peer {
    /// In the table.
    pub name: &'static str,
    /// In `xtask/peers/`; not named as the package, which Python would then not find.
    script: &'static str,
    /// Python imports it by this name.
    module: &'static str,
    /// What pip installs; versions are those of `xtask/peers/constraints.txt`.
    packages: &'static [&'static str],
    /// The stages that its script does.
    pub stages: &'static [&'static str],
}

const PEERS: [Peer; 7] = [
    Peer {
        name: "mds",
        script: "mds.py",
        module: "streaming",
        packages: &["mosaicml-streaming", "pillow"],
        stages: &[
            "build-jpeg",
            "build-raw",
            "build-bytes",
            "load-raw",
            "load-jpeg",
        ],
    },
    Peer {
        name: "webdataset",
        script: "wds.py",
        module: "webdataset",
        packages: &["webdataset", "pillow"],
        stages: &["build-jpeg", "build-bytes", "load-jpeg"],
    },
    Peer {
        name: "litdata",
        script: "lit.py",
        module: "litdata",
        packages: &["litdata", "pillow"],
        stages: &["build-jpeg", "load-jpeg"],
    },
    Peer {
        name: "pyarrow",
        script: "pages.py",
        module: "pyarrow",
        packages: &["pyarrow", "pillow"],
        stages: &["build-raw", "load-raw"],
    },
    Peer {
        name: "torchvision",
        script: "vision.py",
        module: "torchvision",
        packages: &["torchvision", "pillow"],
        stages: &["build-large", "load-photos"],
    },
    Peer {
        name: "pillow-draft",
        script: "draft.py",
        module: "PIL",
        packages: &["pillow"],
        stages: &["build-large"],
    },
    Peer {
        name: "dali",
        script: "dali.py",
        module: "nvidia.dali",
        packages: &["nvidia-dali-cuda120"],
        stages: &["load-photos"],
    },
];

/// Installs the peers into a Python environment of their own; those that cannot be are left out, and said.
pub fn install(
    checkout: &Checkout,
    folder: &Path,
    skipped: &mut Vec<Skipped>,
) -> Result<Vec<&'static Peer>> {
    tools::need_pip()?;
    if !folder.join("bin/pip").is_file() {
        let mut venv = checkout.command("python3");
        crate::steps::succeed(venv.args(["-m", "venv"]).arg(folder))
            .context("cannot make an environment\nhint: apt-get install python3-venv")?;
    }
    skipped.push(Skipped {
        what: "ffcv".into(),
        reason:
            "PyPI has no wheel of it, and its source needs OpenCV's and libjpeg-turbo's headers"
                .into(),
    });
    let mut there = Vec::new();
    for peer in &PEERS {
        match install_one(checkout, folder, peer) {
            Ok(()) => there.push(peer),
            Err(error) => skipped.push(Skipped {
                what: peer.name.into(),
                reason: format!("{error:#}"),
            }),
        }
    }
    Ok(there)
}

fn install_one(checkout: &Checkout, folder: &Path, peer: &Peer) -> Result<()> {
    let imports = || {
        let mut python = checkout.command(folder.join("bin/python"));
        python.args(["-c", &format!("import {}", peer.module)]);
        python.output()
    };
    if imports()?.status.success() {
        return Ok(());
    }
    eprintln!("pip install {}", peer.packages.join(" "));
    let mut pip = checkout.command(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"])
        .args([
            "--only-binary=:all:",
            "--constraint",
            "xtask/peers/constraints.txt",
        ])
        .args(peer.packages);
    for output in [pip.output()?, imports()?] {
        if !output.status.success() {
            bail!("{}", last_lines(&String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

impl Peer {
    /// One round, less what starting takes.
    pub fn round(&self, bench: &Bench, stage: &Stage) -> Result<Round> {
        let script = |passes: &str| -> Result<Command> {
            let mut python = bench
                .checkout
                .command(bench.folder.join("peers/bin/python"));
            python
                .arg(Path::new("xtask/peers").join(self.script))
                .arg(stage.name)
                .arg(bench.folder.join(stage.photos).join("train"))
                .arg(stage.out(bench, self.name)?)
                .arg(passes);
            Ok(python)
        };
        let start = measure::run(&mut script("0")?)?;
        let run = measure::run(&mut script(stage.peer_passes)?)?;
        Ok(Round {
            images: number(&run.output, "images")?,
            seconds: number(&run.output, "seconds")?,
            // Timers are coarse; a negative rest would be nonsense.
            cpu_seconds: (run.cpu_seconds - start.cpu_seconds).max(1e-3),
            peak_bytes: run.output["peak_memory_bytes"].as_f64(),
            of_bare: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::stage::STAGES;

    #[test]
    fn peers_have_scripts_and_do_stages_that_exist() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        for peer in &PEERS {
            assert!(folder.join(peer.script).is_file());
            for stage in peer.stages {
                assert!(STAGES.iter().any(|s| s.name == *stage), "{stage}");
            }
        }
    }
}
