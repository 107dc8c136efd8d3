//! Which files of a folder belong to a split, where many images lie in one file.
//!
//! It looks at names only. Invariant: the files of a split are in bytewise order of their names, and a
//! folder without test files has its validation files as test split.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::split::Split;

/// The files of every split of a folder, by their extension.
pub(super) struct ContainerFiles {
    by_split: [Vec<PathBuf>; 3],
    /// Files of this extension that no split claims.
    unnamed: Vec<PathBuf>,
}

impl ContainerFiles {
    /// Looks for `train-*.EXT` (or `train.EXT`, `train/*.EXT`) and the other splits' in `dir` and
    /// `dir/data`.
    pub(super) fn find(dir: &Path, extension: &str) -> Result<Self> {
        let mut found = Self {
            by_split: Default::default(),
            unnamed: Vec::new(),
        };
        for dir in [dir.to_owned(), dir.join("data")] {
            if !dir.is_dir() {
                continue;
            }
            for file in files_in(&dir, extension)? {
                match split_of(&file) {
                    Some(split) => found.by_split[split as usize].push(file),
                    None => found.unnamed.push(file),
                }
            }
            for split in Split::ALL {
                for name in names(split) {
                    let below = dir.join(name);
                    if below.is_dir() {
                        found.by_split[split as usize].extend(files_in(&below, extension)?);
                    }
                }
            }
        }
        Ok(found)
    }

    /// The splits that have files.
    pub(super) fn splits(&self) -> Vec<Split> {
        let has = |split: Split| !self.by_split[split as usize].is_empty();
        let is_there = |split: &Split| match split {
            Split::Train => has(Split::Train),
            Split::Val => has(Split::Val) && has(Split::Test),
            Split::Test => has(Split::Test) || has(Split::Val),
        };
        Split::ALL.into_iter().filter(is_there).collect()
    }

    /// The files of `split`, at least one. Files that are named for no split are it where nothing else
    /// is there and `wanted` is 1.
    pub(super) fn of_split(
        &self,
        dir: &Path,
        split: Split,
        wanted: usize,
        extension: &str,
    ) -> Result<&[PathBuf]> {
        let files = &self.by_split[split as usize];
        if !files.is_empty() {
            return Ok(files);
        }
        if split == Split::Test && !self.by_split[Split::Val as usize].is_empty() {
            return Ok(&self.by_split[Split::Val as usize]);
        }
        if wanted == 1 && self.splits().is_empty() && !self.unnamed.is_empty() {
            return Ok(&self.unnamed);
        }
        Err(Error::Source {
            path: dir.to_owned(),
            reason: format!("there is no {split}-*.{extension} in it"),
            hint: format!(
                "the files of a split are called {split}-*.{extension} or lie in {split}/; files without such names are one split: say which with --split, or cut it with --holdout"
            ),
        })
    }
}

fn names(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train"],
        Split::Val => &["val", "validation", "valid"],
        Split::Test => &["test"],
    }
}

fn split_of(file: &Path) -> Option<Split> {
    let stem = file.file_stem()?.to_str()?;
    let first = stem.split(['-', '_', '.']).next()?;
    Split::ALL
        .into_iter()
        .find(|&split| names(split).contains(&first))
}

fn files_in(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::read(dir))? {
        let path = entry.map_err(Error::read(dir))?.path();
        let hidden = |name: &str| name.starts_with('.');
        let name = path.file_name().and_then(|name| name.to_str());
        let matches = path.extension().is_some_and(|found| found == extension);
        if matches && path.is_file() && !name.is_none_or(hidden) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits_of(paths: &[&str]) -> Vec<(Split, Vec<String>)> {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = ContainerFiles::find(dir.path(), "tar").unwrap();
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(dir.path()).unwrap();
            path.display().to_string()
        };
        found
            .splits()
            .into_iter()
            .map(|split| {
                let files = found.of_split(dir.path(), split, 3, "tar").unwrap();
                (split, files.iter().map(relative).collect())
            })
            .collect()
    }

    #[test]
    fn files_are_found_by_name_or_folder() {
        let found = splits_of(&[
            "train-1.tar",
            "train-0.tar",
            "data/validation-0.tar",
            "test/x.tar",
            "train-2.txt",
            ".train-3.tar",
        ]);
        assert_eq!(
            found,
            [
                (
                    Split::Train,
                    vec!["train-0.tar".to_owned(), "train-1.tar".to_owned()]
                ),
                (Split::Val, vec!["data/validation-0.tar".to_owned()]),
                (Split::Test, vec!["test/x.tar".to_owned()]),
            ]
        );
    }

    #[test]
    fn validation_is_the_test_split_where_there_is_no_other() {
        let found = splits_of(&["val-0.tar", "train.tar"]);
        assert_eq!(found[1], (Split::Test, vec!["val-0.tar".to_owned()]));
        assert_eq!(splits_of(&["a.tar", "b.tar"]), []);
    }
}
