//! Where images come from: class folders, list files and tables, Hugging Face Parquet, tar shards, CIFAR,
//! named datasets.
//!
//! A source is read into a list of images with labels; nothing is decoded here, and of files whose names do
//! not say what they are the beginning is read. Invariant: the order of the list depends on the source alone (names are sorted bytewise),
//! and every label is below the number of classes.

pub mod cifar;
mod container;
mod entries;
pub mod folder;
pub mod hf;
mod image_file;
mod labels;
mod left_out;
pub mod list;
mod list_files;
mod listed;
pub mod named;
pub mod naming;
pub mod official;
pub(crate) mod other_forms;
mod split_names;
pub mod table;
pub mod tree;
pub mod webdataset;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use lift_shards::classes::ClassNames;
use lift_shards::classes::labels_begin_at_one;
use lift_shards::split::Split;

pub use hf::RowStore;
pub use image_file::{Bounds, MAX_BYTES, Reach};
pub(crate) use image_file::{ImageFiles, read_slice};
pub use left_out::LeftOut;

/// One image of a source.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its path relative to [`SplitList::root`], or what identifies it there.
    pub path: String,
    /// Its class.
    pub label: u32,
    /// Where its bytes are.
    pub content: Content,
}

/// Where an image's bytes are.
#[derive(Debug, Clone)]
pub enum Content {
    /// In the file at `root/path`.
    File,
    /// In a file elsewhere.
    At(PathBuf),
    /// Here.
    Memory(Vec<u8>),
    /// A slice of a larger file.
    Slice {
        /// That file.
        file: Arc<Path>,
        /// Where the image starts in it.
        offset: u64,
        /// Its length.
        num_bytes: u64,
    },
    /// A row of Parquet files, read by row groups.
    Row {
        /// The files.
        store: Arc<RowStore>,
        /// Which of them.
        file: u32,
        /// Which row of it, from 0.
        row: u64,
    },
}

/// The images of one split, in the order in which they become rows.
#[derive(Debug, Clone)]
pub struct SplitList {
    /// Which split.
    pub split: Split,
    /// What the images' paths are relative to.
    pub root: PathBuf,
    /// Where image files may lie.
    pub bounds: Bounds,
    /// The images.
    pub items: Vec<Item>,
    /// The imbalance ratio that the images were chosen for.
    pub imbalance_ratio: Option<f64>,
}

impl SplitList {
    /// Images of each class, in label order.
    pub fn class_counts(&self, num_classes: usize) -> Vec<u64> {
        let mut counts = vec![0; num_classes];
        for item in &self.items {
            counts[item.label as usize] += 1;
        }
        counts
    }

    /// Fails on a split without images and on a training class without images. The split's folder is named, or
    /// `source`, the list that it comes from.
    pub fn check_not_empty(&self, source: &Path, class_names: &ClassNames) -> Result<()> {
        let path = if self.root.starts_with(source) {
            &self.root
        } else {
            source
        };
        if self.items.is_empty() {
            return Err(Error::Source {
                path: path.to_owned(),
                reason: format!("the {} split has no image", self.split),
                hint: "check that this is the right folder or list".to_owned(),
            });
        }
        let counts = self.class_counts(class_names.len());
        match counts.iter().position(|&count| count == 0) {
            Some(class) if self.split == Split::Train => Err(Error::EmptyClass {
                path: path.to_owned(),
                label: class as u32,
                name: class_names.as_slice()[class].clone(),
                from_one: labels_begin_at_one(&counts),
            }),
            _ => Ok(()),
        }
    }
}

/// A source as it was read: its classes and the splits that were asked for.
#[derive(Debug, Clone)]
pub struct Source {
    /// Class names in label order.
    pub class_names: ClassNames,
    /// The splits, in the order asked for.
    pub splits: Vec<SplitList>,
    /// What else the source has.
    pub left_out: LeftOut,
}

/// The file beside lists and tar shards that names the classes, one a line in label order.
pub const CLASS_NAMES_FILE: &str = "classnames.txt";

/// Which columns (or fields) of a table hold what; `None`: the usual names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    /// The column with an image's path.
    pub path: Option<String>,
    /// The column with an image's bytes.
    pub image: Option<String>,
    /// The column with its class.
    pub label: Option<String>,
}

/// Why a source that is neither file nor folder cannot be read.
fn absent(source: &Path) -> &'static str {
    if source.exists() {
        "neither a file nor a folder"
    } else {
        "no such file or folder"
    }
}

/// `given`, or else the names in `dir/classnames.txt` where that file is there.
fn class_names_beside(dir: &Path, given: Option<ClassNames>) -> Result<Option<ClassNames>> {
    let file = dir.join(CLASS_NAMES_FILE);
    if given.is_none() && file.is_file() {
        return Ok(Some(ClassNames::from_file(&file)?));
    }
    Ok(given)
}
