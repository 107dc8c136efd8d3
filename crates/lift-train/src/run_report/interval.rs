//! Intervals of accuracies where few images stand behind them.
//!
//! Resampling within a class sees no spread where all of its images are right or none is: with a handful of images a class its
//! intervals are too narrow, down to points. There Wilson's score interval stands in their place. Invariant: an interval that
//! is shown has two different ends.

use crate::metrics::{Classes, Prediction};

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// Test images that every class has where resampling within classes is taken at its word.
pub const ENOUGH: u64 = 10;

/// The 95 % interval of a share of so many images (Wilson 1927), which need not be whole; none without an image.
pub fn score(share: f64, images: f64) -> Option<[f64; 2]> {
    if images <= 0.0 {
        return None;
    }
    let scale = 1.0 + Z * Z / images;
    let center = (share + Z * Z / (2.0 * images)) / scale;
    let variance = share * (1.0 - share) / images + Z * Z / (4.0 * images * images);
    let half = Z / scale * variance.max(0.0).sqrt();
    Some([(center - half).max(0.0), (center + half).min(1.0)])
}

/// What an accuracy is the mean of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mean {
    /// Over images.
    Images,
    /// Over classes' accuracies.
    Classes,
}

/// The interval of an accuracy over classes that have so many test images, from the resampled one: itself, Wilson's where
/// the images are too few for it, or none where it is a point and their number is not known.
pub fn settled(
    share: f64,
    resampled: Option<[f64; 2]>,
    images: Option<&[u64]>,
    mean: Mean,
) -> Option<[f64; 2]> {
    let resampled = resampled.filter(|[low, high]| low < high);
    let Some(images) = images else {
        return resampled;
    };
    let is_enough = images.iter().all(|&images| images >= ENOUGH);
    match resampled {
        Some(resampled) if is_enough => Some(resampled),
        _ => score(share, effective(images, mean)),
    }
}

/// As many images drawn from all classes alike would leave a mean as uncertain.
fn effective(images: &[u64], mean: Mean) -> f64 {
    match mean {
        Mean::Images => images.iter().sum::<u64>() as f64,
        Mean::Classes => {
            let inverse: f64 = images.iter().map(|&images| 1.0 / images as f64).sum();
            (images.len() as f64).powi(2) / inverse.max(f64::MIN_POSITIVE)
        }
    }
}

/// The test images of each class that has any: of all classes, and of each band's.
pub struct Tested {
    /// Of all classes.
    pub all: Vec<u64>,
    /// Of each band's.
    pub bands: [Vec<u64>; 3],
}

impl Tested {
    /// Counts them.
    pub fn of(judged: &[Prediction], classes: Classes<'_>) -> Self {
        let mut images = vec![0; classes.count];
        for one in judged {
            images[one.label as usize] += 1;
        }
        let mut bands = [const { Vec::new() }; 3];
        for (class, &images) in images.iter().enumerate().filter(|(_, images)| **images > 0) {
            if let Some(counts) = classes.train_counts {
                bands[classes.edges.band(counts[class]) as usize].push(images);
            }
        }
        images.retain(|&images| images > 0);
        Self { all: images, bands }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::wilson;

    fn near(found: Option<[f64; 2]>, low: f64, high: f64, within: f64) {
        let [a, b] = found.unwrap();
        assert!(
            (a - low).abs() < within && (b - high).abs() < within,
            "{a} {b}"
        );
    }

    #[test]
    fn a_quarter_of_twenty_four_images_is_no_point() {
        // By hand, z^2 = 3.84146: center (0.25 + 0.080030) / 1.160061 = 0.284494, half 1.959964 / 1.160061
        // x sqrt(0.1875 / 24 + 3.84146 / 2304) = 0.164500.
        near(score(0.25, 24.0), 0.119_99, 0.448_99, 2e-5);
        // Two of eight classes wholly right, three images each: every resample says 25 %.
        let point = Some([0.25, 0.25]);
        near(
            settled(0.25, point, Some(&[3; 8]), Mean::Classes),
            0.119_99,
            0.448_99,
            2e-5,
        );
        near(
            settled(0.25, point, Some(&[3; 8]), Mean::Images),
            0.119_99,
            0.448_99,
            2e-5,
        );
        assert_eq!(settled(0.25, point, None, Mean::Images), None);
    }

    #[test]
    fn whole_counts_have_the_interval_of_classes() {
        for (right, images) in [(0, 3), (3, 3), (7, 20), (15, 24)] {
            let [low, high] = wilson(right, images).unwrap();
            near(
                score(right as f64 / images as f64, images as f64),
                low,
                high,
                1e-12,
            );
        }
        assert_eq!(score(0.5, 0.0), None);
    }

    #[test]
    fn resampling_stands_where_images_are_enough() {
        let resampled = Some([0.2, 0.3]);
        assert_eq!(
            settled(0.25, resampled, Some(&[10, 400]), Mean::Classes),
            resampled
        );
        assert_ne!(
            settled(0.25, resampled, Some(&[9, 400]), Mean::Classes),
            resampled
        );
        // All of twenty are right: by the rule of three about 3 / 20 may be wrong, Wilson says 16 %.
        let all = settled(1.0, Some([1.0, 1.0]), Some(&[20]), Mean::Classes);
        near(all, 0.838_875, 1.0, 1e-5);
    }

    #[test]
    fn a_class_of_one_image_makes_a_mean_as_uncertain_as_few_images_do() {
        // 2^2 / (1/1 + 1/99): less than four images.
        assert!((effective(&[1, 99], Mean::Classes) - 3.96).abs() < 1e-12);
        assert!((effective(&[5, 5], Mean::Classes) - 10.0).abs() < 1e-12);
        assert!((effective(&[1, 99], Mean::Images) - 100.0).abs() < 1e-12);
    }
}
