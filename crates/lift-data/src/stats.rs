//! What a class distribution looks like: counts, imbalance ratio, bands, Gini coefficient.
//!
//! It counts; it decodes nothing, and reads only manifests, folders and lists. Invariant: bands follow
//! the training counts wherever a training split is at hand.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Result;
use crate::source::{
    Columns, LeftOut, Reach, Source, SplitList, folder, hf, list, other_forms, table, webdataset,
};
use lift_shards::classes::ClassNames;
use lift_shards::layout::{require_no_shards, shard_dirs};
use lift_shards::manifest::Manifest;
use lift_shards::split::{Band, BandEdges, Split};

/// The distribution of one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stats {
    /// Which split; `None` for a folder or list that does not say.
    pub split: Option<Split>,
    /// Where it was read.
    pub path: PathBuf,
    /// Images in all.
    pub images: u64,
    /// Classes, those without images too.
    pub classes: usize,
    /// Classes without images.
    pub empty_classes: usize,
    /// Images of the largest class.
    pub largest: u64,
    /// Images of the smallest class.
    pub smallest: u64,
    /// Largest over smallest; `None` where a class has no image.
    pub imbalance_ratio: Option<f64>,
    /// Gini coefficient of the class counts: 0 balanced, towards 1 all in one class; `None` without an image.
    pub gini: Option<f64>,
    /// Many, medium and few, in this order.
    pub bands: [BandStats; 3],
}

/// The classes of one band.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BandStats {
    /// Which band.
    pub band: Band,
    /// Classes in it.
    pub classes: usize,
    /// Their images in this split.
    pub images: u64,
}

impl Stats {
    /// Describes the class counts of one split; `training_counts` decide the bands.
    pub fn new(
        split: Option<Split>,
        path: &Path,
        counts: &[u64],
        training_counts: &[u64],
        edges: BandEdges,
    ) -> Self {
        let largest = counts.iter().copied().max().unwrap_or(0);
        let smallest = counts.iter().copied().min().unwrap_or(0);
        let bands = Band::ALL.map(|band| {
            let of_band = || {
                let both = counts.iter().zip(training_counts);
                both.filter(|&(_, &training)| edges.band(training) == band)
                    .map(|(&count, _)| count)
            };
            BandStats {
                band,
                classes: of_band().count(),
                images: of_band().sum(),
            }
        });
        Self {
            split,
            path: path.to_owned(),
            images: counts.iter().sum(),
            classes: counts.len(),
            empty_classes: counts.iter().filter(|&&count| count == 0).count(),
            largest,
            smallest,
            imbalance_ratio: (smallest > 0).then(|| largest as f64 / smallest as f64),
            gini: gini(counts),
            bands,
        }
    }
}

/// What is at a path: its splits, and the edges that its bands were counted by.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Described {
    /// Where the bands end.
    pub band_edges: BandEdges,
    /// What else a source has; not there where that is nothing.
    #[serde(skip_serializing_if = "LeftOut::is_empty")]
    pub left_out: LeftOut,
    /// One entry a split, the training split first.
    pub splits: Vec<Stats>,
    /// The classes in label order; empty where the splits have other ones.
    pub classes: Vec<ClassRow>,
}

/// A class and its images in each split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassRow {
    /// Its label.
    pub label: u32,
    /// Its name.
    pub name: String,
    /// Its band, by its training images (by the first split's where there is no training split).
    pub band: Band,
    /// Its images in the splits, in their order.
    pub images: Vec<u64>,
}

/// The classes of splits.
pub(crate) fn class_rows(
    names: &ClassNames,
    splits: &[Counted],
    edges: BandEdges,
) -> Vec<ClassRow> {
    let deciding = splits
        .iter()
        .find(|counted| counted.split == Some(Split::Train))
        .or(splits.first());
    let row = |(label, name): (usize, &String)| ClassRow {
        label: label as u32,
        name: name.clone(),
        band: edges.band(deciding.map_or(0, |counted| counted.counts[label])),
        images: splits.iter().map(|counted| counted.counts[label]).collect(),
    };
    names.as_slice().iter().enumerate().map(row).collect()
}

