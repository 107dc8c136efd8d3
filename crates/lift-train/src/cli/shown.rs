//! How reports are printed, as typed.

use clap::Args;

use crate::{command::Output, report::Columns};

#[derive(Debug, Args)]
pub(super) struct ShownArgs {
    /// One JSON document instead of a table
    #[arg(long)]
    pub(super) json: bool,
    /// Also top-5, macro F1, worst class, harmonic and geometric mean, calibration error
    #[arg(long, conflicts_with = "json")]
    details: bool,
    /// Also a line a class
    #[arg(long, conflicts_with = "json")]
    per_class: bool,
}

impl ShownArgs {
    pub(super) fn output(&self) -> Output {
        let columns = if self.details {
            Columns::All
        } else {
            Columns::Accuracies
        };
        match (self.json, self.per_class) {
            (true, _) => Output::Json,
            (false, true) => Output::TableAndClasses(columns),
            (false, false) => Output::Table(columns),
        }
    }
}
