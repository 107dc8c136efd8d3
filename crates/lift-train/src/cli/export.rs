//! `lift-train export`, as typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lift_page::terminal;

use crate::{
    command::{self, ExportSettings},
    error::Result,
};

/// The forms that a run can be taken along in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// The run with its model, in one folder that is read as a run on any machine; every tuner
    Folder,
    /// A model in the base's own layout with the tuner folded in, and the classifier beside it
    Merged,
    /// LoRA for Hugging Face's PEFT, and the classifier beside it
    Peft,
    /// One graph of tower, tuner and classifier, from RGB bytes to logits; every tuner
    Onnx,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Folder of a finished run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// What to make of it
    #[arg(long, value_enum)]
    format: Format,
    /// Folder to write, which must be missing or empty, or a .onnx file [default: below RUN/export/]
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Its model: folder, file or org/name [default: the run's]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
}

impl ExportArgs {
    pub(super) fn run(self) -> Result<()> {
        let name = match self.format {
            Format::Folder => "folder",
            Format::Merged => "merged",
            Format::Peft => "peft",
            Format::Onnx => "onnx",
        };
        let usual = || self.run.join("export").join(name);
        let settings = ExportSettings {
            out: self.out.unwrap_or_else(usual),
            run: self.run,
            model: self.model,
        };
        match self.format {
            Format::Folder => command::export_folder(&settings)?,
            Format::Merged => command::export_merged(&settings)?,
            Format::Peft => command::export_peft(&settings)?,
            // It says itself how large the graph is.
            Format::Onnx => return command::export_onnx(&settings),
        }
        terminal::say(format_args!("export: {}", settings.out.display()));
        Ok(())
    }
}
