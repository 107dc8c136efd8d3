//! The last checkpoints that a run keeps beside its latest one: `checkpoint/step-00000120.safetensors`.
//!
//! They are what a run goes back to before it diverged, and what a finished one is extended from. Invariant: each is a
//! checkpoint as it was written, and there are never more of them than were asked for.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// Keeps the checkpoint at `latest` for this step, and of all only the `most` last ones.
///
/// # Errors
/// When the folder cannot be written.
pub fn keep(latest: &Path, step: usize, most: usize) -> Result<()> {
    let folder = latest.parent().unwrap_or(Path::new("."));
    let path = of_step(folder, step);
    place(latest, &path)?;
    let kept = steps(folder)?;
    for (_, old) in &kept[..kept.len().saturating_sub(most)] {
        fs::remove_file(old).map_err(Error::io(old))?;
    }
    Ok(())
}

/// The steps that a checkpoint is kept of in this folder, with their files, from the first on; none without the folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn steps(folder: &Path) -> Result<Vec<(usize, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(folder))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io(folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let step = name
            .strip_prefix("step-")
            .and_then(|rest| rest.strip_suffix(".safetensors"));
        if let Some(Ok(step)) = step.map(str::parse) {
            found.push((step, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the checkpoint of a step, or the last one that was kept, the latest; those of later steps are removed, as what
/// comes will not be what they were.
///
/// # Errors
/// When none was kept, or the folder cannot be written; the message says which ones there are.
pub fn go_back(latest: &Path, step: Option<usize>) -> Result<usize> {
    let folder = latest.parent().unwrap_or(Path::new("."));
    let kept = steps(folder)?;
    let wanted = kept
        .iter()
        .rfind(|(kept, _)| step.is_none_or(|step| *kept == step));
    let Some((wanted, path)) = wanted else {
        let there: Vec<String> = kept.iter().map(|(step, _)| step.to_string()).collect();
        let reason = match (step, there.as_slice()) {
            (_, []) => "keeps no checkpoint\nhint: train with --keep-checkpoints 1 or more; then a run can be extended and gone back to".to_owned(),
            (Some(step), there) => format!("keeps no checkpoint of step {step}\nhint: there are those of steps {}", there.join(", ")),
            (None, _) => unreachable!("the last of some is there"),
        };
        return Err(Error::BadRun {
            path: folder.into(),
            reason,
        });
    };
    place(path, latest)?;
    for (_, later) in kept.iter().filter(|(step, _)| step > wanted) {
        fs::remove_file(later).map_err(Error::io(later))?;
    }
    Ok(*wanted)
}

/// One file under both names; `to` is replaced whole.
fn place(from: &Path, to: &Path) -> Result<()> {
    let temporary = to.with_file_name(".step.lift-tmp");
    let _ = fs::remove_file(&temporary); // what a killed run left
    // Not every file system has hard links.
    fs::hard_link(from, &temporary)
        .or_else(|_| fs::copy(from, &temporary).map(drop))
        .and_then(|()| fs::rename(&temporary, to))
        .map_err(Error::io(to))?;
    // Two names of one file: the rename does nothing then.
    let _ = fs::remove_file(&temporary);
    Ok(())
}

fn of_step(folder: &Path, step: usize) -> PathBuf {
    folder.join(format!("step-{step:08}.safetensors"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_stay_and_a_run_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let latest = dir.path().join("latest.safetensors");
        for step in [5, 100, 20] {
            // As a checkpoint is written: a new file in the place of the old one.
            fs::write(dir.path().join("new"), step.to_string()).unwrap();
            fs::rename(dir.path().join("new"), &latest).unwrap();
            keep(&latest, step, 2).unwrap();
        }
        let there = |dir: &Path| {
            steps(dir)
                .unwrap()
                .into_iter()
                .map(|(step, _)| step)
                .collect::<Vec<_>>()
        };
        assert_eq!(there(dir.path()), [20, 100]);
        let message = go_back(&latest, Some(5)).unwrap_err().to_string();
        assert!(
            message
                .ends_with("keeps no checkpoint of step 5\nhint: there are those of steps 20, 100"),
            "{message}"
        );
        assert_eq!(go_back(&latest, Some(20)).unwrap(), 20);
        assert_eq!(fs::read_to_string(&latest).unwrap(), "20");
        assert_eq!(there(dir.path()), [20]);
        assert_eq!(go_back(&latest, None).unwrap(), 20);
        let names = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 2, "the latest and one kept, nothing temporary");
        assert!(
            go_back(&dir.path().join("x/latest"), None)
                .unwrap_err()
                .to_string()
                .contains("keeps no checkpoint\nhint")
        );
    }
}
