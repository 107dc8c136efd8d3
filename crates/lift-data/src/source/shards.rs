//! Shards as a source: cut anew, split anew, filtered, encoded otherwise, merged.
//!
//! It reads manifests and small columns; images are read when they are built. Several folders become one data set
//! by their classes' names. Invariant: rows keep the folders' order, and an image keeps the path that it has.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polars::prelude::{Column, DataFrame};

use super::{Bounds, Content, Item, Source, SplitList};
use crate::choice::stacked;
use crate::error::{Error, Result};
use crate::table::from_batch;
use lift_shards::classes::ClassNames;
use lift_shards::layout::{require_shard_dirs, shard_dirs};
use lift_shards::manifest::Manifest;
use lift_shards::quarantine::{DAMAGED, listed};
use lift_shards::shard::ShardReader;
use lift_shards::split::Split;

/// The shards' own columns that conditions know.
pub(crate) const MEASURES: [&str; 3] = ["width", "height", "num_bytes"];

/// An image of a shard folder.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The folder.
    pub(crate) reader: Arc<ShardReader>,
    /// Which of its rows.
    pub(crate) row: u32,
    /// What is wrong with it, where that was kept.
    pub(crate) damage: Option<Arc<str>>,
}

impl Stored {
    /// Whether the folder holds pixels and no image files.
    pub(crate) fn is_pixels(&self) -> bool {
        !self.reader.manifest().encoding.is_file()
    }
}

/// The splits that the folders have.
pub fn splits_in(sources: &[PathBuf]) -> Result<Vec<Split>> {
    let mut splits = Vec::new();
    for manifest in manifests(sources)? {
        splits.push(manifest.split);
    }
    splits.sort();
    splits.dedup();
    Ok(splits)
}

/// The manifests of all splits of the folders.
///
/// # Errors
/// When one of them holds no shards.
pub fn manifests(sources: &[PathBuf]) -> Result<Vec<Manifest>> {
    let mut manifests = Vec::new();
    for source in sources {
        for dir in require_shard_dirs(source)? {
            manifests.push(Manifest::load(&dir)?);
        }
    }
    Ok(manifests)
}

/// Reads the splits of the folders. Class names are `class_names`, or those of the first folder and what the others
/// have besides.
pub fn read(
    sources: &[PathBuf],
    splits: &[Split],
    class_names: Option<ClassNames>,
) -> Result<Source> {
    let names = match class_names {
        Some(names) => names,
        None => joined_names(sources)?,
    };
    let mut lists: Vec<SplitList> = splits
        .iter()
        .map(|&split| SplitList {
            split,
            // A path is of its split: as with folders, `train/a.jpg` is not `test/a.jpg`.
            root: sources[0].join(split.as_str()),
            bounds: Bounds::default(),
            items: Vec::new(),
            columns: DataFrame::default(),
            imbalance_ratio: None,
        })
        .collect();
    for source in sources {
        for dir in shard_dirs(source)? {
            let manifest = Manifest::load(&dir)?;
            let Some(list) = lists.iter_mut().find(|list| list.split == manifest.split) else {
                continue;
            };
            let (items, columns) = read_folder(&dir, &names)?;
            let frames = [(&list.columns, list.items.len()), (&columns, items.len())];
            let stacked = stacked(&frames)?;
            list.columns = DataFrame::new(list.items.len() + items.len(), stacked)
                .expect("columns of one length");
            list.items.extend(items);
            if sources.len() == 1 {
                list.imbalance_ratio = manifest.imbalance_ratio;
                list.root = dir;
            }
        }
    }
    Ok(Source {
        class_names: names,
        splits: lists,
        left_out: super::LeftOut::default(),
        column_names: Vec::new(),
    })
}

fn joined_names(sources: &[PathBuf]) -> Result<ClassNames> {
    let mut names: Vec<String> = Vec::new();
    for manifest in manifests(sources)? {
        let theirs = manifest.class_names.as_slice();
        if names.is_empty() {
            names = theirs.to_vec();
        }
        if names.as_slice() == theirs {
            continue;
        }
        // Two of ImageNet's classes share a name: only equal lists tell such apart.
        ClassNames::with_origin(names.clone(), "the shards")?.require_no_twins("the shards")?;
        manifest.class_names.require_no_twins("the shards")?;
        for name in theirs {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    Ok(ClassNames::with_origin(names, "the shards")?)
}

fn read_folder(dir: &Path, names: &ClassNames) -> Result<(Vec<Item>, DataFrame)> {
    let reader = Arc::new(ShardReader::open(dir)?);
    let manifest = reader.manifest();
    let same = &manifest.class_names == names;
    let label_of = |(label, name): (u32, &String)| {
        let found = names.as_slice().iter().position(|known| known == name);
        match found {
            Some(found) => Ok(found as u32),
            None if manifest.class_counts[label as usize] == 0 => Ok(0),
            None => Err(Error::Source {
                path: dir.to_owned(),
                reason: format!(
                    "its class `{name}` is not among the {} class names",
                    names.len()
                ),
                hint: "name all classes in --classnames, or leave images out with --where"
                    .to_owned(),
            }),
        }
    };
    let twins = [names, &manifest.class_names]
        .into_iter()
        .find_map(|names| names.repeated());
    if let (false, Some(name)) = (same, twins) {
        return Err(Error::Source {
            path: dir.to_owned(),
            reason: format!(
                "two classes are called `{name}`, and class lists that differ are joined by names"
            ),
            hint: "give the same class list, or distinct names".to_owned(),
        });
    }
    let labels: Vec<u32> = if same {
        (0..names.len() as u32).collect()
    } else {
        (0..)
            .zip(manifest.class_names.as_slice())
            .map(label_of)
            .collect::<Result<_>>()?
    };
    let damaged: HashMap<u64, Arc<str>> = listed(dir, manifest, &DAMAGED)
        .map_err(|reason| lift_shards::Error::Listing {
            path: dir.join(DAMAGED.file),
            reason,
        })?
        .into_iter()
        .map(|image| (image.id, image.reason.into()))
        .collect();
    let item = |row: usize| {
        let stored = reader.row(row);
        Item {
            path: reader.path(row).to_owned(),
            label: labels[stored.label as usize],
            content: Content::Stored(Stored {
                reader: Arc::clone(&reader),
                row: row as u32,
                damage: damaged.get(&stored.id).cloned(),
            }),
        }
    };
    let items = (0..reader.len()).map(item).collect();
    let measure = |name: &str, of: fn(&lift_shards::shard::Row) -> u32| {
        let values: Vec<i64> = reader.rows().iter().map(|row| of(row).into()).collect();
        Column::new(name.into(), values)
    };
    let mut columns = vec![
        measure(MEASURES[0], |row| row.width),
        measure(MEASURES[1], |row| row.height),
        measure(MEASURES[2], |row| row.num_bytes),
    ];
    let kept = from_batch(dir, &reader.kept_columns()?)?;
    columns.extend_from_slice(kept.columns());
    let columns = DataFrame::new(reader.len(), columns);
    Ok((
        items,
        columns.expect("kept columns have other names than the shards' own"),
    ))
}
