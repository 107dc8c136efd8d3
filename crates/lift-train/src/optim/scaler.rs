//! A factor on the loss that keeps fp16 gradients from vanishing, as PyTorch's `GradScaler` sets it.
//!
//! Halved when a gradient overflows, and that step is left out; doubled after 2,000 steps without. All of it stays on the
//! device, so that no step waits for it.

use std::collections::BTreeMap;

use lift_models::libtorch;
use tch::{Device, Kind, Tensor};

use super::take_state;
use crate::error::Result;

/// Steps without overflow after which the factor is doubled.
const STEPS_TO_GROW: i64 = 2000;

/// A factor below this helps no more: the gradients themselves are not finite.
const SMALLEST: f64 = 1.0 / 65536.0;

/// The factor and how long it has been good.
#[derive(Debug)]
pub struct LossScaler {
    factor: Tensor,
    good_steps: Tensor,
    overflow: Tensor,
}

impl LossScaler {
    /// Starts at 65536, as PyTorch's.
    pub fn new(device: Device) -> Self {
        Self {
            factor: Tensor::full([], 65536.0, (Kind::Float, device)),
            good_steps: Tensor::zeros([], (Kind::Int, device)),
            overflow: Tensor::zeros([], (Kind::Float, device)),
        }
    }

    /// The factor on the loss, a number on the device.
    pub fn factor(&self) -> &Tensor {
        &self.factor
    }

    /// The factor as it is now; waits for the device.
    pub fn value(&self) -> f64 {
        self.factor.double_value(&[])
    }

    /// Takes the factor out of the gradients, and adapts it. What is returned, a number on the device, is not 0 where one
    /// of them is not finite.
    ///
    /// # Errors
    /// When libtorch refuses it.
    pub fn unscale<'a>(&mut self, gradients: impl Iterator<Item = &'a Tensor>) -> Result<&Tensor> {
        let _ = self.overflow.zero_();
        let reciprocal = self.factor.reciprocal();
        for gradients in gradients {
            libtorch::unscale(gradients, &self.overflow, &reciprocal)?;
        }
        let (good_steps, overflow) = (&self.good_steps, &self.overflow);
        let _ =
            self.factor
                .internal_amp_update_scale_(good_steps, overflow, 2.0, 0.5, STEPS_TO_GROW);
        Ok(&self.overflow)
    }

    /// Whether the factor has become so small that the gradients themselves must be wrong; waits for the device.
    pub fn has_failed(&self) -> bool {
        self.value() < SMALLEST
    }

    pub(super) fn state(&self) -> BTreeMap<String, Tensor> {
        let copies = [("factor", &self.factor), ("good_steps", &self.good_steps)];
        copies
            .map(|(name, tensor)| (name.to_owned(), tensor.to_kind(Kind::Float).copy()))
            .into()
    }

    pub(super) fn restore(&mut self, state: &mut BTreeMap<String, Tensor>) -> Result<()> {
        take_state(state, "factor", self.factor.shallow_clone())?;
        let good_steps = self.good_steps.to_kind(Kind::Float).copy();
        take_state(state, "good_steps", good_steps.shallow_clone())?;
        self.good_steps.copy_(&good_steps);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step whose gradient is this; what it is without the factor.
    fn step(scaler: &mut LossScaler, gradient: f32) -> f64 {
        let gradients = Tensor::from_slice(&[gradient, 1.0]);
        scaler.unscale([&gradients].into_iter()).unwrap();
        gradients.double_value(&[0])
    }

    #[test]
    fn gradients_lose_the_factor_and_overflow_halves_it() {
        let mut scaler = LossScaler::new(Device::Cpu);
        assert_eq!(step(&mut scaler, 6.0 * 65536.0), 6.0);
        assert_eq!(
            (scaler.value(), scaler.overflow.double_value(&[])),
            (65536.0, 0.0)
        );
        step(&mut scaler, f32::NAN);
        assert_eq!(
            (scaler.value(), scaler.overflow.double_value(&[])),
            (32768.0, 1.0)
        );
    }

    #[test]
    fn the_factor_grows_after_2000_good_steps_in_a_row() {
        let mut scaler = LossScaler::new(Device::Cpu);
        for _ in 0..1999 {
            step(&mut scaler, 1.0);
        }
        step(&mut scaler, f32::INFINITY);
        for _ in 0..1000 {
            step(&mut scaler, 1.0);
        }
        // Another goes on from its state.
        let mut state = scaler.state();
        let mut scaler = LossScaler::new(Device::Cpu);
        scaler.restore(&mut state).unwrap();
        for _ in 0..999 {
            step(&mut scaler, 1.0);
        }
        assert_eq!(scaler.value(), 32768.0);
        step(&mut scaler, 1.0);
        assert_eq!(scaler.value(), 65536.0);
        for _ in 0..33 {
            assert!(!scaler.has_failed());
            step(&mut scaler, f32::INFINITY);
        }
        assert!(scaler.has_failed());
    }
}
