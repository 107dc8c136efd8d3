//! `lift-train sweep`, as typed.

use std::path::PathBuf;

use clap::Args;

use crate::{command, error::Result, stop::Stop, sweep::Sweep};

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// A recipe with a table [sweep]: a list of values for each setting of [train] that varies
    #[arg(value_name = "FILE.toml")]
    file: PathBuf,
    /// Folder of the sweep's runs; given again, what is finished stays and the rest goes on
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Seeds, a run each, in the place of `seeds` in [sweep]
    #[arg(long, value_name = "S,S", value_delimiter = ',')]
    seeds: Option<Vec<u64>>,
    /// Devices that have a run each at a time, such as cuda:0,cuda:1 [default: one run after the other]
    #[arg(long, value_name = "D,D", value_delimiter = ',')]
    devices: Vec<String>,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

impl SweepArgs {
    pub(super) fn run(self) -> Result<()> {
        let mut sweep = Sweep::read(&self.file)?;
        sweep.seeds = self.seeds.unwrap_or(sweep.seeds);
        let stop = Stop::on_signals()?;
        command::sweep(&sweep, &self.out, &self.devices, self.json, &stop)
    }
}
