//! Accuracy from predictions: overall, by class, and by band of training frequency. No tensors.
//!
//! A class never predicted right counts as 0 in every mean; a band or a mean without classes is `None`, never NaN.

use lift_data::split::{Band, BandEdges};
use serde::{Deserialize, Serialize};

/// Accuracies in 0..=1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Images that were judged.
    pub images: u64,
    /// Right predictions over all images.
    pub overall: f64,
    /// Mean of the per-class accuracies over the classes that have test images.
    pub mean_class: f64,
    /// That mean over classes with more than 100 training images.
    pub many: Option<f64>,
    /// Over classes with 20 to 100.
    pub medium: Option<f64>,
    /// Over classes with fewer than 20.
    pub few: Option<f64>,
    /// Accuracy of each class in label order; `None` without test images.
    pub per_class: Vec<Option<f64>>,
}

/// Right and all predictions of each class, filled batch by batch.
#[derive(Clone, Debug)]
pub struct Tally {
    right: Vec<u64>,
    total: Vec<u64>,
}

impl Tally {
    /// An empty tally of `num_classes` classes.
    pub fn new(num_classes: usize) -> Self {
        Self {
            right: vec![0; num_classes],
            total: vec![0; num_classes],
        }
    }

    /// Counts one prediction.
    pub fn add(&mut self, label: usize, predicted: usize) {
        self.total[label] += 1;
        self.right[label] += u64::from(label == predicted);
    }

    /// The accuracies, with bands by the classes' training counts (none: no bands).
    pub fn metrics(&self, train_counts: Option<&[u64]>, edges: BandEdges) -> Metrics {
        let per_class: Vec<Option<f64>> = self
            .right
            .iter()
            .zip(&self.total)
            .map(|(&r, &n)| (n > 0).then(|| r as f64 / n as f64))
            .collect();
        let band = |band: Band| {
            let counts = train_counts?;
            mean(
                per_class
                    .iter()
                    .zip(counts)
                    .filter(|&(_, &n)| edges.band(n) == band)
                    .filter_map(|(&a, _)| a),
            )
        };
        let images: u64 = self.total.iter().sum();
        Metrics {
            images,
            overall: self.right.iter().sum::<u64>() as f64 / images.max(1) as f64,
            mean_class: mean(per_class.iter().flatten().copied()).unwrap_or(0.0),
            many: band(Band::Many),
            medium: band(Band::Medium),
            few: band(Band::Few),
            per_class,
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0u64), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracies_by_hand() {
        let mut tally = Tally::new(4);
        // Class 0: 3 of 4, class 1: 0 of 2, class 2: 1 of 1, class 3 has no test image.
        for (label, predicted) in [(0, 0), (0, 0), (0, 0), (0, 1), (1, 0), (1, 2), (2, 2)] {
            tally.add(label, predicted);
        }
        let metrics = tally.metrics(Some(&[101, 100, 19, 500]), BandEdges::default());
        assert_eq!(metrics.images, 7);
        assert!((metrics.overall - 4.0 / 7.0).abs() < 1e-12);
        assert!((metrics.mean_class - (0.75 + 0.0 + 1.0) / 3.0).abs() < 1e-12);
        assert_eq!(
            (metrics.many, metrics.medium, metrics.few),
            (Some(0.75), Some(0.0), Some(1.0))
        );
        assert_eq!(metrics.per_class, [Some(0.75), Some(0.0), Some(1.0), None]);
    }

    #[test]
    fn a_band_without_classes_is_none() {
        let mut tally = Tally::new(1);
        tally.add(0, 0);
        let metrics = tally.metrics(Some(&[50]), BandEdges::default());
        assert_eq!(
            (metrics.many, metrics.medium, metrics.few),
            (None, Some(1.0), None)
        );
        assert_eq!(tally.metrics(None, BandEdges::default()).medium, None);
    }
}
