//! Which split a name means: one vocabulary for class folders, lists, tables, Parquet files and tars.
//!
//! It opens nothing. The whole name decides, in any case: `train_extra` is not `train`. A file's name may
//! have a number behind the split (`train-00000-of-00002`) and what it is a split of in front
//! (`imagenet1k-validation-07`). Invariant: what a name does not say is never guessed, and a split that
//! two names speak of is refused, not joined.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use lift_shards::split::Split;

/// The words for a split; those that the hub's data sets are found by.
fn words(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train", "training"],
        Split::Val => &["val", "valid", "validation", "dev", "development"],
        Split::Test => &["test", "testing", "eval", "evaluation"],
    }
}

/// The split that `name` is a word for.
pub(crate) fn split_of(name: &str) -> Option<Split> {
    let is_it = |word: &&str| word.eq_ignore_ascii_case(name);
    let says = |split: &Split| words(*split).iter().any(is_it);
    Split::ALL.into_iter().find(says)
}

/// What a file's name says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FileName<'a> {
    /// What it is a split of; empty where the name is the split alone.
    pub(super) subset: &'a str,
    pub(super) split: Split,
    /// The word for the split, as it is written.
    pub(super) word: &'a str,
}

impl<'a> FileName<'a> {
    /// Reads a name without its extension; `None` where it names no split.
    pub(super) fn parse(stem: &'a str) -> Option<Self> {
        let name = without_number(stem);
        let (subset, word) = match name.rsplit_once(SEPARATORS) {
            Some((subset, word)) if split_of(name).is_none() => (subset, word),
            _ => ("", name),
        };
        let split = split_of(word)?;
        // `train_val` is neither.
        (!speaks_of_a_split(subset)).then_some(Self {
            subset,
            split,
            word,
        })
    }
}

/// Whether a part of the name is a word for a split.
pub(super) fn speaks_of_a_split(name: &str) -> bool {
    name.split(SEPARATORS).any(|word| split_of(word).is_some())
}

const SEPARATORS: [char; 4] = ['-', '_', '.', ' '];

/// A name without the number of its part: `-00000-of-00002`, with the hash that `datasets` once put behind
/// it, or `-0001`.
fn without_number(stem: &str) -> &str {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hash = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut parts: Vec<&str> = stem.split('-').collect();
    if parts.len() > 4 && hash(parts[parts.len() - 1]) && parts[parts.len() - 3] == "of" {
        parts.pop();
    }
    let name_bytes = |left: &[&str]| left.iter().map(|part| part.len() + 1).sum::<usize>() - 1;
    if let [name @ .., number, "of", total] = parts.as_slice()
        && !name.is_empty()
        && digits(number)
        && digits(total)
    {
        return &stem[..name_bytes(name)];
    }
    match stem.rsplit_once(SEPARATORS) {
        Some((name, number)) if digits(number) => name,
        _ => stem,
    }
}

/// A file that names its split.
#[derive(Debug)]
pub(super) struct NamedFile {
    /// What it is a split of; empty where it does not say.
    pub(super) subset: String,
    pub(super) split: Split,
    /// The word for the split, as it is written.
    pub(super) word: String,
    /// How messages call it.
    pub(super) shown: String,
    pub(super) path: PathBuf,
}

/// The files of one subset by split, and how the files of the others are called: of that which is `wanted`, else of
/// none, else of the only one.
///
/// # Errors
/// When there are several, or not that which is wanted. `hint` says how one is chosen.
pub(super) fn pick(
    source: &Path,
    files: Vec<NamedFile>,
    wanted: Option<&str>,
    hint: &str,
) -> Result<(SplitPlaces, Vec<String>)> {
    let subsets: BTreeSet<&str> = files.iter().map(|file| file.subset.as_str()).collect();
    let listed = || {
        let named: Vec<&str> = subsets.iter().copied().filter(|s| !s.is_empty()).collect();
        named.join(", ")
    };
    let wrong = |reason: String, hint: String| Error::Source {
        path: source.to_owned(),
        reason,
        hint,
    };
    let chosen = match (wanted, subsets.first().copied()) {
        (Some(wanted), _) if subsets.contains(wanted) => wanted.to_owned(),
        (Some(wanted), _) => {
            return Err(wrong(
                format!("there is no subset {wanted} in it"),
                match listed() {
                    none if none.is_empty() => "leave out --subset".to_owned(),
                    some => format!("there are {some}"),
                },
            ));
        }
        (None, Some(first)) if !first.is_empty() && subsets.len() > 1 => {
            let reason = format!("it has several subsets: {}", listed());
            return Err(wrong(reason, hint.to_owned()));
        }
        (None, first) => first.unwrap_or_default().to_owned(),
    };
    let (mut places, mut others) = (SplitPlaces::default(), Vec::new());
    for file in files {
        if file.subset == chosen {
            places.add(file.split, &file.word, file.path)
        } else {
            others.push(file.shown)
        }
    }
    Ok((places, others))
}

/// What was found for each split of a source.
#[derive(Debug, Default)]
pub(super) struct SplitPlaces([Vec<Place>; 3]);

#[derive(Debug)]
struct Place {
    /// The word for the split, as it is written.
    word: String,
    path: PathBuf,
}

