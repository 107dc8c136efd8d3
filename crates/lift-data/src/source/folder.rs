//! Image folders: `DIR/train/<class>/..` with `DIR/val` and `DIR/test`, or plain `DIR/<class>/..`.
//!
//! The folders of splits go by any of the split's words. Where there is none of the test split, that of the
//! validation split is it.
//!
//! Files with an image's extension are images; others are where they begin as one, and are counted where not.
//! Invariant: classes are the sub-folders' names and images the files below them, both sorted
//! bytewise, so that the list does not depend on the file system.

use lift_image::decode::is_named_image;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::entries::{Entry, Folder, Kind};
use super::image_file::{Bounds, Reach, file_is_image};
use super::left_out::{LeftOut, extension};
use super::split_names::{SplitPlaces, split_of};
use super::{Content, Item, Source, SplitList};
use crate::error::{Error, Result};
use lift_shards::classes::ClassNames;
use lift_shards::split::Split;
use polars::prelude::DataFrame;

/// Lists `splits` of the image folder `dir`.
///
/// The classes are `class_names`, or else the sub-folders of the training split (of the split itself
/// where there is no training split). A class folder that is not among them is an error.
pub fn read(
    dir: &Path,
    splits: &[Split],
    class_names: Option<ClassNames>,
    reach: Reach,
) -> Result<Source> {
    if !dir.is_dir() {
        return Err(missing(
            dir,
            "no such folder",
            "name the folder that holds the images",
        ));
    }
    let bounds = Bounds::new(dir, reach)?;
    let mut left_out = LeftOut::default();
    let layout = Layout::of(dir, &bounds, &mut left_out)?;
    let roots: Vec<(Split, PathBuf)> = splits
        .iter()
        .map(|&split| Ok((split, layout.root(dir, split, splits.len())?)))
        .collect::<Result<_>>()?;
    let class_names = match class_names {
        Some(names) => match names.repeated() {
            None => names,
            Some(name) => {
                return Err(missing(
                    dir,
                    &format!("two classes are called `{name}`"),
                    "class folders are found by their names; give one distinct name a class",
                ));
            }
        },
        None => {
            let train = layout.place(dir, Split::Train)?;
            names_of(train.unwrap_or(&roots[0].1), &bounds)?
        }
    };
    let labels: HashMap<&str, u32> = class_names
        .as_slice()
        .iter()
        .map(String::as_str)
        .zip(0..)
        .collect();
    let splits = roots
        .into_iter()
        .map(|(split, root)| {
            let mut listing = Listing {
                root: &root,
                bounds: &bounds,
                left_out: &mut left_out,
                items: Vec::new(),
            };
            listing.classes(&labels)?;
            let items = listing.items;
            Ok(SplitList {
                split,
                root,
                bounds: bounds.clone(),
                items,
                columns: DataFrame::default(),
                imbalance_ratio: None,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Source {
        class_names,
        splits,
        left_out,
        column_names: Vec::new(),
    })
}

/// The splits for which `dir` has a folder.
///
/// # Errors
/// When it cannot be told whether a folder is a split or a class.
pub fn splits_in(dir: &Path) -> Result<Vec<Split>> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let bounds = Bounds::new(dir, Reach::Anywhere)?;
    match Layout::of(dir, &bounds, &mut LeftOut::default())? {
        Layout::Splits(places) => Ok(places.splits()),
        Layout::Classes => Ok(Vec::new()),
    }
}

/// How class folders lie.
enum Layout {
    /// In folders of splits.
    Splits(SplitPlaces),
    /// In the folder itself.
    Classes,
}

impl Layout {
    /// A class may be called `train`: then it holds images, and has other classes beside it. A split holds
    /// class folders.
    fn of(dir: &Path, bounds: &Bounds, left_out: &mut LeftOut) -> Result<Self> {
        let top = Folder::top(dir)?;
        let mut here = LeftOut::default();
        let entries = top.entries(bounds, &mut here)?;
        let folders = |entry: &&Entry| entry.kind == Kind::Folder;
        let (splits, others): (Vec<_>, Vec<_>) = entries
            .iter()
            .filter(folders)
            .partition(|entry| split_of(&entry.name).is_some());
        let holds = |entry: &Entry| -> Result<Holds> {
            let below = top.below(&entry.name)?;
            let inside = below.entries(bounds, &mut LeftOut::default())?;
            Ok(Holds::of(&inside))
        };
        let mut has_classes = false;
        for entry in &splits {
            has_classes |= holds(entry)? == Holds::Folders;
        }
        if splits.is_empty() || (!has_classes && !others.is_empty()) {
            return Ok(Layout::Classes);
        }
        if let [split] = splits.as_slice() {
            for other in &others {
                if holds(other)? == Holds::Images {
                    let (split, other) = (&split.name, &other.name);
                    return Err(missing(
                        &dir.join(split),
                        &format!(
                            "a split or a class? Beside it, {other}/ holds images as a class does"
                        ),
                        &format!(
                            "if it is the split, name {split}/ itself as --source, with --split; if it is a class, move all class folders into a folder of their own, such as train/"
                        ),
                    ));
                }
            }
        }
        let mut places = SplitPlaces::default();
        for entry in &splits {
            if let Some(split) = split_of(&entry.name) {
                places.add(split, &entry.name, dir.join(&entry.name));
            }
        }
        let names = others.iter().map(|entry| format!("{}/", entry.name));
        here.no_split.extend(names);
        count_loose(&top, &entries, &mut here);
        *left_out = here;
        Ok(Layout::Splits(places))
    }

    /// The folder of a split, where splits have one and it is there.
    fn place(&self, dir: &Path, split: Split) -> Result<Option<&Path>> {
        match self {
            Layout::Splits(places) => places.one(dir, split),
            Layout::Classes => Ok(None),
        }
    }

    /// The folder that holds the classes of a split; `wanted` are asked for in all.
    fn root(&self, dir: &Path, split: Split, wanted: usize) -> Result<PathBuf> {
        if let Some(root) = self.place(dir, split)? {
            return Ok(root.to_owned());
        }
        // One split of a folder without split folders: the classes lie in it directly.
        if wanted == 1 && matches!(self, Layout::Classes) {
            return Ok(dir.to_owned());
        }
        let usual = match split {
            Split::Test => "test/ or val/".to_owned(),
            other => format!("{other}/"),
        };
        Err(missing(
            dir,
            &format!("there is no {usual} folder in it"),
            "class folders go into train/ and test/ (or val/); with --split train or --split test, or with --holdout, they may lie in the folder itself",
        ))
    }
}

/// What a folder holds: folders where there is any, else images where there is any.
#[derive(Debug, PartialEq, Eq)]
enum Holds {
    Folders,
    Images,
    Neither,
}

impl Holds {
    fn of(entries: &[Entry]) -> Self {
        let is_image = |entry: &Entry| is_named_image(extension(&entry.name).as_deref());
        if entries.iter().any(|entry| entry.kind == Kind::Folder) {
            Holds::Folders
        } else if entries.iter().any(is_image) {
            Holds::Images
        } else {
            Holds::Neither
        }
    }
}

fn names_of(root: &Path, bounds: &Bounds) -> Result<ClassNames> {
    let folders = Folder::top(root)?
        .entries(bounds, &mut LeftOut::default())?
        .into_iter()
        .filter(|entry| entry.kind == Kind::Folder)
        .map(|entry| entry.name)
        .collect::<Vec<_>>();
    if folders.is_empty() {
        let hint = "every class is a sub-folder that holds its images";
        return Err(missing(root, "there is no class folder in it", hint));
    }
    Ok(ClassNames::with_origin(
        folders,
        &root.display().to_string(),
    )?)
}

/// The images of a split while they are listed.
struct Listing<'a> {
    root: &'a Path,
    bounds: &'a Bounds,
    left_out: &'a mut LeftOut,
    items: Vec<Item>,
}

impl Listing<'_> {
    fn classes(&mut self, labels: &HashMap<&str, u32>) -> Result<()> {
        let top = Folder::top(self.root)?;
        let entries = top.entries(self.bounds, self.left_out)?;
        for entry in entries.iter().filter(|entry| entry.kind == Kind::Folder) {
            let Some(&label) = labels.get(entry.name.as_str()) else {
                return Err(missing(
                    &self.root.join(&entry.name),
                    "a class folder whose name is not among the class names",
                    "class names come from --classnames, or else from the folders in train/",
                ));
            };
            self.images(&top.below(&entry.name)?, &entry.name, label)?;
        }
        count_loose(&top, &entries, self.left_out);
        Ok(())
    }

    fn images(&mut self, folder: &Folder<'_>, relative: &str, label: u32) -> Result<()> {
        for entry in folder.entries(self.bounds, self.left_out)? {
            let path = format!("{relative}/{}", entry.name);
            let is_image = match entry.kind {
                Kind::Folder => {
                    self.images(&folder.below(&entry.name)?, &path, label)?;
                    continue;
                }
                // The build says what is wrong with it, where it may leave out bad images.
                Kind::Odd => true,
                Kind::File => is_image(&folder.path().join(&entry.name), &entry.name),
            };
            if is_image {
                self.items.push(Item {
                    path,
                    label,
                    content: Content::File,
                })
            } else {
                self.left_out.pass_over(&entry.name)
            }
        }
        Ok(())
    }
}

