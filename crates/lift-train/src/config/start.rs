//! What training starts from: a classifier that is made or read, or a finished run with its modules.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::head_init::HeadInit;

/// What a run has tuned, in its folder.
pub const TUNED: &str = "tuned.safetensors";

/// `--init`, as typed and as a run's settings have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Start {
    /// Fresh modules, and a classifier of this kind.
    Head(HeadInit),
    /// The modules and the classifier of the run in this folder.
    Run(PathBuf),
}

impl Default for Start {
    fn default() -> Self {
        Self::Head(HeadInit::Head)
    }
}

impl Start {
    /// What makes the classifier, where it is made here.
    pub fn makes(&self) -> Option<HeadInit> {
        match self {
            Self::Head(HeadInit::Head) | Self::Run(_) => None,
            Self::Head(init) => Some(*init),
        }
    }

    /// The run that it starts from.
    pub fn run(&self) -> Option<&Path> {
        match self {
            Self::Head(_) => None,
            Self::Run(run) => Some(run),
        }
    }
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(init) = HeadInit::from_str(text, false) {
            return Ok(Self::Head(init));
        }
        let run = Path::new(text);
        // A mistyped word is no folder.
        if run.is_dir() || text.contains(std::path::MAIN_SEPARATOR) {
            return Ok(Self::Run(run.into()));
        }
        let words: Vec<String> = HeadInit::value_variants()
            .iter()
            .map(HeadInit::to_string)
            .collect();
        Err(format!(
            "none of {}, and no folder of a finished run",
            words.join(", ")
        ))
    }
}

impl TryFrom<String> for Start {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Start> for String {
    fn from(start: Start) -> Self {
        start.to_string()
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(init) => init.fmt(f),
            Self::Run(run) => run.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_before_folders_and_typing_errors_are_no_folders() {
        assert_eq!("class-mean".parse(), Ok(Start::Head(HeadInit::ClassMean)));
        assert_eq!("runs/first".parse(), Ok(Start::Run("runs/first".into())));
        let refused = "class-means".parse::<Start>().unwrap_err();
        assert_eq!(
            refused,
            "none of head, class-mean, linear-probe, random, and no folder of a finished run"
        );
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().display().to_string();
        let start: Start = text.parse().unwrap();
        assert_eq!(start.run(), Some(dir.path()));
        assert_eq!(start.makes(), None);
        assert_eq!(String::from(start), text);
    }
}