impl SplitPlaces {
    pub(super) fn add(&mut self, split: Split, word: &str, path: PathBuf) {
        self.0[split as usize].push(Place {
            word: word.to_owned(),
            path,
        });
    }

    fn has(&self, split: Split) -> bool {
        !self.0[split as usize].is_empty()
    }

    /// The splits that can be built. Where there is no test split, the validation split is it.
    pub(super) fn splits(&self) -> Vec<Split> {
        let is_there = |split: &Split| match split {
            Split::Train => self.has(Split::Train),
            Split::Val => self.has(Split::Val) && self.has(Split::Test),
            Split::Test => self.has(Split::Test) || self.has(Split::Val),
        };
        Split::ALL.into_iter().filter(is_there).collect()
    }

    fn of(&self, split: Split) -> &[Place] {
        match split {
            Split::Test if !self.has(Split::Test) => &self.0[Split::Val as usize],
            _ => &self.0[split as usize],
        }
    }

    /// All files of a split, in their order; none where it is not there. `source` is named in errors.
    ///
    /// # Errors
    /// When they go by different words: then they are different splits to whoever wrote them.
    pub(super) fn files(&self, source: &Path, split: Split) -> Result<Vec<PathBuf>> {
        let places = self.of(split);
        let words: BTreeSet<String> = places
            .iter()
            .map(|place| place.word.to_ascii_lowercase())
            .collect();
        if words.len() > 1 {
            return Err(ambiguous(source, split, words));
        }
        Ok(places.iter().map(|place| place.path.clone()).collect())
    }

    /// The one folder or file of a split, `None` where it is not there. `source` is named in errors.
    ///
    /// # Errors
    /// When there are several.
    pub(super) fn one(&self, source: &Path, split: Split) -> Result<Option<&Path>> {
        match self.of(split) {
            [] => Ok(None),
            [place] => Ok(Some(&place.path)),
            several => {
                let name = |place: &Place| match place.path.file_name() {
                    Some(name) => name.to_string_lossy().into_owned(),
                    None => place.word.clone(),
                };
                Err(ambiguous(source, split, several.iter().map(name).collect()))
            }
        }
    }
}

fn ambiguous(source: &Path, split: Split, names: BTreeSet<String>) -> Error {
    let names: Vec<String> = names.into_iter().collect();
    Error::Source {
        path: source.to_owned(),
        reason: format!(
            "{} are names of the {split} split, and they are not joined",
            names.join(" and ")
        ),
        hint: "leave one of them there, or build another split with --split".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_decides_in_any_case() {
        for (name, split) in [
            ("train", Some(Split::Train)),
            ("Training", Some(Split::Train)),
            ("VAL", Some(Split::Val)),
            ("valid", Some(Split::Val)),
            ("Validation", Some(Split::Val)),
            ("dev", Some(Split::Val)),
            ("Test", Some(Split::Test)),
            ("eval", Some(Split::Test)),
            ("train_extra", None),
            ("trains", None),
            ("train2017", None),
            ("", None),
        ] {
            assert_eq!(split_of(name), split, "{name}");
        }
    }

    #[test]
    fn a_file_is_numbered_and_may_say_what_it_is_of() {
        let of = |subset, split, word| {
            Some(FileName {
                subset,
                split,
                word,
            })
        };
        for (stem, name) in [
            ("train", of("", Split::Train, "train")),
            ("train-00000-of-00002", of("", Split::Train, "train")),
            (
                "test-00000-of-00001-d9b93805488c263e",
                of("", Split::Test, "test"),
            ),
            ("Train_007", of("", Split::Train, "Train")),
            ("dev.3", of("", Split::Val, "dev")),
            (
                "imagenet1k-validation-07",
                of("imagenet1k", Split::Val, "validation"),
            ),
            (
                "ImageNet_LT_train",
                of("ImageNet_LT", Split::Train, "train"),
            ),
            ("train_extra-00000-of-00001", None),
            ("test_corrupted", None),
            ("train_val", None),
            ("dev-test-0", None),
            ("00000", None),
            ("train2017", None),
            ("-of-", None),
            ("", None),
        ] {
            assert_eq!(FileName::parse(stem), name, "{stem}");
        }
    }

    #[test]
    fn a_split_of_two_names_is_refused() {
        let mut places = SplitPlaces::default();
        places.add(Split::Val, "val", "d/val-0.tar".into());
        places.add(Split::Val, "VAL", "d/VAL-1.tar".into());
        let source = Path::new("d");
        assert_eq!(places.splits(), [Split::Test]);
        assert_eq!(places.files(source, Split::Test).unwrap().len(), 2);
        let err = places.one(source, Split::Test).unwrap_err().to_string();
        assert!(err.starts_with("d: VAL-1.tar and val-0.tar are names of the test split"));
        places.add(Split::Val, "dev", "d/dev.tar".into());
        places.add(Split::Test, "test", "d/test.tar".into());
        assert_eq!(places.splits(), [Split::Val, Split::Test]);
        let err = places.files(source, Split::Val).unwrap_err().to_string();
        assert!(
            err.starts_with("d: dev and val are names of the val split, and they are not joined"),
            "{err}"
        );
        assert_eq!(places.files(source, Split::Train).unwrap().len(), 0);
    }
}