/// Describes what is at `path`: a shard folder, a folder with `train/` and other shard folders, an
/// image folder, a list, table, Hugging Face Parquet file or tar shard, or a folder of lists, tables, Hugging Face Parquet files or tar shards.
///
/// Bands end at `edges`, or else where the manifest says, or at the usual edges.
pub fn stats(path: &Path, edges: Option<BandEdges>, columns: &Columns) -> Result<Described> {
    let mut left_out = LeftOut::default();
    let (mut splits, names, stored) = match shard_dirs(path)? {
        shards if !shards.is_empty() => read_manifests(shards)?,
        _ => {
            let mut listed = read_source(path, columns)?;
            left_out = std::mem::take(&mut listed.source.left_out);
            let names = listed.source.class_names.clone();
            (counted(listed), Some(names), None)
        }
    };
    splits.sort_by_key(|counted| counted.split);
    let band_edges = edges.or(stored).unwrap_or_default();
    let classes = names.map(|names| class_rows(&names, &splits, band_edges));
    Ok(Described {
        band_edges,
        classes: classes.unwrap_or_default(),
        splits: describe(&splits, band_edges),
        left_out,
    })
}

/// The class counts of one split.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    /// Its name, where it has one.
    pub(crate) split: Option<Split>,
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// In label order.
    pub(crate) counts: Vec<u64>,
}

/// Describes splits; the training split's counts decide the bands where it is among them.
pub(crate) fn describe(splits: &[Counted], edges: BandEdges) -> Vec<Stats> {
    let training = splits
        .iter()
        .find(|counted| counted.split == Some(Split::Train))
        .map(|counted| &counted.counts);
    let one = |counted: &Counted| {
        let Counted {
            split,
            path,
            counts,
        } = counted;
        let same_classes = |training: &&Vec<u64>| training.len() == counts.len();
        let training = training.filter(same_classes).unwrap_or(counts);
        Stats::new(*split, path, counts, training, edges)
    };
    splits.iter().map(one).collect()
}

/// Gini coefficient of the counts: `2 sum(i x_i) / (n sum(x)) - (n + 1) / n`, x ascending, i from 1. Without an image
/// there is none.
pub fn gini(counts: &[u64]) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let n = sorted.len() as f64;
    let weighted: f64 = (1_u64..)
        .zip(&sorted)
        .map(|(i, &x)| i as f64 * x as f64)
        .sum();
    Some(2.0 * weighted / (n * total as f64) - (n + 1.0) / n)
}

/// Splits, their class names where they share them, and the edges that their manifests name.
type Manifests = (Vec<Counted>, Option<ClassNames>, Option<BandEdges>);

fn read_manifests(shards: Vec<PathBuf>) -> Result<Manifests> {
    let mut edges = None;
    let mut all_names: Vec<ClassNames> = Vec::new();
    let mut splits = Vec::new();
    // The training split comes first, and its edges hold for all.
    for path in shards {
        let manifest = Manifest::load(&path)?;
        edges.get_or_insert(manifest.bands);
        if !all_names.contains(&manifest.class_names) {
            all_names.push(manifest.class_names.clone());
        }
        splits.push(Counted {
            split: Some(manifest.split),
            path,
            counts: manifest.class_counts,
        });
    }
    let names = (all_names.len() == 1).then(|| all_names.remove(0));
    Ok((splits, names, edges))
}

/// What is listed at a path that is no shard folder.
pub(crate) struct Listed {
    /// Its classes and images.
    pub(crate) source: Source,
    /// Whether it says which splits its images are; otherwise they count as one, called train.
    pub(crate) names_splits: bool,
}

