//! What is counted over steps, and kept in a checkpoint: losses, images, time.

use serde::{Deserialize, Serialize};

/// Sums over some steps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Of the images' losses.
    pub loss_sum: f64,
    /// Images seen.
    pub images: u64,
    /// Seconds spent waiting for data.
    pub waited: f64,
    /// Wall time.
    pub seconds: f64,
    /// Images by band, many, medium and few, whose class had the largest logit as they were trained on.
    #[serde(default)]
    pub right: [f64; 3],
    /// Images seen by band.
    #[serde(default)]
    pub of: [f64; 3],
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.loss_sum += other.loss_sum;
        self.images += other.images;
        self.waited += other.waited;
        self.seconds += other.seconds;
        for band in 0..3 {
            self.right[band] += other.right[band];
            self.of[band] += other.of[band];
        }
    }

    pub(crate) fn loss(&self) -> f64 {
        self.loss_sum / self.images as f64
    }

    /// Share of the images that were right, and by band; none of a band that had no image.
    pub(crate) fn accuracies(&self) -> [Option<f64>; 4] {
        let share = |right: f64, of: f64| (of > 0.0).then(|| right / of);
        let (right, of) = (self.right.iter().sum(), self.of.iter().sum());
        let band = |band: usize| share(self.right[band], self.of[band]);
        [share(right, of), band(0), band(1), band(2)]
    }

    pub(crate) fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    pub(crate) fn data_wait_share(&self) -> f64 {
        self.waited / self.seconds.max(f64::MIN_POSITIVE)
    }
}
