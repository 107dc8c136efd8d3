//! The tensors of a group in one piece of memory, and their gradients in another.
//!
//! The tensors become views into it, so that a model that holds them sees every step, and `backward` adds to the
//! gradients where they lie: an update is one kernel however many tensors there are, and gradients are forgotten in one
//! pass. Invariant: pieces lie in the order of the tensors; what is between them stays zero.

use lift_models::libtorch;
use tch::{Device, Kind, Tensor};

/// Pieces begin at multiples of so many numbers, which vector loads want.
const ALIGNMENT: usize = 16;

/// Some leaf tensors that require gradients.
#[derive(Debug)]
pub(super) struct Flat {
    /// All values, fp32.
    pub values: Tensor,
    /// All gradients, fp32.
    pub gradients: Tensor,
    pieces: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    start: i64,
    shape: Vec<i64>,
}

impl Flat {
    /// Moves the values of `tensors` into one piece of memory, where they then are.
    pub fn new(tensors: Vec<Tensor>) -> Self {
        let device = tensors.first().map_or(Device::Cpu, Tensor::device);
        let mut pieces = Vec::with_capacity(tensors.len());
        let mut end = 0;
        for tensor in &tensors {
            let start = end;
            end += tensor.numel().next_multiple_of(ALIGNMENT) as i64;
            let shape = tensor.size();
            pieces.push(Piece { start, shape });
        }
        let values = Tensor::zeros([end], (Kind::Float, device));
        let gradients = values.zeros_like();
        let flat = Self {
            values,
            gradients,
            pieces,
        };
        let places = flat.views(&flat.values).zip(flat.views(&flat.gradients));
        for (mut tensor, (mut value, gradient)) in tensors.into_iter().zip(places) {
            tch::no_grad(|| value.copy_(&tensor));
            tensor.set_data(&value);
            libtorch::set_grad(&tensor, &gradient)
                .expect("a piece has its tensor's shape and kind");
        }
        flat
    }

    /// The pieces of a tensor that is as long as the values, in the shapes of their tensors.
    pub fn views(&self, of: &Tensor) -> impl Iterator<Item = Tensor> {
        self.pieces.iter().map(|piece| {
            let length = piece.shape.iter().product();
            of.narrow(0, piece.start, length)
                .view(piece.shape.as_slice())
        })
    }

    /// Forgets the gradients.
    pub fn zero_grad(&mut self) {
        let _ = self.gradients.zero_();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::kind::FLOAT_CPU;

    #[test]
    fn tensors_share_their_memory_and_collect_gradients_in_one_place() {
        let shapes: [&[i64]; 3] = [&[2, 3], &[], &[5]];
        let tensors = shapes.map(|shape| Tensor::ones(shape, FLOAT_CPU).set_requires_grad(true));
        let copies = tensors.iter().map(Tensor::shallow_clone).collect();
        let mut flat = Flat::new(copies);
        let sum = |factor: f64| {
            let sums = tensors.iter().map(|t| (t * factor).sum(Kind::Float));
            sums.fold(Tensor::from(0.0f32), |sum, one| sum + one)
        };
        for _ in 0..2 {
            sum(3.0).backward();
        }
        for (tensor, gradient) in tensors.iter().zip(flat.views(&flat.gradients)) {
            assert_eq!(gradient, Tensor::full(tensor.size(), 6.0, FLOAT_CPU));
            assert_eq!(tensor.grad(), gradient);
        }
        assert_eq!(flat.gradients.sum(Kind::Float).double_value(&[]), 72.0);

        tch::no_grad(|| flat.values += 1.0);
        assert_eq!(sum(1.0).double_value(&[]), 24.0);
        flat.zero_grad();
        assert_eq!(tensors[0].grad(), Tensor::zeros([2, 3], FLOAT_CPU));
    }
}
