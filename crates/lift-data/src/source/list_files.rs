//! Which list or table of a folder is which split.
//!
//! It looks at names only. Invariant: a file is a split's when its whole name, without its extension, is a word
//! for it; others of the same kind are named, not guessed.

use std::path::{Path, PathBuf};

use super::entries::{Folder, Kind};
use super::image_file::{Bounds, Reach};
use super::left_out::{LeftOut, extension};
use super::split_names::{FileName, SplitPlaces};
use super::{CLASS_NAMES_FILE, absent};
use crate::error::{Error, Result};
use lift_shards::split::Split;

/// The lists of a folder, or its tables.
pub(super) struct ListFiles {
    places: SplitPlaces,
    /// Of no split.
    others: Vec<String>,
}

impl ListFiles {
    /// Those with one of `extensions`; none where there is no such folder.
    pub(super) fn find(dir: &Path, extensions: &[&str]) -> Result<Self> {
        let mut found = Self {
            places: SplitPlaces::default(),
            others: Vec::new(),
        };
        if !dir.is_dir() {
            return Ok(found);
        }
        let bounds = Bounds::new(dir, Reach::Anywhere)?;
        for entry in Folder::top(dir)?.entries(&bounds, &mut LeftOut::default())? {
            let known = extension(&entry.name).is_some_and(|end| extensions.contains(&&*end));
            if entry.kind != Kind::File || !known || entry.name == CLASS_NAMES_FILE {
                continue;
            }
            let stem = entry.name.rsplit_once('.').map_or("", |(stem, _)| stem);
            match FileName::parse(stem).filter(|name| name.subset.is_empty() && name.word == stem) {
                Some(name) => found.places.add(name.split, stem, dir.join(&entry.name)),
                None => found.others.push(entry.name),
            }
        }
        Ok(found)
    }

    /// The splits that are there.
    pub(super) fn splits(&self) -> Vec<Split> {
        self.places.splits()
    }

    /// The file of a split, `None` where it is not there.
    ///
    /// # Errors
    /// When there are several.
    pub(super) fn one(&self, dir: &Path, split: Split) -> Result<Option<&Path>> {
        self.places.one(dir, split)
    }

    /// The file of `split` in `source`, which may be that file itself; `wanted` are asked for in all.
    ///
    /// # Errors
    /// When it is not there.
    pub(super) fn of_split(
        &self,
        source: &Path,
        split: Split,
        wanted: usize,
        kind: &ListKind,
    ) -> Result<PathBuf> {
        let wrong = |reason: String, hint: &str| {
            Err(Error::Source {
                path: source.to_owned(),
                reason,
                hint: hint.to_owned(),
            })
        };
        if source.is_file() {
            if wanted != 1 {
                return wrong(
                    format!("a single {} cannot be all splits", kind.word),
                    kind.alone,
                );
            }
            return Ok(source.to_owned());
        }
        if !source.is_dir() {
            return wrong(absent(source).to_owned(), kind.missing);
        }
        if let Some(file) = self.one(source, split)? {
            return Ok(file.to_owned());
        }
        let there = if self.others.is_empty() {
            String::new()
        } else {
            format!("; there are {}", self.others.join(", "))
        };
        let usual = kind.usual(split);
        wrong(format!("there is no {usual} in it{there}"), kind.none)
    }

    /// What is there besides.
    pub(super) fn left_out(self) -> LeftOut {
        LeftOut {
            no_split: self.others.into_iter().collect(),
            ..LeftOut::default()
        }
    }
}

/// What messages say of a kind of list.
pub(super) struct ListKind {
    /// `list` or `table`.
    pub(super) word: &'static str,
    /// The usual extensions.
    pub(super) extensions: &'static [&'static str],
    /// What to do where one file should be all splits,
    pub(super) alone: &'static str,
    /// where nothing is there,
    pub(super) missing: &'static str,
    /// and where the folder lacks the split's.
    pub(super) none: &'static str,
}

impl ListKind {
    fn usual(&self, split: Split) -> String {
        let splits: &[Split] = match split {
            Split::Test => &[Split::Test, Split::Val],
            Split::Train => &[Split::Train],
            Split::Val => &[Split::Val],
        };
        let names = splits.iter().flat_map(|split| {
            let name = move |extension: &&str| format!("{split}.{extension}");
            self.extensions.iter().map(name)
        });
        names.collect::<Vec<_>>().join(" or ")
    }
}
