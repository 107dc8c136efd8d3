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
pub mod shards;
mod split_names;
pub mod table;
pub mod tree;
pub mod webdataset;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::{Column, DataFrame};

use crate::error::{Error, Result};
use lift_shards::classes::ClassNames;
use lift_shards::classes::labels_begin_at_one;
use lift_shards::shard::free_name;
use lift_shards::split::Split;

pub use hf::RowStore;
pub use image_file::{Bounds, MAX_BYTES, Reach};
pub(crate) use image_file::{ImageFiles, read_slice};
pub use left_out::LeftOut;
pub(crate) use listed::plain_path;
pub(crate) use split_names::split_of;

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
    /// A row of shards.
    Stored(shards::Stored),
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
    /// What a table says of them besides, a row an image in their order; no column where nothing does.
    pub columns: DataFrame,
    /// The imbalance ratio that the images were chosen for.
    pub imbalance_ratio: Option<f64>,
}

impl SplitList {
    /// Keeps the images at these places, which ascend.
    pub fn keep(&mut self, places: &[u32]) {
        let (mut places_left, mut place) = (places.iter().peekable(), 0);
        self.items.retain(|_| {
            place += 1;
            places_left.next_if(|kept| **kept == place - 1).is_some()
        });
        self.columns = crate::table::take(&self.columns, places);
    }

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
    /// The columns that its tables have, whether they were asked for or not.
    pub column_names: Vec<String>,
}

impl Source {
    /// Takes classes of which no split has an image out of the class names, and says which.
    ///
    /// # Errors
    /// When the names that are left cannot be class names.
    pub(crate) fn drop_empty_classes(&mut self) -> Result<Vec<String>> {
        let mut counts = vec![0; self.class_names.len()];
        for list in &self.splits {
            for (all, count) in counts
                .iter_mut()
                .zip(list.class_counts(self.class_names.len()))
            {
                *all += count;
            }
        }
        let (mut labels, mut kept, mut dropped) = (Vec::new(), Vec::new(), Vec::new());
        for (name, count) in self.class_names.as_slice().iter().zip(counts) {
            labels.push(kept.len() as u32);
            let names = if count > 0 { &mut kept } else { &mut dropped };
            names.push(name.clone());
        }
        if dropped.is_empty() || kept.is_empty() {
            return Ok(Vec::new());
        }
        for item in self.splits.iter_mut().flat_map(|list| &mut list.items) {
            item.label = labels[item.label as usize];
        }
        self.class_names = ClassNames::with_origin(kept, "the classes that are left")?;
        Ok(dropped)
    }
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
    /// The column of a single table that says which split a row is of.
    pub split: Option<String>,
    /// Those that are wanted besides.
    pub others: Others,
    /// Columns of text files whose values are names: `1.10` is not `1.1`.
    pub as_written: Vec<String>,
}

/// The columns of a table that are wanted besides those of the images and labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Others {
    /// All.
    All,
    /// Those whose names stand in one of these texts: names, and expressions that may name them.
    NamedIn(Vec<String>),
}

impl Default for Others {
    fn default() -> Self {
        Self::NamedIn(Vec::new())
    }
}

impl Others {
    /// Whether a column of this name is wanted.
    pub fn want(&self, name: &str) -> bool {
        match self {
            Others::All => true,
            Others::NamedIn(texts) => texts.iter().any(|text| text.contains(name)),
        }
    }
}

impl Columns {
    /// The names of a table's columns of paths and labels.
    fn path_and_label(&self) -> [&str; 2] {
        [
            self.path.as_deref().unwrap_or("path"),
            self.label.as_deref().unwrap_or("label"),
        ]
    }
}

/// The columns that every list of images has.
pub const OWN_COLUMNS: [&str; 4] = ["path", "label", "class", "split"];

/// Columns under names that neither `taken` nor one another has.
pub(crate) fn renamed(columns: impl IntoIterator<Item = Column>, taken: &[&str]) -> Vec<Column> {
    let mut out: Vec<Column> = Vec::new();
    for column in columns {
        let is_taken =
            |name: &str| taken.contains(&name) || out.iter().any(|known| known.name() == name);
        let name = free_name(column.name(), is_taken);
        out.push(column.with_name(name.into()));
    }
    out
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
