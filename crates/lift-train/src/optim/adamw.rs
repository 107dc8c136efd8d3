//! Adam with decoupled weight decay (arXiv 1711.05101), as PyTorch computes it.

use std::collections::BTreeMap;

use tch::Tensor;

use super::{none_left, take_state};
use crate::error::{Error, Result};

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPS: f64 = 1e-8;

/// `p -= lr wd p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr m' / (sqrt(v') + eps)`, where m' and v' are
/// m and v without the bias of their start at zero.
#[derive(Debug)]
pub struct AdamW {
    parameters: Vec<Tensor>,
    moments: Vec<Option<Moments>>,
    weight_decay: f64,
}

/// Running means of a tensor's gradient and of its square.
#[derive(Debug)]
struct Moments {
    mean: Tensor,
    square: Tensor,
    steps: i64,
}

impl AdamW {
    /// An optimiser over leaf tensors that require gradients.
    pub fn new(parameters: Vec<Tensor>, weight_decay: f64) -> Self {
        let moments = parameters.iter().map(|_| None).collect();
        Self {
            parameters,
            moments,
            weight_decay,
        }
    }

    /// One step with the gradients that `backward` left; a tensor without one stays as it is.
    pub fn step(&mut self, lr: f64) {
        tch::no_grad(|| {
            for (parameter, moments) in self.parameters.iter_mut().zip(&mut self.moments) {
                let gradient = parameter.grad();
                if !gradient.defined() {
                    continue;
                }
                let moments = moments.get_or_insert_with(|| Moments {
                    mean: parameter.zeros_like(),
                    square: parameter.zeros_like(),
                    steps: 0,
                });
                moments.steps += 1;
                let _ = parameter.g_mul_scalar_(1.0 - lr * self.weight_decay);
                let _ = moments.mean.g_mul_scalar_(BETA_1);
                moments.mean += &gradient * (1.0 - BETA_1);
                let _ = moments.square.g_mul_scalar_(BETA_2);
                moments.square += &gradient * &gradient * (1.0 - BETA_2);
                let unbiased = |beta: f64| 1.0 - beta.powf(moments.steps as f64);
                let deviation = moments.square.sqrt() / unbiased(BETA_2).sqrt() + EPS;
                *parameter -= &moments.mean / deviation * (lr / unbiased(BETA_1));
            }
        });
    }

    /// The moments by the number of their tensor; a tensor that had no gradient yet has none.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut state = BTreeMap::new();
        for (i, moments) in self.moments.iter().enumerate() {
            if let Some(moments) = moments {
                state.insert(format!("mean.{i}"), moments.mean.copy());
                state.insert(format!("square.{i}"), moments.square.copy());
                state.insert(format!("steps.{i}"), Tensor::from(moments.steps));
            }
        }
        state
    }

    /// Goes on from a state.
    ///
    /// # Errors
    /// When it is not that of an optimiser over such tensors.
    pub fn restore(&mut self, mut state: BTreeMap<String, Tensor>) -> Result<()> {
        for (i, (parameter, moments)) in self.parameters.iter().zip(&mut self.moments).enumerate() {
            let mean = take_state(&mut state, &format!("mean.{i}"), parameter)?;
            let square = take_state(&mut state, &format!("square.{i}"), parameter)?;
            let steps = state.remove(&format!("steps.{i}"));
            *moments = match (mean, square, steps) {
                (Some(mean), Some(square), Some(steps)) => Some(Moments {
                    mean,
                    square,
                    steps: steps.f_int64_value(&[]).map_err(lift_clip::Error::from)?,
                }),
                (None, None, None) => None,
                _ => {
                    return Err(Error::Tensors(format!(
                        "the optimiser lacks a part of its state of tensor {i}"
                    )));
                }
            };
        }
        none_left(&state)
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
    fn steps_equal_libtorchs_own_adamw() {
        let start = Tensor::from_slice(&[1.0f32, -2.0, 3.0]);
        let vs = nn::VarStore::new(Device::Cpu);
        let theirs = vs.root().var_copy("w", &start);
        let config = nn::AdamW {
            wd: 0.05,
            ..nn::AdamW::default()
        };
        let mut reference = config.build(&vs, 0.02).unwrap();
        let mut ours = start.copy().set_requires_grad(true);
        let mut adamw = AdamW::new(vec![ours.shallow_clone()], 0.05);
        for step in 0..8 {
            reference.backward_step(&theirs.pow_tensor_scalar(4).sum(Kind::Float));
            ours.zero_grad();
            ours.pow_tensor_scalar(4).sum(Kind::Float).backward();
            adamw.step(0.02);
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
