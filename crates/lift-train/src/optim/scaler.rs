//! A factor on the loss that keeps fp16 gradients from vanishing, as PyTorch's `GradScaler` sets it.
//!
//! Halved when a gradient overflows, and that step is skipped; doubled after 2,000 steps without.

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Steps without overflow after which the factor is doubled.
const STEPS_TO_GROW: u32 = 2000;

/// A factor below this helps no more: the gradients themselves are not finite.
const SMALLEST: f64 = 1.0 / 65536.0;

/// The factor and how long it has been good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossScaler {
    factor: f64,
    good_steps: u32,
}

impl Default for LossScaler {
    fn default() -> Self {
        Self {
            factor: 65536.0,
            good_steps: 0,
        }
    }
}

impl LossScaler {
    /// The factor on the loss.
    pub fn factor(&self) -> f64 {
        self.factor
    }

    /// Takes the factor out of the gradients; whether they are finite, so that the step may be made.
    pub fn unscale<'a>(&mut self, parameters: impl Iterator<Item = &'a Tensor>) -> bool {
        let mut finite: Option<Tensor> = None;
        tch::no_grad(|| {
            for parameter in parameters {
                let mut gradient = parameter.grad();
                if !gradient.defined() {
                    continue;
                }
                let _ = gradient.g_mul_scalar_(1.0 / self.factor);
                let all = gradient.isfinite().all();
                // Joined on the device: one transfer a step.
                finite = Some(
                    finite
                        .take()
                        .map_or(all.copy(), |so_far| so_far.logical_and(&all)),
                );
            }
        });
        let is_finite = finite.is_none_or(|all| all.int64_value(&[]) == 1);
        self.update(is_finite);
        is_finite
    }

    /// Whether the factor has become so small that the gradients themselves must be wrong.
    pub fn has_failed(&self) -> bool {
        self.factor < SMALLEST
    }

    fn update(&mut self, is_finite: bool) {
        if !is_finite {
            self.factor /= 2.0;
            self.good_steps = 0;
            return;
        }
        self.good_steps += 1;
        if self.good_steps == STEPS_TO_GROW {
            self.factor *= 2.0;
            self.good_steps = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_lose_the_factor_and_overflow_halves_it() {
        let parameter = Tensor::from_slice(&[3.0f32, -2.0]).set_requires_grad(true);
        let mut scaler = LossScaler::default();
        ((&parameter * &parameter).sum(tch::Kind::Float) * scaler.factor()).backward();
        assert!(scaler.unscale([&parameter].into_iter()));
        assert_eq!(Vec::<f32>::try_from(parameter.grad()).unwrap(), [6.0, -4.0]);
        assert_eq!(scaler.factor(), 65536.0);

        (&parameter * f64::INFINITY)
            .sum(tch::Kind::Float)
            .backward();
        assert!(!scaler.unscale([&parameter].into_iter()));
        assert_eq!(scaler.factor(), 32768.0);
    }

    #[test]
    fn the_factor_grows_after_2000_good_steps_in_a_row() {
        let mut scaler = LossScaler::default();
        for _ in 0..1999 {
            scaler.update(true);
        }
        scaler.update(false);
        for _ in 0..1999 {
            scaler.update(true);
        }
        assert_eq!(scaler.factor(), 32768.0);
        scaler.update(true);
        assert_eq!(scaler.factor(), 65536.0);
        for _ in 0..33 {
            assert!(!scaler.has_failed());
            scaler.update(false);
        }
        assert!(scaler.has_failed());
    }
}
