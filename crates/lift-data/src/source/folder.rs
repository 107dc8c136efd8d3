//! Image folders: `DIR/train/<class>/..` with `DIR/val` and `DIR/test`, or plain `DIR/<class>/..`.
//!
//! Where there is no `DIR/test`, `DIR/val` is the test split.
//!
//! Files are recognised by their extension; hidden files and other extensions are passed over.
//! Invariant: classes are the sub-folders' names and images the files below them, both sorted
//! bytewise, so that the list does not depend on the file system.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Content, Item, Source, SplitList};
use crate::classes::ClassNames;
use crate::error::{Error, Result};
use crate::split::Split;

/// What image files are called.
pub(super) const EXTENSIONS: [&str; 8] =
    ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"];

/// Lists `splits` of the image folder `dir`.
///
/// The classes are `class_names`, or else the sub-folders of the training split (of the split itself
/// where there is no training split). A class folder that is not among them is an error.
pub fn read(dir: &Path, splits: &[Split], class_names: Option<ClassNames>) -> Result<Source> {
    if !dir.is_dir() {
        return Err(missing(
            dir,
            "no such folder",
            "name the folder that holds the images",
        ));
    }
    let roots: Vec<(Split, PathBuf)> = splits
        .iter()
        .map(|&split| Ok((split, split_root(dir, split, splits.len())?)))
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
            let train = dir.join("train");
            let named_by = if train.is_dir() { &train } else { &roots[0].1 };
            names_of(named_by)?
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
            let items = list_items(&root, &labels)?;
            Ok(SplitList {
                split,
                root,
                items,
                imbalance_ratio: None,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Source {
        class_names,
        splits,
    })
}

/// Whether `dir` has a folder for some split.
fn has_split_folders(dir: &Path) -> bool {
    ["train", "test", "val"]
        .iter()
        .any(|name| dir.join(name).is_dir())
}

/// The splits for which `dir` has a folder.
pub fn splits_in(dir: &Path) -> Vec<Split> {
    let there = |split: &Split| match split {
        Split::Train => dir.join("train").is_dir(),
        Split::Val => dir.join("val").is_dir() && dir.join("test").is_dir(),
        Split::Test => dir.join("test").is_dir() || dir.join("val").is_dir(),
    };
    Split::ALL.into_iter().filter(there).collect()
}

fn split_root(dir: &Path, split: Split, wanted: usize) -> Result<PathBuf> {
    let names: &[&str] = match split {
        Split::Train => &["train"],
        Split::Val => &["val"],
        Split::Test => &["test", "val"],
    };
    if let Some(root) = names
        .iter()
        .map(|name| dir.join(name))
        .find(|root| root.is_dir())
    {
        return Ok(root);
    }
    // One split of a folder without split folders: the classes lie in it directly.
    if wanted == 1 && !has_split_folders(dir) {
        return Ok(dir.to_owned());
    }
    let reason = format!("there is no {} folder in it", names.join("/ or ") + "/");
    Err(missing(
        dir,
        &reason,
        "class folders go into train/ and test/ (or val/); with --split train or --split test, or with --holdout, they may lie in the folder itself",
    ))
}

fn names_of(root: &Path) -> Result<ClassNames> {
    let folders = sorted_entries(root)?
        .into_iter()
        .filter(|entry| entry.is_dir)
        .map(|entry| entry.name)
        .collect::<Vec<_>>();
    if folders.is_empty() {
        let hint = "every class is a sub-folder that holds its images";
        return Err(missing(root, "there is no class folder in it", hint));
    }
    ClassNames::with_origin(folders, &root.display().to_string())
}

fn list_items(root: &Path, labels: &HashMap<&str, u32>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for entry in sorted_entries(root)?
        .into_iter()
        .filter(|entry| entry.is_dir)
    {
        let Some(&label) = labels.get(entry.name.as_str()) else {
            return Err(missing(
                &root.join(&entry.name),
                "a class folder whose name is not among the class names",
                "class names come from --classnames, or else from the folders in train/",
            ));
        };
        append_images(root, &entry.name, label, &mut items)?;
    }
    Ok(items)
}

fn append_images(root: &Path, relative: &str, label: u32, items: &mut Vec<Item>) -> Result<()> {
    for entry in sorted_entries(&root.join(relative))? {
        let path = format!("{relative}/{}", entry.name);
        if entry.is_dir {
            append_images(root, &path, label, items)?;
        } else if is_image(&entry.name) {
            items.push(Item {
                path,
                label,
                content: Content::File,
            });
        }
    }
    Ok(())
}

fn is_image(name: &str) -> bool {
    let extension = Path::new(name)
        .extension()
        .and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| {
        EXTENSIONS
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    })
}

struct Entry {
    name: String,
    is_dir: bool,
}

/// The folder's entries without the hidden ones, sorted bytewise by name.
fn sorted_entries(dir: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(Error::read(dir))? {
        let entry = entry.map_err(Error::read(dir))?;
        let path = entry.path();
        let name = entry.file_name().into_string().map_err(|_| {
            missing(
                &path,
                "its name is not UTF-8",
                "rename it: paths are stored as UTF-8 text",
            )
        })?;
        if name.starts_with('.') {
            continue;
        }
        // The directory knows what is in it, which spares a call for each of a million images; links are
        // followed, since people link their image folders together.
        let kind = entry.file_type().map_err(Error::read(&path))?;
        let is_dir = match kind.is_symlink() {
            true => fs::metadata(&path).map_err(Error::read(&path))?.is_dir(),
            false => kind.is_dir(),
        };
        entries.push(Entry { name, is_dir });
    }
    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
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
    use super::*;

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
            .check_not_empty(&source.class_names)
            .unwrap_err()
            .to_string();
        assert!(err.contains("class 1 (dog) has no training image"), "{err}");
        source.splits[1]
            .check_not_empty(&source.class_names)
            .unwrap();
    }
}
