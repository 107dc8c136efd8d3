//! What libtorch has and tch does not: gradients in memory of one's own, fused optimisers, memory of a device.
//!
//! The functions below call `cpp/shim.cpp`. They work on tensors of any device; those that ask for a device's memory want
//! its number. Invariant: no exception of C++ passes into Rust; it comes back as [`Error::Libtorch`].

use std::ffi::{CStr, CString, c_char, c_int};

use tch::{Device, Tensor};
use torch_sys::C_tensor;

use crate::error::{Error, Result};

unsafe extern "C" {
    fn lift_message() -> *const c_char;
    fn lift_set_grad(tensor: *const C_tensor, gradient: *const C_tensor) -> c_int;
    fn lift_sgd(
        values: *const C_tensor,
        gradients: *const C_tensor,
        velocities: *const C_tensor,
        lr: f64,
        momentum: f64,
        weight_decay: f64,
        overflow: *const C_tensor,
    ) -> c_int;
    fn lift_adamw(
        values: *const C_tensor,
        gradients: *const C_tensor,
        means: *const C_tensor,
        squares: *const C_tensor,
        steps: *const C_tensor,
        lr: f64,
        beta_1: f64,
        beta_2: f64,
        weight_decay: f64,
        eps: f64,
        overflow: *const C_tensor,
    ) -> c_int;
    fn lift_unscale(
        gradients: *const C_tensor,
        overflow: *const C_tensor,
        reciprocal_scale: *const C_tensor,
    ) -> c_int;
    fn lift_total_memory(device: c_int, bytes: *mut i64) -> c_int;
    fn lift_peak_memory(device: c_int, bytes: *mut i64) -> c_int;
    fn lift_synchronize(device: c_int) -> c_int;
    fn lift_allocator_settings(settings: *const c_char) -> c_int;
}

/// Lets `backward` add the gradient of a leaf to `gradient`, a tensor of its shape, kind and device, which may be a view.
///
/// # Errors
/// When libtorch refuses it.
pub fn set_grad(leaf: &Tensor, gradient: &Tensor) -> Result<()> {
    // SAFETY: both are live tensors for the length of the call; the shim takes a reference of its own to the gradient.
    check(unsafe { lift_set_grad(leaf.as_ptr(), gradient.as_ptr()) })
}

/// A step of PyTorch's SGD in one kernel: `g += wd p; v = momentum v + g; p -= lr v`. It is left out where `overflow`, a
/// number on the device, is not 0.
///
/// # Errors
/// When the tensors differ in shape, kind or device.
pub fn sgd(
    [values, gradients, velocities]: [&Tensor; 3],
    lr: f64,
    momentum: f64,
    weight_decay: f64,
    overflow: Option<&Tensor>,
) -> Result<()> {
    // SAFETY: the tensors live for the length of the call; libtorch checks that they go together.
    check(unsafe {
        lift_sgd(
            values.as_ptr(),
            gradients.as_ptr(),
            velocities.as_ptr(),
            lr,
            momentum,
            weight_decay,
            pointer(overflow),
        )
    })
}

/// The constants of [`adamw`].
#[derive(Clone, Copy, Debug)]
pub struct AdamWConstants {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the two running means.
    pub betas: [f64; 2],
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the root.
    pub eps: f64,
}

/// A step of PyTorch's AdamW in one kernel, on values, gradients, means and squares; `steps`, an fp32 number, counts it.
/// It is left out where `overflow` is not 0.
///
/// # Errors
/// When the tensors differ in shape, kind or device.
pub fn adamw(
    [values, gradients, means, squares]: [&Tensor; 4],
    steps: &mut Tensor,
    constants: AdamWConstants,
    overflow: Option<&Tensor>,
) -> Result<()> {
    let _ = steps.g_add_scalar_(1.0);
    // SAFETY: the tensors live for the length of the call; libtorch checks that they go together.
    check(unsafe {
        lift_adamw(
            values.as_ptr(),
            gradients.as_ptr(),
            means.as_ptr(),
            squares.as_ptr(),
            steps.as_ptr(),
            constants.lr,
            constants.betas[0],
            constants.betas[1],
            constants.weight_decay,
            constants.eps,
            pointer(overflow),
        )
    })?;
    if let Some(overflow) = overflow {
        // It was no step.
        let _ = steps.g_sub_(overflow);
    }
    Ok(())
}

/// Multiplies gradients by a number on their device, and sets `overflow` to 1 where one of them is not finite.
///
/// # Errors
/// When the tensors differ in device or the numbers are not fp32.
pub fn unscale(gradients: &Tensor, overflow: &Tensor, reciprocal_scale: &Tensor) -> Result<()> {
    let (gradients, overflow) = (gradients.as_ptr(), overflow.as_ptr());
    // SAFETY: the tensors live for the length of the call; libtorch checks that they go together.
    check(unsafe { lift_unscale(gradients, overflow, reciprocal_scale.as_ptr()) })
}

/// All memory of an accelerator, in bytes; `None` on the CPU.
///
/// # Errors
/// When libtorch does not know the device.
pub fn total_memory(device: Device) -> Result<Option<u64>> {
    bytes_of(device, lift_total_memory)
}

