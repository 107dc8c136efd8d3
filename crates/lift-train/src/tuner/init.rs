//! Seeded initial values, drawn outside libtorch so that they do not depend on its version or device.

use rand_chacha::{ChaCha8Rng, rand_core::RngCore, rand_core::SeedableRng};
use tch::{Tensor, kind::FLOAT_CPU};

/// A stream of initial tensors: the same seed and order of calls give the same values.
#[derive(Debug)]
pub struct Init {
    rng: ChaCha8Rng,
}

impl Init {
    /// Starts the stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// PyTorch's `kaiming_uniform_(a=sqrt(5))`: uniform in +-1 / sqrt(fan-in), fan-in being the second dimension.
    pub fn kaiming_uniform(&mut self, shape: [i64; 2]) -> Tensor {
        let bound = 1.0 / (shape[1] as f64).sqrt();
        let values: Vec<f32> = (0..shape[0] * shape[1])
            .map(|_| {
                let unit = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                ((2.0 * unit - 1.0) * bound) as f32
            })
            .collect();
        Tensor::from_slice(&values).view(shape)
    }

    /// Zeros.
    pub fn zeros(&self, shape: &[i64]) -> Tensor {
        Tensor::zeros(shape, FLOAT_CPU)
    }

    /// Ones.
    pub fn ones(&self, shape: &[i64]) -> Tensor {
        Tensor::ones(shape, FLOAT_CPU)
    }
}
