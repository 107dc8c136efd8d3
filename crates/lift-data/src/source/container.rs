//! Which files of a folder belong to a split, where many images lie in one file.
//!
//! It looks at names only: of the file, and of the folders that it lies in. A folder that is no split's, other
//! than `data`, is a subset (a configuration, on the hub). Invariant: the files of a split are in
//! bytewise order of their paths, of one subset, and go by one word for the split.

use std::path::{Path, PathBuf};

use super::CLASS_NAMES_FILE;
use super::entries::{Folder, Kind};
use super::image_file::{Bounds, Reach};
use super::left_out::{LeftOut, extension};
use super::split_names::{FileName, NamedFile, SplitPlaces, pick, speaks_of_a_split, split_of};
use crate::error::{Error, Result};
use lift_shards::split::Split;

/// Folders below folders that are looked into: `data/SUBSET/SPLIT/PART`.
const MAX_DEPTH: usize = 4;

/// How many files a message shows.
const SHOWN: usize = 5;

/// The files of every split of a folder, by their extension.
#[derive(Default)]
pub(super) struct ContainerFiles {
    places: SplitPlaces,
    /// Files of this extension, where none is named for a split.
    unnamed: Vec<PathBuf>,
    pub(super) left_out: LeftOut,
}

impl ContainerFiles {
    /// Looks for `train-*.EXT` (or `train.EXT`, `train/*.EXT`) and the other splits' in `dir`, in `dir/data`, and
    /// in folders that are a subset. Of several subsets `subset` chooses.
    ///
    /// # Errors
    /// When it cannot be read, or has several subsets and none is chosen.
    pub(super) fn find(dir: &Path, wanted: &str, subset: Option<&str>) -> Result<Self> {
        let mut found = Self::default();
        let mut files = Vec::new();
        found.collect(&Folder::top(dir)?, "", 0, wanted, &mut files)?;
        files.sort();
        let (mut named, mut others) = (Vec::new(), Vec::new());
        for path in files {
            match name_of(dir, &path) {
                Some(name) => named.push(name),
                None => others.push(path),
            }
        }
        if named.is_empty() && subset.is_none() {
            found.unnamed = others.iter().map(|path| dir.join(path)).collect();
            return Ok(found);
        }
        let hint = "choose one with --subset of `lift-data build`, or name its folder";
        let (places, of_others) = pick(dir, named, subset, hint)?;
        found.places = places;
        others.extend(of_others);
        found.left_out.no_split.extend(others);
        Ok(found)
    }

    fn collect(
        &mut self,
        folder: &Folder<'_>,
        relative: &str,
        depth: usize,
        wanted: &str,
        files: &mut Vec<String>,
    ) -> Result<()> {
        // Few and large, such files often are links: into a cache, or to another disk.
        let bounds = Bounds::new(folder.path(), Reach::Anywhere)?;
        for entry in folder.entries(&bounds, &mut self.left_out)? {
            let path = format!("{relative}{}", entry.name);
            match entry.kind {
                Kind::Folder if depth < MAX_DEPTH => {
                    let below = folder.below(&entry.name)?;
                    self.collect(&below, &format!("{path}/"), depth + 1, wanted, files)?;
                }
                Kind::Folder => {
                    self.left_out.no_split.insert(format!("{path}/"));
                }
                Kind::File if extension(&entry.name).as_deref() == Some(wanted) => files.push(path),
                Kind::File if path == CLASS_NAMES_FILE => {}
                Kind::File => self.left_out.pass_over(&entry.name),
                Kind::Odd => self.left_out.pass_over_as("neither file nor folder"),
            }
        }
        Ok(())
    }

    /// Whether there is no file of the kind.
    pub(super) fn is_empty(&self) -> bool {
        self.splits().is_empty() && self.unnamed.is_empty() && self.left_out.no_split.is_empty()
    }

    /// The splits that have files.
    pub(super) fn splits(&self) -> Vec<Split> {
        self.places.splits()
    }

    /// The files of `split`, at least one. Files that are named for no split are it where nothing else
    /// is there and `wanted` is 1.
    pub(super) fn of_split(
        &self,
        dir: &Path,
        split: Split,
        wanted: usize,
        extension: &str,
    ) -> Result<Vec<PathBuf>> {
        let files = self.places.files(dir, split)?;
        if !files.is_empty() {
            return Ok(files);
        }
        let below = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
        let shown: Vec<String> = if self.unnamed.is_empty() {
            self.left_out.no_split.iter().cloned().collect()
        } else {
            self.unnamed.iter().map(|path| below(path)).collect()
        };
        let speaks = |path: &String| path.split('/').any(speaks_of_a_split);
        if wanted == 1 && !self.unnamed.is_empty() && !shown.iter().any(speaks) {
            return Ok(self.unnamed.clone());
        }
        let there = match shown.len() {
            0 => String::new(),
            number => format!(
                "; there are {}{}",
                shown[..number.min(SHOWN)].join(", "),
                if number > SHOWN { ", .." } else { "" }
            ),
        };
        Err(Error::Source {
            path: dir.to_owned(),
            reason: format!("there is no {split}-*.{extension} in it{there}"),
            hint: format!(
                "the files of a split are called {split}-*.{extension} or lie in {split}/; files without such names are one split: say which with --split, or cut it with --holdout"
            ),
        })
    }
}

