//! SGD with momentum, as PyTorch computes it.

use std::collections::BTreeMap;

use tch::Tensor;

use super::{none_left, take_state};
use crate::error::Result;

/// PyTorch's SGD: `g += wd p; v = momentum v + g; p -= lr v`, v starting as the first g.
#[derive(Debug)]
pub struct Sgd {
    parameters: Vec<Tensor>,
    velocities: Vec<Option<Tensor>>,
    momentum: f64,
    weight_decay: f64,
}

impl Sgd {
    /// An optimiser over leaf tensors that require gradients.
    pub fn new(parameters: Vec<Tensor>, momentum: f64, weight_decay: f64) -> Self {
        let velocities = parameters.iter().map(|_| None).collect();
        Self {
            parameters,
            velocities,
            momentum,
            weight_decay,
        }
    }

    /// The velocities by the number of their tensor; a tensor that had no gradient yet has none.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let velocities = self.velocities.iter().enumerate();
        velocities
            .filter_map(|(i, velocity)| Some((format!("velocity.{i}"), velocity.as_ref()?.copy())))
            .collect()
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// When it is not that of an optimiser over such tensors.
    pub fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        for (i, (parameter, velocity)) in
            self.parameters.iter().zip(&mut self.velocities).enumerate()
        {
            *velocity = take_state(&mut state, &format!("velocity.{i}"), parameter)?;
        }
        none_left(&state)
    }

    /// Forgets the gradients of the last step.
    pub fn zero_grad(&mut self) {
        self.parameters.iter_mut().for_each(Tensor::zero_grad);
    }

    /// One step with the gradients that `backward` left; a tensor without one stays as it is.
    pub fn step(&mut self, lr: f64) {
        tch::no_grad(|| {
            for (parameter, velocity) in self.parameters.iter_mut().zip(&mut self.velocities) {
                let gradient = parameter.grad();
                if !gradient.defined() {
                    continue;
                }
                let gradient = gradient + &*parameter * self.weight_decay;
                let updated = match velocity.take() {
                    Some(mut velocity) => {
                        let _ = velocity.g_mul_scalar_(self.momentum);
                        velocity += gradient;
                        velocity
                    }
                    None => gradient,
                };
                *parameter -= &updated * lr;
                *velocity = Some(updated);
            }
        });
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
            sgd.step(0.02);
        }
        assert!((&ours - &theirs).abs().max().double_value(&[]) < 1e-6);
        assert!(
            (&ours - &start).abs().max().double_value(&[]) > 0.01,
            "nothing moved"
        );
    }
}