/// Whether a file is an image, by its name or by how it begins. One that cannot be read counts as one: then
/// the build says so.
fn is_image(path: &Path, name: &str) -> bool {
    let extension = extension(name);
    let extension = extension.as_deref();
    is_named_image(extension) || file_is_image(path, extension).unwrap_or(true)
}

/// Counts what lies where only folders should be.
fn count_loose(folder: &Folder<'_>, entries: &[Entry], left_out: &mut LeftOut) {
    for entry in entries {
        match entry.kind {
            Kind::Folder => {}
            Kind::Odd => left_out.pass_over_as("neither file nor folder"),
            Kind::File if is_image(&folder.path().join(&entry.name), &entry.name) => {
                left_out.pass_over_as("in no class folder");
            }
            Kind::File => left_out.pass_over(&entry.name),
        }
    }
}

fn missing(path: &Path, reason: &str, hint: &str) -> Error {
    Error::Source {
        path: path.to_owned(),
        reason: reason.to_owned(),
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(dir: &Path, splits: &[Split], names: Option<ClassNames>) -> Result<Source> {
        super::read(dir, splits, names, Reach::Below)
    }

    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn paths(list: &SplitList) -> Vec<(&str, u32)> {
        list.items
            .iter()
            .map(|item| (item.path.as_str(), item.label))
            .collect()
    }

    #[test]
    fn classes_and_files_are_sorted_bytewise() {
        let dir = tree(&[
            "train/b/2.jpg",
            "train/b/10.PNG",
            "train/B/x.jpeg",
            "train/b/notes.txt",
            "train/b/.hidden.jpg",
            "train/b/deep/1.webp",
            "val/b/1.jpg",
            "train/readme.md",
        ]);
        let source = read(dir.path(), &[Split::Train, Split::Test], None).unwrap();
        assert_eq!(source.class_names.as_slice(), ["B", "b"]);
        assert_eq!(
            paths(&source.splits[0]),
            [
                ("B/x.jpeg", 0),
                ("b/10.PNG", 1),
                ("b/2.jpg", 1),
                ("b/deep/1.webp", 1)
            ]
        );
        assert_eq!(paths(&source.splits[1]), [("b/1.jpg", 1)]);
    }

    #[test]
    fn one_split_may_lie_in_the_folder_itself() {
        let dir = tree(&["cat/1.jpg", "dog/1.jpg"]);
        let source = read(dir.path(), &[Split::Test], None).unwrap();
        assert_eq!(
            paths(&source.splits[0]),
            [("cat/1.jpg", 0), ("dog/1.jpg", 1)]
        );
        let err = read(dir.path(), &[Split::Train, Split::Test], None)
            .unwrap_err()
            .to_string();
        assert!(err.contains("there is no train/ folder"), "{err}");
    }

    #[test]
    fn a_class_that_training_does_not_know_is_an_error() {
        let dir = tree(&["train/cat/1.jpg", "test/cow/1.jpg"]);
        let err = read(dir.path(), &[Split::Test], None)
            .unwrap_err()
            .to_string();
        assert!(err.contains("test/cow: a class folder"), "{err}");
    }

    #[test]
    fn a_training_class_without_images_is_an_error() {
        let dir = tree(&["train/cat/1.jpg", "train/dog/notes.txt", "test/cat/1.jpg"]);
        let source = read(dir.path(), &[Split::Train, Split::Test], None).unwrap();
        let err = source.splits[0]
            .check_not_empty(dir.path(), &source.class_names)
            .unwrap_err()
            .to_string();
        assert!(err.contains("class 1 (dog) has no training image"), "{err}");
        source.splits[1]
            .check_not_empty(dir.path(), &source.class_names)
            .unwrap();
    }
}
