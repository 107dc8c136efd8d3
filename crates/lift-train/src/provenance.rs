//! `provenance.json` of a run: the command that started it and the hashes of what it started from.
//!
//! Written before the first step: a run that is resumed keeps the command that began it, and what was changed is added. It
//! does not hold the settings, which are in `config.toml`.

use std::{fs, path::Path};

use lift_shards::atomic;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, Result},
    fingerprint::Origins,
};

/// Its name in the run's folder.
pub const FILE: &str = "provenance.json";

/// How a run was started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Version of lift-train that started it.
    pub tool_version: String,
    /// The program and its arguments as they were typed; empty where no program was.
    pub command: Vec<String>,
    /// What it started from.
    pub origins: Origins,
    /// Settings that were changed when it went on, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// A setting that was changed between two steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Steps done before.
    pub step: usize,
    /// Its name in `config.toml`.
    pub setting: String,
    /// What it was; null where it was not set.
    pub from: Value,
    /// What it became.
    pub to: Value,
}

impl Provenance {
    /// Of a run of this program.
    pub fn new(command: &[String], origins: &Origins) -> Self {
        Self {
            tool_version: env!("CARGO_PKG_VERSION").into(),
            command: command.to_vec(),
            origins: origins.clone(),
            changes: Vec::new(),
        }
    }

    /// Writes it into the run's folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, run: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("provenance is plain data") + "\n";
        Ok(atomic::write(&run.join(FILE), text.as_bytes())?)
    }

    /// Reads that of a run; none where the run is older than this file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let path = run.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|e| Error::BadRun {
            path,
            reason: format!("not what a run was started with: {e}"),
        })
    }
}

/// A command as a line that a POSIX shell takes back into the same words.
pub fn shell_line(command: &[String]) -> String {
    let is_plain = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_./=+:,@%".contains(&byte))
    };
    let quoted = command.iter().map(|word| {
        if is_plain(word) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_line_back() {
        let words = [
            "lift-train",
            "--out",
            "it's $HOME; rm *",
            "",
            "a\nb",
            "--lr=0.02",
        ];
        let words = words.map(str::to_owned);
        let line = shell_line(&words[1..]);
        assert!(line.ends_with("--lr=0.02"), "{line}");
        let script = format!("printf '%s\\0' {line}");
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output();
        let read = String::from_utf8(output.unwrap().stdout).unwrap();
        let read: Vec<&str> = read.split_terminator('\0').collect();
        assert_eq!(read, words[1..]);
    }

    #[test]
    fn it_is_read_back_and_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Provenance::read(dir.path()).unwrap(), None);
        let origins = Origins {
            shards: "a4fd3a99733fa6bb".into(),
            model: "0123456789abcdef".into(),
            ..Origins::default()
        };
        let written = Provenance::new(&["lift-train".into()], &origins);
        written.write(dir.path()).unwrap();
        assert_eq!(Provenance::read(dir.path()).unwrap(), Some(written));
        fs::write(dir.path().join(FILE), "{}").unwrap();
        let message = Provenance::read(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains("provenance.json: not what a run was started with"),
            "{message}"
        );
    }
}
