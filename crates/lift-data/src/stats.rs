//! What a class distribution looks like: counts, imbalance ratio, bands, Gini coefficient.
//!
//! It counts; it decodes nothing, and reads only manifests, folders and lists. Invariant: bands follow
//! the training counts wherever a training split is at hand.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::Result;
use crate::layout::shard_dirs;
use crate::manifest::Manifest;
use crate::source::{Source, SplitList, folder, list};
use crate::split::{Band, BandEdges, Split};

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
    /// Images of the largest class.
    pub largest: u64,
    /// Images of the smallest class.
    pub smallest: u64,
    /// Largest over smallest; `None` where a class has no image.
    pub imbalance_ratio: Option<f64>,
    /// Gini coefficient of the class counts: 0 balanced, towards 1 all in one class.
    pub gini: f64,
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
            largest,
            smallest,
            imbalance_ratio: (smallest > 0).then(|| largest as f64 / smallest as f64),
            gini: gini(counts),
            bands,
        }
    }
}

/// Describes what is at `path`: a shard folder, a folder with `train/` and `test/` shard folders, an
/// image folder, a list file, or a folder of lists. One entry a split, the training split first.
pub fn stats(path: &Path) -> Result<Vec<Stats>> {
    let mut splits = if path.is_file() {
        unnamed(list::read(path, &[Split::Train], None, None)?)
    } else {
        read_dir(path)?
    };
    splits.sort_by_key(|counted| counted.split);
    let training = splits
        .iter()
        .find(|counted| counted.split == Some(Split::Train))
        .map(|counted| counted.counts.clone());
    let describe = |counted: &Counted| {
        let same_classes = |training: &&Vec<u64>| training.len() == counted.counts.len();
        let training = training
            .as_ref()
            .filter(same_classes)
            .unwrap_or(&counted.counts);
        let edges = BandEdges::default();
        Stats::new(
            counted.split,
            &counted.path,
            &counted.counts,
            training,
            edges,
        )
    };
    Ok(splits.iter().map(describe).collect())
}

/// Gini coefficient of the counts: `2 sum(i x_i) / (n sum(x)) - (n + 1) / n`, x ascending, i from 1.
pub fn gini(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return 0.0;
    }
    let mut sorted = counts.to_vec();
    sorted.sort_unstable();
    let n = sorted.len() as f64;
    let weighted: f64 = (1_u64..)
        .zip(&sorted)
        .map(|(i, &x)| i as f64 * x as f64)
        .sum();
    2.0 * weighted / (n * total as f64) - (n + 1.0) / n
}

struct Counted {
    split: Option<Split>,
    path: PathBuf,
    counts: Vec<u64>,
}

fn read_dir(dir: &Path) -> Result<Vec<Counted>> {
    let shards: Vec<PathBuf> = shard_dirs(dir);
    if !shards.is_empty() {
        return shards
            .into_iter()
            .map(|path| {
                let manifest = Manifest::load(&path)?;
                Ok(Counted {
                    split: Some(manifest.split),
                    path,
                    counts: manifest.class_counts,
                })
            })
            .collect();
    }
    let lists = list::splits_in(dir);
    if !lists.is_empty() {
        return Ok(named(list::read(dir, &lists, None, None)?));
    }
    let splits = folder::splits_in(dir);
    if splits.is_empty() {
        return Ok(unnamed(folder::read(dir, &[Split::Train], None)?));
    }
    Ok(named(folder::read(dir, &splits, None)?))
}

fn named(source: Source) -> Vec<Counted> {
    let num_classes = source.class_names.len();
    let count = |list: SplitList| Counted {
        split: Some(list.split),
        counts: list.class_counts(num_classes),
        path: list.root,
    };
    source.splits.into_iter().map(count).collect()
}

/// A source that does not say which split it is.
fn unnamed(source: Source) -> Vec<Counted> {
    let mut splits = named(source);
    for counted in &mut splits {
        counted.split = None;
    }
    splits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gini_of_known_distributions() {
        assert_eq!(gini(&[5, 5, 5, 5]), 0.0);
        assert_eq!(gini(&[0, 0, 0, 8]), 0.75);
        // mean absolute difference over twice the mean: (|1-3| * 2 / 4) / (2 * 2)
        assert!((gini(&[1, 3]) - 0.25).abs() < 1e-12);
        assert_eq!(gini(&[0, 0]), 0.0);
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