/// The most memory of an accelerator that libtorch took for tensors so far, in bytes, after one was made there; `None` on the
/// CPU.
///
/// # Errors
/// When libtorch does not know the device.
pub fn peak_memory(device: Device) -> Result<Option<u64>> {
    bytes_of(device, lift_peak_memory)
}

fn bytes_of(
    device: Device,
    ask: unsafe extern "C" fn(c_int, *mut i64) -> c_int,
) -> Result<Option<u64>> {
    let Some(number) = accelerator(device) else {
        return Ok(None);
    };
    let mut bytes = 0;
    // SAFETY: both functions of the shim that are asked write one number, and libtorch checks the device's.
    check(unsafe { ask(number, &mut bytes) })?;
    Ok(Some(bytes.max(0) as u64))
}

/// Waits until a device has done all that it was given.
///
/// # Errors
/// When something that it was given failed.
pub fn synchronize(device: Device) -> Result<()> {
    match accelerator(device) {
        // SAFETY: a number is handed over, and libtorch checks it.
        Some(number) => check(unsafe { lift_synchronize(number) }),
        None => Ok(()),
    }
}

/// Lets libtorch take at most this share of a CUDA device's memory; to be called before its first tensor is made.
///
/// # Errors
/// When libtorch refuses it.
pub fn limit_memory(share: f64) -> Result<()> {
    let settings = CString::new(format!("per_process_memory_fraction:{share}"))
        .expect("a number has no zero byte");
    // SAFETY: the text ends with a zero byte and lives for the length of the call.
    check(unsafe { lift_allocator_settings(settings.as_ptr()) })
}

fn accelerator(device: Device) -> Option<c_int> {
    match device {
        Device::Cuda(number) => Some(number as c_int),
        _ => None,
    }
}

fn pointer(tensor: Option<&Tensor>) -> *const C_tensor {
    tensor.map_or(std::ptr::null(), Tensor::as_ptr)
}

fn check(failed: c_int) -> Result<()> {
    if failed == 0 {
        return Ok(());
    }
    // SAFETY: the shim's message ends with a zero byte and stays as it is until this thread's next call.
    let message = unsafe { CStr::from_ptr(lift_message()) }.to_string_lossy();
    // Below the first line stands where in libtorch it happened.
    let line = message.lines().next().unwrap_or_default();
    Err(Error::Libtorch(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, kind::FLOAT_CPU};

    #[test]
    fn gradients_are_added_where_they_are_told_to() {
        let all = Tensor::zeros([5], FLOAT_CPU);
        let leaf = Tensor::from_slice(&[1.0f32, 2.0]).set_requires_grad(true);
        set_grad(&leaf, &all.narrow(0, 2, 2)).unwrap();
        for _ in 0..2 {
            (&leaf * &leaf).sum(Kind::Float).backward();
        }
        assert_eq!(
            Vec::<f32>::try_from(&all).unwrap(),
            [0.0, 0.0, 4.0, 8.0, 0.0]
        );
        let message = set_grad(&leaf, &Tensor::zeros([3], FLOAT_CPU)).unwrap_err();
        assert!(matches!(message, Error::Libtorch(_)), "{message}");
    }

    #[test]
    fn an_overflow_is_seen_and_leaves_the_step_out() {
        // By hand: g = 0.125 (4, 8), v = 0.8 v + g, p -= 0.5 v.
        for (last, overflows, expected) in
            [(8.0, 0.0, [0.55f32, 1.3]), (f32::INFINITY, 1.0, [1.0, 2.0])]
        {
            let [values, gradients, velocities] =
                [[1.0f32, 2.0], [4.0, last], [0.5, 0.5]].map(|pair| Tensor::from_slice(&pair));
            let overflow = Tensor::from(0.0f32);
            unscale(&gradients, &overflow, &Tensor::from(0.125f32)).unwrap();
            assert_eq!(overflow.double_value(&[]), overflows);
            let all = [&values, &gradients, &velocities];
            sgd(all, 0.5, 0.8, 0.0, Some(&overflow)).unwrap();
            let difference = &values - Tensor::from_slice(&expected);
            assert!(difference.abs().max().double_value(&[]) < 1e-6, "{values}");
        }
    }

    #[test]
    fn steps_without_momentum_are_plain_and_numbers_must_be_numbers() {
        let [values, gradients, velocities] = [1.0f32, 4.0, 7.0].map(|x| Tensor::from_slice(&[x]));
        let all = [&values, &gradients, &velocities];
        // By hand: 1 - 0.1 (4 + 0.5).
        sgd(all, 0.1, 0.0, 0.5, None).unwrap();
        assert!((values.double_value(&[0]) - 0.55).abs() < 1e-6);
        for no_number in [Tensor::from(0.0f64), Tensor::zeros([2], FLOAT_CPU)] {
            assert!(
                sgd(all, 0.1, 0.0, 0.5, Some(&no_number)).is_err(),
                "{no_number:?}"
            );
        }
    }

    #[test]
    fn the_cpu_has_no_memory_of_its_own() {
        assert_eq!(total_memory(Device::Cpu).unwrap(), None);
        assert_eq!(peak_memory(Device::Cpu).unwrap(), None);
        synchronize(Device::Cpu).unwrap();
    }
}
