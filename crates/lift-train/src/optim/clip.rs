//! Gradient clipping by the global norm (PyTorch's `clip_grad_norm_`).

use tch::Tensor;

/// Scales the gradients of all tensors down so that their common norm is this, where it is larger.
///
/// The factor is computed on the device: nothing waits for it.
pub fn clip_gradients<'a>(tensors: impl Iterator<Item = &'a Tensor>, largest_norm: f64) {
    let gradients = tensors.map(Tensor::grad).filter(Tensor::defined);
    let mut gradients: Vec<Tensor> = gradients.collect();
    if gradients.is_empty() {
        return;
    }
    tch::no_grad(|| {
        let norms: Vec<Tensor> = gradients.iter().map(Tensor::norm).collect();
        let factor = (Tensor::stack(&norms, 0).norm() + 1e-6).reciprocal() * largest_norm;
        let factor = factor.clamp_max(1.0);
        for gradient in &mut gradients {
            let _ = gradient.g_mul_(&factor);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn gradients_get_the_norm_that_is_asked_for_unless_theirs_is_smaller() {
        for (largest, wanted) in [(1.0, [0.6, 0.8]), (5.1, [3.0, 4.0]), (10.0, [3.0, 4.0])] {
            let tensors = [3.0f32, 4.0].map(|x| Tensor::from_slice(&[x]).set_requires_grad(true));
            // The gradient of x^2 / 2 is x.
            let halves: Vec<Tensor> = tensors.iter().map(|t| t * t / 2.0).collect();
            Tensor::cat(&halves, 0).sum(Kind::Float).backward();
            let without = Tensor::from_slice(&[7.0f32]).set_requires_grad(true);
            clip_gradients(tensors.iter().chain([&without]), largest);
            for (tensor, wanted) in tensors.iter().zip(wanted) {
                let found = tensor.grad().double_value(&[0]);
                assert!((found - wanted).abs() < 1e-5, "{found} instead of {wanted}");
            }
            assert!(!without.grad().defined());
        }
    }
}
