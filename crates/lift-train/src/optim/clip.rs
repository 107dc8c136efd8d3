//! Gradient clipping by the global norm (PyTorch's `clip_grad_norm_`).

use tch::Tensor;

/// Scales all gradients down so that their common norm is this, where it is larger.
///
/// The factor is computed on the device: nothing waits for it.
pub(super) fn clip_gradients<'a>(gradients: impl Iterator<Item = &'a Tensor>, largest_norm: f64) {
    let mut gradients: Vec<Tensor> = gradients.map(Tensor::shallow_clone).collect();
    let norms: Vec<Tensor> = gradients.iter().map(Tensor::norm).collect();
    let factor = (Tensor::stack(&norms, 0).norm() + 1e-6).reciprocal() * largest_norm;
    let factor = factor.clamp_max(1.0);
    for gradient in &mut gradients {
        let _ = gradient.g_mul_(&factor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_get_the_norm_that_is_asked_for_unless_theirs_is_smaller() {
        for (largest, wanted) in [(1.0, [0.6, 0.8]), (5.1, [3.0, 4.0]), (10.0, [3.0, 4.0])] {
            let gradients = [3.0f32, 4.0].map(|x| Tensor::from_slice(&[x, 0.0]));
            clip_gradients(gradients.iter(), largest);
            for (gradient, wanted) in gradients.iter().zip(wanted) {
                let found = gradient.double_value(&[0]);
                assert!((found - wanted).abs() < 1e-5, "{found} instead of {wanted}");
            }
        }
    }
}
