// What libtorch has and tch does not, for src/libtorch.rs. ATen's and c10's headers alone: CUDA goes through their virtual
// interfaces, so that neither a CUDA toolkit nor libtorch_cuda is needed to build or to start.
#include <ATen/DeviceAccelerator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <c10/core/AllocatorConfig.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <vector>

using at::Tensor;

#if defined(__x86_64__)
// MKL's products add in an order that follows the number of threads, unless it is told to keep to one, as it can be on Intel's CPUs. It
// reads this before its first product, which comes after this. What the user has set decides.
static const bool one_order = [] {
  __builtin_cpu_init();
  if (__builtin_cpu_is("intel") && __builtin_cpu_supports("avx512f")) {
    setenv("MKL_CBWR", "AVX512,STRICT", 0);
  } else if (__builtin_cpu_is("intel") && __builtin_cpu_supports("avx2")) {
    setenv("MKL_CBWR", "AVX2,STRICT", 0);
  }
  return true;
}();
#endif

static thread_local std::string message;

// No exception may pass into Rust.
template <typename Work> static int guarded(Work work) {
  try {
    at::NoGradGuard no_grad;
    work();
    return 0;
  } catch (const std::exception &e) {
    message = e.what();
    return 1;
  }
}

// A number that a kernel reads on the device of `beside`; the kernels look at its pointer alone.
static const Tensor &number(const Tensor *tensor, const Tensor *beside) {
  TORCH_CHECK(tensor->device() == beside->device() && tensor->numel() == 1 && tensor->scalar_type() == at::kFloat,
              "a number for tensors on ", beside->device(), " is ", tensor->toString(), " of shape ", tensor->sizes(),
              " on ", tensor->device());
  return *tensor;
}

static std::optional<Tensor> optional(const Tensor *tensor, const Tensor *beside) {
  return tensor ? std::optional<Tensor>(number(tensor, beside)) : std::nullopt;
}

extern "C" {

const char *lift_message() { return message.c_str(); }

int lift_set_grad(const Tensor *tensor, const Tensor *gradient) {
  return guarded([&] {
    TORCH_CHECK(tensor->is_leaf() && tensor->options().type_equal(gradient->options()) &&
                    tensor->sizes() == gradient->sizes(),
                "a gradient of shape ", gradient->sizes(), " for a tensor of shape ", tensor->sizes());
    tensor->mutable_grad() = *gradient;
  });
}

int lift_sgd(const Tensor *values, const Tensor *gradients, const Tensor *velocities, double lr, double momentum,
             double weight_decay, const Tensor *overflow) {
  return guarded([&] {
    // The kernel on CUDA has no use for velocities without momentum, and refuses them.
    auto kept = momentum == 0 ? std::vector<Tensor>{} : std::vector<Tensor>{*velocities};
    at::_fused_sgd_({*values}, {*gradients}, kept, weight_decay, momentum, lr, 0.0, false, false, false, {},
                    optional(overflow, values));
  });
}

int lift_adamw(const Tensor *values, const Tensor *gradients, const Tensor *means, const Tensor *squares,
               const Tensor *steps, double lr, double beta_1, double beta_2, double weight_decay, double eps,
               const Tensor *overflow) {
  return guarded([&] {
    at::_fused_adamw_({*values}, {*gradients}, {*means}, {*squares}, {}, {number(steps, values)}, lr, beta_1, beta_2,
                      weight_decay, eps, false, false, {}, optional(overflow, values));
  });
}

int lift_unscale(const Tensor *gradients, const Tensor *overflow, const Tensor *reciprocal_scale) {
  return guarded([&] {
    Tensor found = number(overflow, gradients);
    at::_amp_foreach_non_finite_check_and_unscale_({*gradients}, found, number(reciprocal_scale, gradients));
  });
}

// All bytes of an accelerator's memory.
int lift_total_memory(int device, int64_t *bytes) {
  return guarded([&] {
    auto memory = at::accelerator::getMemoryInfo(static_cast<c10::DeviceIndex>(device));
    *bytes = static_cast<int64_t>(memory.second);
  });
}

// The most bytes that were taken from the device for tensors. Wants a tensor made before.
int lift_peak_memory(int device, int64_t *bytes) {
  return guarded([&] {
    auto stats = at::accelerator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *bytes = stats.reserved_bytes[0].peak;
  });
}

int lift_synchronize(int device) {
  return guarded([&] { at::accelerator::synchronizeDevice(static_cast<c10::DeviceIndex>(device)); });
}

int lift_allocator_settings(const char *settings) {
  return guarded([&] { c10::CachingAllocator::setAllocatorSettings(settings); });
}
}
