//! Other people's loaders from PyPI, each a script in `xtask/peers/` that does our stages as its makers show it; and our own package
//! for Python, in the same environment.
//!
//! A script takes a stage, the photos, a folder and a number of passes, and prints a JSON line. Starting Python and
//! importing its packages takes seconds that a long job would not notice, so a run of no passes is taken off.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use super::measure::last_lines;
use super::report::Skipped;
use super::stage::{Stage, number};
use super::{Bench, Round, measure, target_folder};
use crate::checkout::Checkout;
use crate::steps::succeed;
use crate::{tools, wheels};

/// Our own package for Python, in the table.
pub const OWN: &str = "lift-python";

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
    /// What pip makes from source after that, where PyPI has no wheel.
    sources: &'static [&'static str],
    /// Whose folder below `target/bench` it loads from.
    shards_of: &'static str,
    /// The stages that its script does.
    pub stages: &'static [&'static str],
}

const PEERS: [Peer; 9] = [
    Peer {
        name: OWN,
        script: "own.py",
        module: "lift",
        packages: &["numpy", "torch"],
        sources: &[],
        shards_of: "lift",
        stages: &["load-raw", "load-jpeg", "load-photos"],
    },
    Peer {
        name: "ffcv",
        script: "beton.py",
        module: "ffcv",
        packages: &[
            "numba",
            "opencv-python-headless",
            "pandas",
            "pillow",
            "psutil",
            "pytorch-pfn-extras",
            "torch",
            "tqdm",
        ],
        sources: &["assertpy", "fastargs", "terminaltables", "ffcv"],
        shards_of: "ffcv",
        stages: &["build-jpeg", "build-raw", "load-raw", "load-jpeg"],
    },
    Peer {
        name: "mds",
        script: "mds.py",
        module: "streaming",
        packages: &["mosaicml-streaming", "pillow"],
        sources: &[],
        shards_of: "mds",
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
        sources: &[],
        shards_of: "webdataset",
        stages: &["build-jpeg", "build-bytes", "load-jpeg"],
    },
    Peer {
        name: "litdata",
        script: "lit.py",
        module: "litdata",
        packages: &["litdata", "pillow"],
        sources: &[],
        shards_of: "litdata",
        stages: &["build-jpeg", "load-jpeg"],
    },
    Peer {
        name: "pyarrow",
        script: "pages.py",
        module: "pyarrow",
        packages: &["pyarrow", "pillow"],
        sources: &[],
        shards_of: "pyarrow",
        stages: &["build-raw", "load-raw"],
    },
    Peer {
        name: "torchvision",
        script: "vision.py",
        module: "torchvision",
        packages: &["torchvision", "pillow"],
        sources: &[],
        shards_of: "torchvision",
        stages: &["build-large", "load-photos"],
    },
    Peer {
        name: "pillow-draft",
        script: "draft.py",
        module: "PIL",
        packages: &["pillow"],
        sources: &[],
        shards_of: "pillow-draft",
        stages: &["build-large"],
    },
    Peer {
        name: "dali",
        script: "dali.py",
        module: "nvidia.dali",
        packages: &["nvidia-dali-cuda120"],
        sources: &[],
        shards_of: "dali",
        stages: &["load-photos"],
    },
];

/// Installs the peers into a Python environment of their own; those that cannot be are left out, and said.
pub fn install(bench: &Bench, skipped: &mut Vec<Skipped>) -> Result<Vec<&'static Peer>> {
    let folder = environment(bench)?;
    let mut there = Vec::new();
    for peer in &PEERS {
        match install_one(bench.checkout, &folder, peer) {
            Ok(()) => there.push(peer),
            Err(error) => skipped.push(Skipped {
                what: peer.name.into(),
                reason: format!("{error:#}"),
            }),
        }
    }
    Ok(there)
}

/// The Python of that environment, with PyTorch.
pub fn with_torch(bench: &Bench) -> Result<PathBuf> {
    let folder = environment(bench)?;
    let torch = Peer {
        name: "pytorch",
        module: "torch",
        packages: &["numpy", "torch"],
        ..PEERS[0]
    };
    install_one(bench.checkout, &folder, &torch)?;
    Ok(folder.join("bin/python"))
}

fn environment(bench: &Bench) -> Result<PathBuf> {
    tools::need_pip()?;
    let folder = bench.folder.join("peers");
    if !folder.join("bin/pip").is_file() {
        let mut venv = bench.checkout.command("python3");
        succeed(venv.args(["-m", "venv"]).arg(&folder))
            .context("cannot make an environment\nhint: apt-get install python3-venv")?;
    }
    Ok(folder)
}

fn install_one(checkout: &Checkout, folder: &Path, peer: &Peer) -> Result<()> {
    let imports = || {
        let mut python = checkout.command(folder.join("bin/python"));
        python.args(["-c", &format!("import {}", peer.module)]);
        python.output()
    };
    let pip = |arguments: &[&str]| -> Result<()> {
        let mut pip = checkout.command(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check"]);
        let output = pip.args(arguments).output()?;
        if !output.status.success() {
            bail!("{}", last_lines(&String::from_utf8_lossy(&output.stderr)));
        }
        Ok(())
    };
    let is_ours = peer.name == OWN;
    if imports()?.status.success() && !is_ours {
        return Ok(());
    }
    eprintln!("pip install {}", peer.packages.join(" "));
    let pinned = ["--constraint", "xtask/peers/constraints.txt"];
    pip(&[&["--only-binary=:all:"], &pinned[..], peer.packages].concat())?;
    if !peer.sources.is_empty() {
        let made = pip(&[&["--no-deps"], &pinned[..], peer.sources].concat());
        made.map_err(|reason| {
            let hint =
                "FFCV is compiled: apt-get install libopencv-dev libturbojpeg0-dev pkg-config";
            anyhow!("{reason:#}\nhint: {hint}")
        })?;
    }
    if is_ours {
        let wheel = wheels::longtail(&target_folder()?)?;
        let wheel = wheel.to_str().context("the wheel's path is no UTF-8")?;
        // The version stays the same when the code does not.
        pip(&["--no-deps", "--force-reinstall", wheel])?;
    }
    let output = imports()?;
    if !output.status.success() {
        bail!("{}", last_lines(&String::from_utf8_lossy(&output.stderr)));
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
                .arg(stage.out(bench, self.shards_of)?)
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
