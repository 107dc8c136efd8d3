//! What single predictions add up to: calibration bins and the pairs of classes that are confused most.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::metrics::{CALIBRATION_BINS, Prediction, calibration_bin};

/// Pairs that a report lists.
pub const PAIRS: usize = 12;

/// The images whose confidence lies in one of the equal bins.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bin {
    /// Where it begins; it ends where the next one begins, and holds its end.
    pub from: f64,
    /// Images in it.
    pub images: u64,
    /// Their mean confidence; none without images.
    pub confidence: Option<f64>,
    /// The share of them that is right; none without images.
    pub accuracy: Option<f64>,
}

/// All bins in order, of equal width.
pub fn bins(judged: &[Prediction]) -> Vec<Bin> {
    let mut sums = [(0u64, 0.0, 0u64); CALIBRATION_BINS];
    for one in judged {
        let (images, confidence, right) = &mut sums[calibration_bin(one.confidence)];
        *images += 1;
        *confidence += f64::from(one.confidence);
        *right += u64::from(one.label == one.predicted);
    }
    let bin = |(number, (images, confidence, right)): (usize, (u64, f64, u64))| {
        let share = |sum: f64| (images > 0).then(|| sum / images as f64);
        Bin {
            from: number as f64 / CALIBRATION_BINS as f64,
            images,
            confidence: share(confidence),
            accuracy: share(right as f64),
        }
    };
    sums.into_iter().enumerate().map(bin).collect()
}

/// A class taken for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What the images are.
    pub label: u32,
    /// What they were taken for.
    pub predicted: u32,
    /// How many.
    pub images: u64,
}

/// Mistakes by falling number of images, then by labels.
pub fn mistakes(judged: &[Prediction]) -> Vec<Mistake> {
    let mut pairs: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for one in judged.iter().filter(|one| one.label != one.predicted) {
        *pairs.entry((one.label, one.predicted)).or_default() += 1;
    }
    let mistake = |((label, predicted), images)| Mistake {
        label,
        predicted,
        images,
    };
    let mut all: Vec<Mistake> = pairs.into_iter().map(mistake).collect();
    all.sort_by_key(|mistake| std::cmp::Reverse(mistake.images));
    all
}

/// The first rows, at most `limit`, of this class that were taken for that one.
pub fn rows(judged: &[Prediction], label: u32, predicted: u32, limit: usize) -> Vec<usize> {
    let all = judged.iter().enumerate();
    all.filter(|(_, one)| one.label == label && one.predicted == predicted)
        .map(|(row, _)| row)
        .take(limit)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(label: u32, predicted: u32, confidence: f32) -> Prediction {
        Prediction {
            label,
            predicted,
            confidence,
            rank: 0,
        }
    }

    #[test]
    fn bins_hold_all_images_and_their_gaps_make_the_calibration_error() {
        let judged = [
            one(0, 0, 0.64),
            one(0, 1, 0.64),
            one(1, 1, 0.96),
            one(1, 1, 1.0),
        ];
        let bins = bins(&judged);
        assert_eq!(bins.len(), 15);
        assert_eq!((bins[9].images, bins[9].accuracy), (2, Some(0.5)));
        assert_eq!((bins[14].images, bins[14].accuracy), (2, Some(1.0)));
        assert!((bins[14].confidence.unwrap() - 0.98).abs() < 1e-6);
        assert!((bins[14].from - 14.0 / 15.0).abs() < 1e-12);
        assert_eq!((bins[0].images, bins[0].confidence), (0, None));
        // |0.5 - 0.64| * 2/4 + |1 - 0.98| * 2/4
        let error: f64 = bins
            .iter()
            .filter_map(|bin| Some(bin.images as f64 * (bin.accuracy? - bin.confidence?).abs()))
            .sum::<f64>()
            / 4.0;
        assert!((error - 0.08).abs() < 1e-6, "{error}");
    }

    #[test]
    fn mistakes_are_ordered_by_images_then_labels() {
        let judged = [(0, 0), (2, 1), (1, 2), (0, 2), (1, 2), (0, 1)].map(|(a, b)| one(a, b, 0.5));
        let found: Vec<_> = mistakes(&judged)
            .iter()
            .map(|m| (m.label, m.predicted, m.images))
            .collect();
        assert_eq!(found, [(1, 2, 2), (0, 1, 1), (0, 2, 1), (2, 1, 1)]);
        assert_eq!(rows(&judged, 1, 2, 5), [2, 4]);
        assert_eq!(rows(&judged, 1, 2, 1), [2]);
    }
}