/// Reads lists, tables, folders, Parquet files or tars: paths and labels, no image.
pub(crate) fn read_source(path: &Path, columns: &Columns) -> Result<Listed> {
    require_no_shards(path)?;
    other_forms::refuse(path)?;
    let one = &[Split::Train];
    let (source, names_splits) = if path.is_file() {
        let in_column = if table::is_table(path)? && !hf::holds_images(path, columns) {
            table::splits_in(path, columns)?
        } else {
            Vec::new()
        };
        if !in_column.is_empty() {
            let source = table::read(path, &in_column, None, None, columns, COUNTED)?;
            return Ok(Listed {
                source,
                names_splits: true,
            });
        }
        let source = if hf::holds_images(path, columns) {
            hf::read(path, one, None, columns, None, COUNTED)?
        } else if table::is_table(path)? {
            table::read(path, one, None, None, columns, COUNTED)?
        } else if path.extension().is_some_and(|extension| extension == "tar") {
            webdataset::read(path, one, None, columns, None)?
        } else {
            list::read(path, one, None, None, COUNTED)?
        };
        (source, false)
    } else {
        read_dir(path, columns)?
    };
    Ok(Listed {
        source,
        names_splits,
    })
}

/// Images are counted and not opened, so they may lie anywhere.
const COUNTED: Reach = Reach::Anywhere;

fn read_dir(dir: &Path, columns: &Columns) -> Result<(Source, bool)> {
    let lists = list::splits_in(dir)?;
    if !lists.is_empty() {
        return Ok((list::read(dir, &lists, None, None, COUNTED)?, true));
    }
    let tables = table::splits_in(dir, columns)?;
    if !tables.is_empty() {
        let source = table::read(dir, &tables, None, None, columns, COUNTED)?;
        return Ok((source, true));
    }
    if dir.is_dir() {
        let parquet = hf::splits_in(dir, None)?;
        if !parquet.is_empty() {
            let source = hf::read(dir, &parquet, None, columns, None, COUNTED)?;
            return Ok((source, true));
        }
        let tars = webdataset::splits_in(dir, None)?;
        if !tars.is_empty() {
            return Ok((webdataset::read(dir, &tars, None, columns, None)?, true));
        }
    }
    let splits = folder::splits_in(dir)?;
    if splits.is_empty() {
        return Ok((folder::read(dir, &[Split::Train], None, COUNTED)?, false));
    }
    Ok((folder::read(dir, &splits, None, COUNTED)?, true))
}

/// The class counts of what is listed.
fn counted(listed: Listed) -> Vec<Counted> {
    let num_classes = listed.source.class_names.len();
    let count = |list: SplitList| {
        let counts = list.class_counts(num_classes);
        Counted {
            split: listed.names_splits.then_some(list.split),
            path: list.root,
            counts,
        }
    };
    listed.source.splits.into_iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gini_of_known_distributions() {
        assert_eq!(gini(&[5, 5, 5, 5]), Some(0.0));
        assert_eq!(gini(&[0, 0, 0, 8]), Some(0.75));
        // mean absolute difference over twice the mean: (|1-3| * 2 / 4) / (2 * 2)
        assert!((gini(&[1, 3]).unwrap() - 0.25).abs() < 1e-12);
        assert_eq!(gini(&[0, 0]), None);
    }

    #[test]
    fn bands_follow_the_training_counts() {
        let edges = BandEdges::default();
        let stats = Stats::new(
            Some(Split::Test),
            Path::new("x"),
            &[10, 20, 30],
            &[500, 50, 5],
            edges,
        );
        assert_eq!(stats.bands.map(|band| band.images), [10, 20, 30]);
        assert_eq!(
            (stats.largest, stats.smallest, stats.imbalance_ratio),
            (30, 10, Some(3.0))
        );
        let stats = Stats::new(None, Path::new("x"), &[0, 4], &[0, 4], edges);
        assert_eq!(stats.imbalance_ratio, None);
        assert_eq!(stats.bands.map(|band| band.classes), [0, 0, 2]);
    }
}
