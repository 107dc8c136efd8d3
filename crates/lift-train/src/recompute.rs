//! Activation checkpointing (Chen et al. 2016, arXiv 1604.06174): of each block only what enters it is kept, and the block
//! is computed again when its gradients are wanted. Memory falls from all activations to those of one block; time grows
//! by one forward pass of the tuned blocks.

use lift_models::VisionTower;
use tch::{Kind, Tensor};

use crate::tuner::Tuner;

/// Features of a batch, and what the tuned blocks and the last LayerNorm saw.
#[derive(Debug)]
pub struct Recorded {
    class_token: Tensor,
    first_block: usize,
    /// Tokens (b, n, d) before each block from the first tuned one on, and after the last.
    inputs: Vec<Tensor>,
}

impl Recorded {
    /// Computes the features (b, d) of images (b, 3, r, r) without a graph.
    pub fn features(tower: &VisionTower, tuner: &Tuner, images: &Tensor) -> Self {
        let blocks = tower.resblocks.len();
        let first_block = tuner.first_block().unwrap_or(blocks);
        let mut inputs = Vec::new();
        let class_token = tch::no_grad(|| {
            let mut x = tower.tokens(images);
            for layer in 0..blocks {
                if layer >= first_block {
                    inputs.push(x.shallow_clone());
                }
                x = tower.block(layer, x, tuner);
            }
            let class_token = tower.class_token(&x);
            inputs.push(x);
            class_token
        });
        // Without a tuned block nothing below the classifier needs a gradient.
        let class_token = class_token.set_requires_grad(first_block < blocks);
        Self {
            class_token,
            first_block,
            inputs,
        }
    }

    /// The features (b, d), a leaf.
    pub fn class_token(&self) -> &Tensor {
        &self.class_token
    }

    /// Passes the gradient that a loss left at the features back through the blocks, the last one first.
    pub fn backward(mut self, tower: &VisionTower, tuner: &Tuner) {
        let mut gradient = self.class_token.grad();
        let Some(last) = self.inputs.pop().filter(|_| gradient.defined()) else {
            return;
        };
        let x = last.set_requires_grad(true);
        pass_back(&tower.class_token(&x), &gradient);
        gradient = x.grad();
        while let Some(input) = self.inputs.pop() {
            let layer = self.first_block + self.inputs.len();
            let x = input.set_requires_grad(layer > self.first_block);
            pass_back(&tower.block(layer, x.shallow_clone(), tuner), &gradient);
            gradient = x.grad();
        }
    }
}

/// Gradients of what `output` depends on, from its own.
fn pass_back(output: &Tensor, gradient: &Tensor) {
    // The sum's gradient is exactly this one; the sum itself is not looked at.
    (output * gradient).sum(Kind::Float).backward();
}
