//! The training loss: logit-adjusted cross entropy (Menon et al. 2021).

use tch::{Device, Kind, Tensor};

/// `CE(z + tau log p)`, p the classes' shares of the training images.
#[derive(Debug)]
pub struct LogitAdjusted {
    /// `tau log p` (K), fp32.
    shift: Tensor,
}

impl LogitAdjusted {
    /// The loss for these training counts, one a class, none of them zero.
    pub fn new(train_counts: &[u64], tau: f64, device: Device) -> Self {
        let total: u64 = train_counts.iter().sum();
        let shift: Vec<f32> = train_counts
            .iter()
            .map(|&n| (tau * (n as f64 / total as f64).ln()) as f32)
            .collect();
        Self {
            shift: Tensor::from_slice(&shift).to_device(device),
        }
    }

    /// Logits (b, K) and labels (b) -> the mean loss, a scalar.
    pub fn forward(&self, logits: &Tensor, labels: &Tensor) -> Tensor {
        (logits.to_kind(Kind::Float) + &self.shift).cross_entropy_for_logits(labels)
    }
}
