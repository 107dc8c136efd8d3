//! The stages, and how ours does each: the programs as a user would call them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Bench, Round, measure};

/// A piece of work that ours and peers both do.
#[derive(Debug)]
pub struct Stage {
    /// On the command line of the peers' scripts and in the table.
    pub name: &'static str,
    /// The folder of photos below `target/bench`.
    pub photos: &'static str,
    /// Passes over them that a round of a peer makes: so many that starting Python takes less time than they do.
    pub peer_passes: &'static str,
    /// What it does with them.
    work: Work,
}

#[derive(Debug, Clone, Copy)]
enum Work {
    /// `lift-data build` with these settings.
    Build(&'static [&'static str]),
    /// The same, of images that stay as they are: no loop of decoding and encoding is its limit.
    Keep(&'static [&'static str]),
    /// `lift-train bench` on what this stage has built.
    Load(&'static str),
}

/// In the order of running: what is loaded is built before.
pub const STAGES: [Stage; 7] = [
    build(
        "build-jpeg",
        "photos",
        "1",
        &[
            "--encoding",
            "jpeg",
            "--quality",
            "90",
            "--short-side",
            "256",
        ],
    ),
    build(
        "build-raw",
        "photos",
        "1",
        &["--encoding", "rgb8", "--short-side", "256"],
    ),
    Stage {
        name: "build-bytes",
        photos: "photos",
        peer_passes: "10",
        work: Work::Keep(&["--encoding", "original", "--short-side", "0"]),
    },
    build(
        "build-large",
        "large",
        "1",
        &[
            "--encoding",
            "jpeg",
            "--quality",
            "90",
            "--short-side",
            "256",
        ],
    ),
    load("load-raw", "build-raw"),
    load("load-jpeg", "build-jpeg"),
    load("load-photos", "build-bytes"),
];

const fn build(
    name: &'static str,
    photos: &'static str,
    peer_passes: &'static str,
    settings: &'static [&'static str],
) -> Stage {
    Stage {
        name,
        photos,
        peer_passes,
        work: Work::Build(settings),
    }
}

const fn load(name: &'static str, built: &'static str) -> Stage {
    Stage {
        name,
        photos: "photos",
        peer_passes: "2",
        work: Work::Load(built),
    }
}

impl Stage {
    /// One round of ours.
    pub fn ours(&self, bench: &Bench) -> Result<Round> {
        match self.work {
            Work::Build(settings) | Work::Keep(settings) => {
                let out = self.out(bench, "lift")?;
                let mut build = Command::new(bench.programs.join("lift-data"));
                build.args(["build", "folder", "--split", "train", "--json"]);
                build.args(settings).arg("--source");
                build.arg(bench.folder.join(self.photos));
                build.arg("--out").arg(&out);
                let run = measure::run(&mut build)?;
                let images = number(&run.output["splits"][0], "images")?;
                let per_cpu_second = images / run.cpu_seconds;
                let limit = match self.work {
                    Work::Build(_) => Some(self.limit(bench, settings)?),
                    Work::Keep(_) | Work::Load(_) => None,
                };
                Ok(Round {
                    images,
                    seconds: run.seconds,
                    cpu_seconds: run.cpu_seconds,
                    peak_bytes: run.output["peak_memory_bytes"].as_f64(),
                    of_bare: limit.map(|limit| per_cpu_second / limit),
                })
            }
            Work::Load(built) => {
                let mut load = Command::new(bench.programs.join("lift-train"));
                load.args(["bench", "--json", "--rounds", "1"]);
                load.args(["--seconds", bench.seconds, "--shards"]);
                load.arg(bench.folder.join("lift").join(built));
                let output = measure::run(&mut load)?.output;
                let loader = &output["loader"];
                let images = number(loader, "images")?;
                Ok(Round {
                    images,
                    seconds: images / number(loader, "images_per_second")?,
                    cpu_seconds: images / number(loader, "images_per_cpu_second")?,
                    peak_bytes: output["peak_memory_bytes"].as_f64(),
                    of_bare: output["ratio_to_bare"].as_f64(),
                })
            }
        }
    }

    /// Images per CPU-second of the plain loop that a build with these settings is measured against.
    fn limit(&self, bench: &Bench, settings: &[&str]) -> Result<f64> {
        let mut bare = Command::new(bench.programs.join("lift-data"));
        bare.args(["bench", "folder", "--split", "train", "--json"]);
        bare.args(settings);
        bare.args(["--seconds", bench.seconds, "--source"]);
        bare.arg(bench.folder.join(self.photos));
        number(&measure::run(&mut bare)?.output, "images_per_cpu_second")
    }

    /// The folder that a contender's stage writes to, with nothing in it; or where it has written before what this
    /// stage loads.
    pub fn out(&self, bench: &Bench, contender: &str) -> Result<PathBuf> {
        let folder = bench.folder.join(contender);
        match self.work {
            Work::Load(built) => Ok(folder.join(built)),
            Work::Build(_) | Work::Keep(_) => {
                let out = folder.join(self.name);
                empty(&out)?;
                Ok(out)
            }
        }
    }
}

fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let parent = folder.parent().context("a folder below target/bench")?;
    fs::create_dir_all(parent).with_context(|| parent.display().to_string())
}

/// A number that a program has printed.
pub fn number(output: &Value, key: &str) -> Result<f64> {
    output[key]
        .as_f64()
        .with_context(|| format!("the program's JSON has no number `{key}`"))
}
