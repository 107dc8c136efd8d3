//! Minimalist data augmentation (LIFT+, arXiv 2504.13282): one square crop that grows as training goes on.
//!
//! No flip, no colour or aspect jitter. The smallest relative area is `0.08 + 0.92 s(t)` with the progress
//! `t = epoch / (epochs - 1)`.

use lift_image::resize::CropBox;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::streams::{below, unit};

/// What is done to training images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Augmentation {
    /// Minimalist: one growing square crop (LIFT+).
    #[default]
    Mda,
    /// RandomResizedCrop and flip (LIFT).
    Classic,
    /// None: the centre crop of the plain evaluation.
    Plain,
}

impl Augmentation {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 3] = [
        (
            Self::Mda,
            "mda",
            "Minimalist: one growing square crop (LIFT+)",
        ),
        (
            Self::Classic,
            "classic",
            "RandomResizedCrop and flip (LIFT)",
        ),
        (
            Self::Plain,
            "plain",
            "None: the centre crop of the plain evaluation",
        ),
    ];
}

/// How the smallest crop grows with the progress of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AreaSchedule {
    /// `1 - sqrt(1 - t^2)`: late.
    #[default]
    Convex,
    /// `t`.
    Linear,
    /// `sqrt(1 - (1 - t)^2)`: early.
    Concave,
    /// Always 0: crops of any size to the end.
    Min,
    /// Always 1: the largest square from the beginning.
    Max,
}

impl AreaSchedule {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 5] = [
        (Self::Convex, "convex", "`1 - sqrt(1 - t^2)`: late"),
        (Self::Linear, "linear", "`t`"),
        (Self::Concave, "concave", "`sqrt(1 - (1 - t)^2)`: early"),
        (Self::Min, "min", "Always 0: crops of any size to the end"),
        (
            Self::Max,
            "max",
            "Always 1: the largest square from the beginning",
        ),
    ];
}

impl AreaSchedule {
    /// The smallest relative area of a crop in `epoch` of `epochs`; a single epoch counts as the beginning.
    pub fn smallest_area(self, epoch: usize, epochs: usize) -> f64 {
        let t = if epochs > 1 {
            epoch as f64 / (epochs - 1) as f64
        } else {
            0.0
        };
        let s = match self {
            Self::Convex => 1.0 - (1.0 - t * t).sqrt(),
            Self::Linear => t,
            Self::Concave => (1.0 - (1.0 - t).powi(2)).sqrt(),
            Self::Min => 0.0,
            Self::Max => 1.0,
        };
        0.08 + 0.92 * s
    }
}

/// A square crop of a `width` x `height` image: its area is drawn between `smallest_area` and all that a square can
/// cover, its place uniformly.
pub fn mda_crop(width: u32, height: u32, smallest_area: f64, rng: &mut ChaCha8Rng) -> CropBox {
    let short = width.min(height);
    let area = f64::from(width) * f64::from(height);
    let widest = f64::from(short).powi(2) / area;
    let (low, high) = (area * smallest_area.min(widest), area * widest.min(1.0));
    let target = low + (high - low) * unit(rng);
    let side = (target.sqrt().round() as u32).clamp(1, short);
    CropBox {
        left: below(rng, u64::from(width - side) + 1) as u32,
        top: below(rng, u64::from(height - side) + 1) as u32,
        width: side,
        height: side,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_rng;

    #[test]
    fn schedules_by_hand() {
        let area = |schedule: AreaSchedule, epoch| schedule.smallest_area(epoch, 5);
        for schedule in [
            AreaSchedule::Convex,
            AreaSchedule::Linear,
            AreaSchedule::Concave,
        ] {
            assert!((area(schedule, 0) - 0.08).abs() < 1e-12);
            assert!((area(schedule, 4) - 1.0).abs() < 1e-12);
        }
        // t = 0.5: 1 - sqrt(0.75), 0.5, sqrt(0.75).
        assert!((area(AreaSchedule::Convex, 2) - (0.08 + 0.92 * 0.133_974_596)).abs() < 1e-8);
        assert!((area(AreaSchedule::Linear, 2) - 0.54).abs() < 1e-12);
        assert!((area(AreaSchedule::Concave, 2) - (0.08 + 0.92 * 0.866_025_404)).abs() < 1e-8);
        assert!((area(AreaSchedule::Min, 4) - 0.08).abs() < 1e-12);
        assert!((area(AreaSchedule::Max, 0) - 1.0).abs() < 1e-12);
        assert!((AreaSchedule::Convex.smallest_area(0, 1) - 0.08).abs() < 1e-12);
    }

    #[test]
    fn crops_lie_inside_and_cover_at_least_the_smallest_area() {
        for (id, (width, height)) in [
            (256, 341),
            (300, 256),
            (256, 256),
            (1, 7),
            (1, 1),
            (64, 1000),
        ]
        .into_iter()
        .enumerate()
        {
            for epoch in 0..200 {
                let smallest = 0.08 + 0.92 * (epoch as f64 / 199.0);
                let crop = mda_crop(width, height, smallest, &mut image_rng(0, epoch, id as u64));
                assert_eq!(crop.width, crop.height);
                assert!(
                    crop.width >= 1
                        && crop.left + crop.width <= width
                        && crop.top + crop.height <= height
                );
                let short = f64::from(width.min(height));
                let low = (f64::from(width * height) * smallest).sqrt().min(short);
                assert!(
                    f64::from(crop.width) >= (low - 0.5).floor().max(1.0),
                    "{width}x{height} {smallest} {crop:?}"
                );
            }
        }
    }

    #[test]
    fn the_last_epoch_takes_the_whole_short_side() {
        let smallest = AreaSchedule::Convex.smallest_area(4, 5);
        for id in 0..50 {
            assert_eq!(
                mda_crop(341, 256, smallest, &mut image_rng(0, 4, id)).width,
                256
            );
        }
    }
}
