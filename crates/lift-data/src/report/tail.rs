//! How long the tail of a split is: what `stats` counts, and what follows from it.

use serde::Serialize;

use super::fit::{Fits, fit};
use crate::stats::{self, Counted, Stats};
use lift_shards::split::BandEdges;

/// A split's class counts, described.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SplitTail {
    /// Images, classes, bands, imbalance ratio, Gini coefficient.
    #[serde(flatten)]
    pub stats: Stats,
    /// Entropy of the class shares, in bits; at most the binary logarithm of the classes. This and what follows from the
    /// shares is `None` without an image.
    pub entropy_bits: Option<f64>,
    /// 2 to the power of the entropy: as many equally large classes would have the same entropy.
    pub effective_classes: Option<f64>,
    /// A tenth of the classes, rounded up.
    pub top_tenth_classes: usize,
    /// The share of the images that the largest tenth of the classes has.
    pub top_tenth_share: Option<f64>,
    /// The class that is always guessed: the largest of the training split.
    pub majority_label: u32,
    /// The accuracy of that guess on this split.
    pub majority_accuracy: Option<f64>,
    /// The labels of the classes without an image here.
    pub lacking: Vec<u32>,
    /// The profiles that come closest; `None` for fewer than 3 classes or equal ones.
    pub fits: Option<Fits>,
}

/// Describes splits; the training split, or else the first, decides bands and the majority.
pub(crate) fn of_all(splits: &[Counted], edges: BandEdges) -> Vec<SplitTail> {
    let Some(Counted {
        counts: training, ..
    }) = splits.first()
    else {
        return Vec::new();
    };
    // The first of equally large classes.
    let majority = (0..training.len())
        .max_by_key(|&label| (training[label], std::cmp::Reverse(label)))
        .unwrap_or(0);
    let describe = |(stats, counted): (Stats, &Counted)| of(stats, &counted.counts, majority);
    let described = stats::describe(splits, edges);
    described.into_iter().zip(splits).map(describe).collect()
}

fn of(stats: Stats, counts: &[u64], majority: usize) -> SplitTail {
    let share = |count: u64| (stats.images > 0).then(|| count as f64 / stats.images as f64);
    let mut sorted = counts.to_vec();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    let shares = sorted.iter().filter(|&&count| count > 0);
    let entropy: f64 = shares
        .filter_map(|&count| share(count))
        .map(|share| -share * share.log2())
        .sum();
    let entropy_bits = (stats.images > 0).then(|| entropy.max(0.0));
    let top = counts.len().div_ceil(10);
    let in_top: u64 = sorted[..top].iter().sum();
    let guessed = counts.get(majority).copied().unwrap_or(0);
    SplitTail {
        entropy_bits,
        effective_classes: entropy_bits.map(f64::exp2),
        top_tenth_classes: top,
        top_tenth_share: share(in_top),
        majority_label: majority as u32,
        majority_accuracy: share(guessed),
        lacking: (0_u32..)
            .zip(counts)
            .filter(|&(_, &count)| count == 0)
            .map(|(label, _)| label)
            .collect(),
        fits: fit(&sorted),
        stats,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use lift_shards::split::Split;

    fn tails(train: &[u64], test: &[u64]) -> Vec<SplitTail> {
        let splits = [(Split::Train, train), (Split::Test, test)].map(|(split, counts)| Counted {
            split: Some(split),
            path: PathBuf::new(),
            counts: counts.to_vec(),
        });
        of_all(&splits, BandEdges::default())
    }

    #[test]
    fn four_equal_classes_are_four_effective_ones() {
        let tail = &tails(&[5; 4], &[1; 4])[0];
        assert!((tail.entropy_bits.unwrap() - 2.0).abs() < 1e-12);
        assert!((tail.effective_classes.unwrap() - 4.0).abs() < 1e-12);
        assert_eq!(
            (tail.top_tenth_classes, tail.top_tenth_share),
            (1, Some(0.25))
        );
        assert_eq!(tail.fits, None);
    }

    #[test]
    fn the_majority_is_the_training_splits() {
        let tails = tails(&[1, 2, 5, 0], &[3, 1, 1, 0]);
        assert_eq!(
            tails.iter().map(|t| t.majority_label).collect::<Vec<_>>(),
            [2, 2]
        );
        assert_eq!(tails[0].majority_accuracy, Some(5.0 / 8.0));
        assert_eq!(tails[1].majority_accuracy, Some(0.2));
        assert_eq!(tails[0].lacking, [3]);
        // 1/8, 2/8 and 5/8: 3/8 + 2/4 + 5/8 log2(8/5) bits.
        let entropy = 0.375 + 0.5 + 0.625 * (1.6_f64).log2();
        assert!((tails[0].entropy_bits.unwrap() - entropy).abs() < 1e-12);
    }

    #[test]
    fn without_an_image_there_is_no_share() {
        let tail = &tails(&[1, 2], &[0, 0])[1];
        assert_eq!((tail.entropy_bits, tail.effective_classes), (None, None));
        assert_eq!((tail.top_tenth_share, tail.majority_accuracy), (None, None));
        assert_eq!((tail.stats.gini, tail.stats.imbalance_ratio), (None, None));
    }
}
