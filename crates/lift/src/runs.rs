//! Numbered runs in a folder: 001, 002, and what each was asked for.
//!
//! Invariant: a run with the same wishes as before is gone on with, or is the answer; a folder is never written into twice.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What a run was asked for: the arguments of `lift-train` but for its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wishes {
    pub train: Vec<String>,
    /// The hash of the manifests of its shards, so that other photos are another run.
    pub shards: String,
}

/// What is to be done for some wishes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Begin in this folder.
    Begin(PathBuf),
    /// Go on with this run.
    Resume(PathBuf),
    /// It is finished.
    Finished(PathBuf),
}

/// Where these wishes are to be met in `out`; anew with `again`.
pub(crate) fn next(out: &Path, wishes: &Wishes, again: bool) -> Result<Next> {
    let numbers = numbers(out)?;
    let last = numbers.last().copied().unwrap_or(0);
    for number in numbers.into_iter().rev().filter(|_| !again) {
        let run = folder(out, number);
        if asked(&run).as_ref() != Some(wishes) {
            continue;
        }
        match Next::of(run) {
            // What died before its first checkpoint has nothing to go on with.
            Next::Begin(_) => {}
            next => return Ok(next),
        }
    }
    Ok(Next::Begin(folder(out, last + 1)))
}

impl Next {
    /// What is to be done for the run in this folder.
    pub fn of(run: PathBuf) -> Self {
        if run.join("report.json").is_file() {
            Self::Finished(run)
        } else if run.join("checkpoint").exists() {
            Self::Resume(run)
        } else {
            Self::Begin(run)
        }
    }
}

/// Writes down what the run in this folder is asked for, beside it.
pub(crate) fn ask(run: &Path, wishes: &Wishes) -> Result<()> {
    let path = beside(run);
    let text = serde_json::to_string_pretty(wishes)? + "\n";
    lift_files::write(&path, &[text.as_bytes()]).with_context(|| path.display().to_string())
}

fn asked(run: &Path) -> Option<Wishes> {
    serde_json::from_str(&fs::read_to_string(beside(run)).ok()?).ok()
}

fn beside(run: &Path) -> PathBuf {
    run.with_extension("json")
}

fn folder(out: &Path, number: u32) -> PathBuf {
    out.join(format!("{number:03}"))
}

/// Those that are taken, in order: a folder, or what was asked for.
fn numbers(out: &Path) -> Result<Vec<u32>> {
    let entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(|| out.display().to_string()),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry
            .with_context(|| out.display().to_string())?
            .file_name();
        let name = name.to_string_lossy().into_owned();
        let stem = name.strip_suffix(".json").unwrap_or(&name);
        if stem.len() >= 3 && stem.bytes().all(|b| b.is_ascii_digit()) {
            numbers.extend(stem.parse::<u32>());
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(word: &str) -> Wishes {
        Wishes {
            train: vec![word.into()],
            shards: "0".into(),
        }
    }

    #[test]
    fn runs_are_numbered_gone_on_with_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("runs");
        let (one, two) = (wishes("a"), wishes("b"));
        let first = out.join("001");
        assert_eq!(next(&out, &one, false).unwrap(), Next::Begin(first.clone()));
        fs::create_dir_all(first.join("checkpoint")).unwrap();
        ask(&first, &one).unwrap();
        assert_eq!(
            next(&out, &one, false).unwrap(),
            Next::Resume(first.clone())
        );
        // Other wishes, other photos, or a wish for a new one: the next number.
        let second = Next::Begin(out.join("002"));
        assert_eq!(next(&out, &two, false).unwrap(), second);
        let others = Wishes {
            shards: "1".into(),
            ..one.clone()
        };
        assert_eq!(next(&out, &others, false).unwrap(), second);
        assert_eq!(next(&out, &one, true).unwrap(), second);
        fs::write(first.join("report.json"), "{}").unwrap();
        assert_eq!(next(&out, &one, false).unwrap(), Next::Finished(first));
        // What died at once leaves its number taken.
        ask(&out.join("002"), &two).unwrap();
        assert_eq!(
            next(&out, &two, false).unwrap(),
            Next::Begin(out.join("003"))
        );
    }
}
