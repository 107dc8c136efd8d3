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
}

impl Figures {
    pub(crate) fn add(&mut self, other: &Self) {
        self.loss_sum += other.loss_sum;
        self.images += other.images;
        self.waited += other.waited;
        self.seconds += other.seconds;
    }

    pub(crate) fn loss(&self) -> f64 {
        self.loss_sum / self.images as f64
    }

    pub(crate) fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    pub(crate) fn data_wait_share(&self) -> f64 {
        self.waited / self.seconds.max(f64::MIN_POSITIVE)
    }
}
