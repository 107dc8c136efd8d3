//! Accuracy from predictions: overall, by class, and by band of training frequency. No tensors.
//!
//! A class never predicted right counts as 0 in every mean; a figure of no image, a band or a mean without classes is
//! `None`, never 0 and never NaN.

mod bootstrap;
mod wilson;

use lift_shards::split::{Band, BandEdges};
use serde::{Deserialize, Serialize};

pub use bootstrap::Intervals;
pub use wilson::wilson;

/// Equal bins of confidence in the calibration error (Guo et al. 2017).
pub const CALIBRATION_BINS: usize = 15;

/// What the model said of one image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prediction {
    /// Its class.
    pub label: u32,
    /// The class with the largest logit; of several, one that is not the image's own.
    pub predicted: u32,
    /// That class's probability, from a softmax over the logits.
    pub confidence: f32,
    /// How many other classes had a logit at least as large as the image's own: 0 where it is right, so that a tie is not.
    pub rank: u32,
}

/// What is known of the classes.
#[derive(Clone, Copy, Debug)]
pub struct Classes<'a> {
    /// How many there are.
    pub count: usize,
    /// Training images of each; without them there are no bands.
    pub train_counts: Option<&'a [u64]>,
    /// Where the bands end.
    pub edges: BandEdges,
}

/// Accuracies and other figures in 0..=1; all are none where no image was judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Images that were judged.
    pub images: u64,
    /// Right predictions over all images.
    pub overall: Option<f64>,
    /// Mean of the per-class accuracies over the classes that have test images.
    pub mean_class: Option<f64>,
    /// That mean over classes of the band `many`: more than 100 training images, unless the shards say otherwise.
    pub many: Option<f64>,
    /// Over classes of the band `medium`: 20 to 100.
    pub medium: Option<f64>,
    /// Over classes of the band `few`: fewer than 20.
    pub few: Option<f64>,
    /// Images whose class has one of the five largest logits, and fewer than five others as large; none with five classes or
    /// fewer.
    pub top5: Option<f64>,
    /// Mean F1 over the classes that have test images.
    pub macro_f1: Option<f64>,
    /// Accuracy of the worst class.
    pub worst_class: Option<f64>,
    /// Harmonic mean of the per-class accuracies; 0 where one of them is.
    pub harmonic_mean: Option<f64>,
    /// Geometric mean of the per-class accuracies; 0 where one of them is.
    pub geometric_mean: Option<f64>,
    /// Expected calibration error: mean gap of confidence and accuracy over 15 bins (Guo et al. 2017).
    pub calibration_error: Option<f64>,
    /// 95 % intervals of overall and band accuracies.
    pub intervals: Intervals,
    /// Accuracy of each class in label order; `None` without test images.
    pub per_class: Vec<Option<f64>>,
}

impl Metrics {
    /// The figures of `judged`, whose labels and predictions are below `classes.count`; `seed` is the bootstrap's.
    pub fn new(judged: &[Prediction], classes: Classes<'_>, seed: u64) -> Self {
        let tally = Tally::new(judged, classes.count);
        let per_class = tally.per_class();
        let present = || per_class.iter().flatten().copied();
        let band = |band: Band| {
            let counts = classes.train_counts?;
            let of_band = per_class.iter().zip(counts);
            mean(
                of_band
                    .filter(|&(_, &n)| classes.edges.band(n) == band)
                    .filter_map(|(&accuracy, _)| accuracy),
            )
        };
        let share = |n: usize| (!judged.is_empty()).then(|| n as f64 / judged.len() as f64);
        Self {
            images: judged.len() as u64,
            overall: share(judged.iter().filter(|j| j.predicted == j.label).count()),
            mean_class: mean(present()),
            many: band(Band::Many),
            medium: band(Band::Medium),
            few: band(Band::Few),
            top5: share(judged.iter().filter(|j| j.rank < 5).count()).filter(|_| classes.count > 5),
            macro_f1: mean(tally.f1()),
            worst_class: present().reduce(f64::min),
            harmonic_mean: mean(present().map(f64::recip)).map(f64::recip),
            geometric_mean: mean(present().map(f64::ln)).map(f64::exp),
            calibration_error: calibration_error(judged),
            intervals: Intervals::new(&tally.right, &tally.total, classes, seed),
            per_class,
        }
    }
}

/// Right, all, and predicted images of each class.
struct Tally {
    right: Vec<u64>,
    total: Vec<u64>,
    predicted: Vec<u64>,
}

impl Tally {
    fn new(judged: &[Prediction], num_classes: usize) -> Self {
        let mut tally = Self {
            right: vec![0; num_classes],
            total: vec![0; num_classes],
            predicted: vec![0; num_classes],
        };
        for one in judged {
            tally.total[one.label as usize] += 1;
            tally.predicted[one.predicted as usize] += 1;
            tally.right[one.label as usize] += u64::from(one.label == one.predicted);
        }
        tally
    }

    fn per_class(&self) -> Vec<Option<f64>> {
        let classes = self.right.iter().zip(&self.total);
        classes
            .map(|(&right, &total)| (total > 0).then(|| right as f64 / total as f64))
            .collect()
    }

    /// Of the classes that have test images: 2 right / (all + predicted).
    fn f1(&self) -> impl Iterator<Item = f64> {
        let classes = self.right.iter().zip(&self.total).zip(&self.predicted);
        classes
            .filter(|((_, total), _)| **total > 0)
            .map(|((&right, &total), &predicted)| 2.0 * right as f64 / (total + predicted) as f64)
    }
}

/// The bin of a confidence, from 0. Bins are open below and closed above, as in the paper.
pub fn calibration_bin(confidence: f32) -> usize {
    let bin = (f64::from(confidence) * CALIBRATION_BINS as f64).ceil() as usize;
    bin.clamp(1, CALIBRATION_BINS) - 1
}

fn calibration_error(judged: &[Prediction]) -> Option<f64> {
    let mut bins = [(0u64, 0.0, 0.0); CALIBRATION_BINS];
    for one in judged {
        let confidence = f64::from(one.confidence);
        let (images, right, sum) = &mut bins[calibration_bin(one.confidence)];
        *images += 1;
        *right += f64::from(u8::from(one.label == one.predicted));
        *sum += confidence;
    }
    let gaps = bins.iter().map(|(_, right, sum)| f64::abs(right - sum));
    (!judged.is_empty()).then(|| gaps.sum::<f64>() / judged.len() as f64)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0u64), |(sum, n), v| (sum + v, n + 1));
    (n > 0).then(|| sum / n as f64)
}

#[cfg(test)]
mod tests;
