//! What a shell, `man` and editors are told of a program: three commands that all programs have.

use std::{fs, io, path::PathBuf};

use clap::{Command, Subcommand};
use serde_json::Value;

use crate::terminal;

/// The commands, to be flattened into a program's own.
#[derive(Debug, Subcommand)]
pub enum Manual {
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
    /// Write the program's manual pages, one a command, for packages
    #[command(hide = true)]
    Man {
        /// Folder that gets them
        folder: PathBuf,
    },
    /// Print a JSON schema of recipes, for editors
    #[command(hide = true)]
    Schema,
}

impl Manual {
    /// Does it for `program`, with the schema of what it reads of a recipe.
    ///
    /// # Errors
    /// When standard output or the folder cannot be written, or there is no schema.
    pub fn run<E: From<io::Error>>(
        self,
        mut program: Command,
        schema: impl FnOnce() -> Result<Value, E>,
    ) -> Result<(), E> {
        match self {
            Self::Completions { shell } => {
                let (name, mut script) = (program.get_name().to_owned(), Vec::new());
                clap_complete::generate(shell, &mut program, name, &mut script);
                Ok(terminal::print_as_it_is(&script)?)
            }
            Self::Man { folder } => {
                fs::create_dir_all(&folder)?;
                Ok(clap_mangen::generate_to(program, &folder)?)
            }
            Self::Schema => Ok(terminal::print_json(&schema()?)?),
        }
    }
}
