//! SGD with momentum, as PyTorch computes it.

use std::collections::BTreeMap;

use lift_models::libtorch;
use tch::Tensor;

use super::{flat::Flat, none_left, take_state};
use crate::error::Result;

/// PyTorch's SGD: `g += wd p; v = momentum v + g; p -= lr v`, v starting at zero.
#[derive(Debug)]
pub struct Sgd {
    pub(super) flat: Flat,
    velocities: Tensor,
    momentum: f64,
    weight_decay: f64,
}

impl Sgd {
    /// An optimiser over leaf tensors that require gradients, which become views of its memory.
    pub fn new(parameters: Vec<Tensor>, momentum: f64, weight_decay: f64) -> Self {
        let flat = Flat::new(parameters);
        Self {
            velocities: flat.values.zeros_like(),
            flat,
            momentum,
            weight_decay,
        }
    }

    /// The velocities by the number of their tensor.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let velocities = self.flat.views(&self.velocities).enumerate();
        velocities
            .map(|(i, velocity)| (format!("velocity.{i}"), velocity.copy()))
            .collect()
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// When it is not that of an optimiser over such tensors.
    pub fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        for (i, velocity) in self.flat.views(&self.velocities).enumerate() {
            take_state(&mut state, &format!("velocity.{i}"), velocity)?;
        }
        none_left(&state)
    }

    /// Forgets the gradients of the last step.
    pub fn zero_grad(&mut self) {
        self.flat.zero_grad();
    }

    /// One step with the gradients that `backward` left, unless `overflow`, a number on the device, is not 0.
    ///
    /// # Errors
    /// When libtorch refuses it.
    pub fn step(&mut self, lr: f64, overflow: Option<&Tensor>) -> Result<()> {
        let Flat {
            values, gradients, ..
        } = &self.flat;
        let all = [values, gradients, &self.velocities];
        let (momentum, decay) = (self.momentum, self.weight_decay);
        Ok(libtorch::sgd(all, lr, momentum, decay, overflow)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{
        Device, Kind,
        nn::{self, OptimizerConfig},
    };

    #[test]
    fn steps_equal_libtorchs_own_sgd() {
        let start = Tensor::from_slice(&[1.0f32, -2.0, 3.0]);
        let vs = nn::VarStore::new(Device::Cpu);
        let theirs = vs.root().var_copy("w", &start);
        let config = nn::Sgd {
            momentum: 0.9,
            dampening: 0.0,
            wd: 5e-4,
            nesterov: false,
        };
        let mut reference = config.build(&vs, 0.02).unwrap();
        let ours = start.copy().set_requires_grad(true);
        let mut sgd = Sgd::new(vec![ours.shallow_clone()], 0.9, 5e-4);
        for _ in 0..5 {
            reference.backward_step(&theirs.pow_tensor_scalar(4).sum(Kind::Float));
            sgd.zero_grad();
            ours.pow_tensor_scalar(4).sum(Kind::Float).backward();
            sgd.step(0.02, None).unwrap();
        }
        assert!((&ours - &theirs).abs().max().double_value(&[]) < 1e-6);
        assert!(
            (&ours - &start).abs().max().double_value(&[]) > 0.01,
            "nothing moved"
        );
    }
}
