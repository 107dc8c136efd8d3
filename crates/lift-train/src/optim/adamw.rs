//! Adam with decoupled weight decay (arXiv 1711.05101), as PyTorch computes it.

use std::collections::BTreeMap;

use lift_models::libtorch::{self, AdamWConstants};
use tch::{Kind, Tensor};

use super::{flat::Flat, none_left, take_state};
use crate::error::Result;

const BETAS: [f64; 2] = [0.9, 0.999];
const EPS: f64 = 1e-8;

/// `p -= lr wd p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr m' / (sqrt(v') + eps)`, where m' and v' are
/// m and v without the bias of their start at zero.
#[derive(Debug)]
pub struct AdamW {
    pub(super) flat: Flat,
    /// Running means of the gradients, and of their squares.
    means: Tensor,
    squares: Tensor,
    /// How many were made, a number on the device.
    steps: Tensor,
    weight_decay: f64,
}

impl AdamW {
    /// An optimiser over leaf tensors that require gradients, which become views of its memory.
    pub fn new(parameters: Vec<Tensor>, weight_decay: f64) -> Self {
        let flat = Flat::new(parameters);
        Self {
            means: flat.values.zeros_like(),
            squares: flat.values.zeros_like(),
            steps: Tensor::zeros([], (Kind::Float, flat.values.device())),
            flat,
            weight_decay,
        }
    }

    /// One step with the gradients that `backward` left, unless `overflow`, a number on the device, is not 0.
    ///
    /// # Errors
    /// When libtorch refuses it.
    pub fn step(&mut self, lr: f64, overflow: Option<&Tensor>) -> Result<()> {
        let Flat {
            values, gradients, ..
        } = &self.flat;
        let constants = AdamWConstants {
            lr,
            betas: BETAS,
            weight_decay: self.weight_decay,
            eps: EPS,
        };
        let all = [values, gradients, &self.means, &self.squares];
        Ok(libtorch::adamw(all, &mut self.steps, constants, overflow)?)
    }

    /// The moments by the number of their tensor, and the number of steps.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::from([("steps".to_owned(), self.steps.copy())]);
        for (name, all) in self.moments() {
            let of_tensors = self.flat.views(all).enumerate();
            state.extend(of_tensors.map(|(i, one)| (format!("{name}.{i}"), one.copy())));
        }
        state
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// When it is not that of an optimiser over such tensors.
    pub fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        for (name, all) in self.moments() {
            for (i, one) in self.flat.views(all).enumerate() {
                take_state(&mut state, &format!("{name}.{i}"), one)?;
            }
        }
        take_state(&mut state, "steps", self.steps.shallow_clone())?;
        none_left(&state)
    }

    fn moments(&self) -> [(&'static str, &Tensor); 2] {
        [("mean", &self.means), ("square", &self.squares)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{
        Device,
        nn::{self, OptimizerConfig},
    };

    #[test]
    fn steps_equal_libtorchs_own_adamw() {
        let start = Tensor::from_slice(&[1.0f32, -2.0, 3.0]);
        let vs = nn::VarStore::new(Device::Cpu);
        let theirs = vs.root().var_copy("w", &start);
        let config = nn::AdamW {
            wd: 0.05,
            ..nn::AdamW::default()
        };
        let mut reference = config.build(&vs, 0.02).unwrap();
        let ours = start.copy().set_requires_grad(true);
        let mut adamw = AdamW::new(vec![ours.shallow_clone()], 0.05);
        for step in 0..8 {
            reference.backward_step(&theirs.pow_tensor_scalar(4).sum(Kind::Float));
            adamw.flat.zero_grad();
            ours.pow_tensor_scalar(4).sum(Kind::Float).backward();
            adamw.step(0.02, None).unwrap();
            if step == 3 {
                // Another optimiser goes on from its state.
                let state = adamw.state();
                adamw = AdamW::new(vec![ours.shallow_clone()], 0.05);
                adamw.restore(state).unwrap();
            }
        }
        assert!((&ours - &theirs).abs().max().double_value(&[]) < 1e-6);
        assert!(
            (&ours - &start).abs().min().double_value(&[]) > 0.1,
            "nothing moved"
        );
    }

    #[test]
    fn a_state_of_other_tensors_is_refused() {
        let tensor = || Tensor::zeros([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let mut adamw = AdamW::new(vec![tensor()], 0.0);
        for (name, size) in [("mean.0", 3), ("mean.0", 2), ("mean.1", 3)] {
            let state = BTreeMap::from([(
                name.to_owned(),
                Tensor::zeros([size], (Kind::Float, Device::Cpu)),
            )]);
            assert!(adamw.restore(state).is_err(), "{name} of {size}");
        }
    }
}
