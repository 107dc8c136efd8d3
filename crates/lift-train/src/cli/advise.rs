//! `lift-train advise`, as typed.

use std::path::PathBuf;

use clap::Args;
use lift_page::terminal;

use crate::{
    command,
    error::{Error, Result},
    provenance::shell_line,
};

#[derive(Debug, Args)]
pub(super) struct AdviseArgs {
    /// Folder with train shards
    #[arg(long, value_name = "DIR")]
    shards: PathBuf,
    /// Model: folder, file or org/name on Hugging Face
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Classifier file that is there already
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// One JSON document instead of text
    #[arg(long)]
    json: bool,
}

impl AdviseArgs {
    pub(super) fn run(&self) -> Result<()> {
        let advice = command::advise(&self.shards, &self.model, self.head.as_deref())?;
        if self.json {
            return terminal::print_json(&advice).map_err(Error::io("standard output"));
        }
        let commands = advice.commands.iter().map(|words| shell_line(words) + "\n");
        command::print_text(&(advice.text() + &commands.collect::<String>()))
    }
}
