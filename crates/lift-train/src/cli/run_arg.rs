//! The run that a command works on: a positional argument everywhere.

use std::path::PathBuf;

use clap::Args;

/// A run, a positional argument everywhere.
#[derive(Debug, Args)]
pub(super) struct RunArg {
    /// Folder of the run
    #[arg(value_name = "RUN", required_unless_present = "run_flag")]
    run: Option<PathBuf>,
    /// As it was typed in earlier versions.
    #[arg(
        long = "run",
        value_name = "RUN",
        id = "run_flag",
        hide = true,
        conflicts_with = "run"
    )]
    flag: Option<PathBuf>,
}

impl RunArg {
    /// The run that was named.
    pub(super) fn path(&self) -> PathBuf {
        let typed = self.run.as_ref().or(self.flag.as_ref());
        typed.cloned().unwrap_or_default()
    }
}