/// The split and the subset that a path below `dir` says; `None` where it says no split, or two.
fn name_of(dir: &Path, path: &str) -> Option<NamedFile> {
    let (folders, file) = path.rsplit_once('/').unwrap_or(("", path));
    let mut subset: Vec<&str> = Vec::new();
    let mut by_folder = None;
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        match split_of(folder) {
            Some(split) if by_folder.is_none() => by_folder = Some((split, folder)),
            Some(_) => return None,
            None if by_folder.is_none() && folder != "data" => subset.push(folder),
            None => {}
        }
    }
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let by_name = FileName::parse(stem);
    let (split, word) = match (by_folder, &by_name) {
        (Some((split, _)), Some(name)) if name.split != split => return None,
        (Some(found), _) => found,
        (None, Some(name)) => {
            subset.extend(Some(name.subset).filter(|subset| !subset.is_empty()));
            (name.split, name.word)
        }
        (None, None) => return None,
    };
    Some(NamedFile {
        subset: subset.join("/"),
        split,
        word: word.to_owned(),
        shown: path.to_owned(),
        path: dir.join(path),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn find(paths: &[&str], subset: Option<&str>) -> Result<Vec<(Split, Vec<String>)>> {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = ContainerFiles::find(dir.path(), "tar", subset)?;
        let relative = |path: &PathBuf| {
            let path = path.strip_prefix(dir.path()).unwrap();
            path.display().to_string()
        };
        let mut all = Vec::new();
        for split in found.splits() {
            let files = found.of_split(dir.path(), split, 3, "tar")?;
            all.push((split, files.iter().map(relative).collect()));
        }
        let left: Vec<String> = found.left_out.no_split.into_iter().collect();
        if !left.is_empty() {
            all.push((Split::Train, [vec!["left:".to_owned()], left].concat()));
        }
        Ok(all)
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn files_are_found_by_name_or_folder() {
        let found = find(
            &[
                "train-1.tar",
                "train-0.tar",
                "data/validation-0.TAR",
                "test/x.tar",
                "train-2.txt",
                ".train-3.tar",
                "train_extra-0.tar",
                "test/train-1.tar",
            ],
            None,
        );
        assert_eq!(
            found.unwrap(),
            [
                (Split::Train, texts(&["train-0.tar", "train-1.tar"])),
                (Split::Val, texts(&["data/validation-0.TAR"])),
                (Split::Test, texts(&["test/x.tar"])),
                (
                    Split::Train,
                    texts(&["left:", "test/train-1.tar", "train_extra-0.tar"])
                ),
            ]
        );
    }

    #[test]
    fn validation_is_the_test_split_where_there_is_no_other() {
        let found = find(&["dev-0.tar", "train.tar"], None).unwrap();
        assert_eq!(found[1], (Split::Test, texts(&["dev-0.tar"])));
        assert_eq!(find(&["a.tar", "b.tar"], None).unwrap(), []);
    }

    #[test]
    fn of_several_subsets_one_is_chosen() {
        let one = &["default/train/0000.tar", "default/test-00000-of-00001.tar"];
        let expected = [
            (Split::Train, texts(&one[..1])),
            (Split::Test, texts(&one[1..])),
        ];
        assert_eq!(find(one, None).unwrap(), expected);
        let two = &[one[0], one[1], "other/train-0.tar", "mini-train-0.tar"];
        let err = find(two, None).unwrap_err().to_string();
        assert!(
            err.contains("several subsets: default, mini, other\nhint: choose one with --subset"),
            "{err}"
        );
        let found = find(two, Some("other")).unwrap();
        assert_eq!(found[0], (Split::Train, texts(&["other/train-0.tar"])));
        let err = find(two, Some("x")).unwrap_err().to_string();
        assert!(err.contains("there is no subset x"), "{err}");
        // Files that are of no subset come before those of one.
        let found = find(&["train-0.tar", "mini-train-0.tar"], None).unwrap();
        assert_eq!(found[0], (Split::Train, texts(&["train-0.tar"])));
        assert_eq!(found[1].1, ["left:", "mini-train-0.tar"]);
    }
}
