//! Seeded initial values, drawn outside libtorch so that they do not depend on its version or device.

use std::f64::consts::TAU;

use rand_chacha::{ChaCha8Rng, rand_core::RngCore, rand_core::SeedableRng};
use tch::{Tensor, kind::FLOAT_CPU};

/// The values that training starts from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    Zeros,
    Ones,
    /// Kaiming uniform, as PyTorch's linears.
    Kaiming,
    /// Normal with this mean and deviation.
    Normal(f64, f64),
}

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

    /// A tensor that starts so.
    pub(super) fn draw(&mut self, start: Start, shape: &[i64]) -> Tensor {
        match start {
            Start::Zeros => Tensor::zeros(shape, FLOAT_CPU),
            Start::Ones => Tensor::ones(shape, FLOAT_CPU),
            Start::Kaiming => {
                // PyTorch's `kaiming_uniform_(a=sqrt(5))`: +-1 / sqrt(fan-in), fan-in being the second dimension.
                let bound = 1.0 / (shape[1] as f64).sqrt();
                self.fill(shape, |init| (2.0 * init.unit() - 1.0) * bound)
            }
            Start::Normal(mean, deviation) => {
                self.fill(shape, |init| mean + deviation * init.normal())
            }
        }
    }

    /// A weight (out, in) as PyTorch's linears start.
    pub(crate) fn kaiming(&mut self, shape: &[i64]) -> Tensor {
        self.draw(Start::Kaiming, shape)
    }

    /// Standard normal values in this shape.
    pub(crate) fn normal_values(&mut self, shape: &[i64]) -> Tensor {
        self.draw(Start::Normal(0.0, 1.0), shape)
    }

    /// `count` of `total` places, every choice equally likely (Floyd's algorithm).
    pub(super) fn choose(&mut self, count: usize, total: usize) -> Vec<bool> {
        let mut chosen = vec![false; total];
        for last in total - count.min(total)..total {
            let place = ((self.unit() * (last + 1) as f64) as usize).min(last);
            let place = if chosen[place] { last } else { place };
            chosen[place] = true;
        }
        chosen
    }

    fn fill(&mut self, shape: &[i64], mut value: impl FnMut(&mut Self) -> f64) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| value(self) as f32)
            .collect();
        Tensor::from_slice(&values).view(shape)
    }

    /// Uniform in [0, 1).
    fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_chosen_as_often_as_asked_and_evenly() {
        let mut init = Init::new(3);
        let mut hits = [0u32; 10];
        for _ in 0..2000 {
            let chosen = init.choose(3, 10);
            assert_eq!(chosen.iter().filter(|&&c| c).count(), 3);
            for (hits, chosen) in hits.iter_mut().zip(chosen) {
                *hits += u32::from(chosen);
            }
        }
        // 600 expected, deviation 20.
        assert!(hits.iter().all(|n| (500..700).contains(n)), "{hits:?}");
        assert!(init.choose(4, 4).into_iter().all(|chosen| chosen));
        assert!(!init.choose(0, 4).into_iter().any(|chosen| chosen));
    }

    #[test]
    fn normal_draws_have_their_mean_and_deviation() {
        let values = Init::new(0).draw(Start::Normal(1.0, 0.02), &[100, 100]);
        assert!((values.mean(tch::Kind::Double).double_value(&[]) - 1.0).abs() < 1e-3);
        assert!((values.std(true).double_value(&[]) - 0.02).abs() < 1e-3);
    }
}
