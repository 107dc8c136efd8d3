//! Which instructions resize: the best that the CPU has, all with the same bytes.

use std::fmt;

use super::{CropBox, RgbView};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Which code resizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResizeKernel {
    /// Ours, with AVX-512 (VBMI, VNNI).
    Avx512,
    /// Ours, with AVX2.
    Avx2,
    /// `fast_image_resize`, with what it finds.
    Library,
}

impl ResizeKernel {
    /// Those that this CPU has, the fastest first.
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if avx512::Kernel::is_available() {
                kernels.push(Self::Avx512);
            }
            if avx2::Kernel::is_available() {
                kernels.push(Self::Avx2);
            }
        }
        kernels.push(Self::Library);
        kernels
    }
}

impl fmt::Display for ResizeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Library => "fast_image_resize",
        })
    }
}

/// The chosen one, with what it keeps.
#[derive(Debug)]
pub(super) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Kernel),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Kernel),
    Library,
}

impl Default for Kernel {
    fn default() -> Self {
        Self::of(ResizeKernel::available()[0])
    }
}

impl Kernel {
    /// `kernel` is one of [`ResizeKernel::available`].
    pub(super) fn of(kernel: ResizeKernel) -> Self {
        match kernel {
            #[cfg(target_arch = "x86_64")]
            ResizeKernel::Avx512 => Self::Avx512(avx512::Kernel::default()),
            #[cfg(target_arch = "x86_64")]
            ResizeKernel::Avx2 => Self::Avx2(avx2::Kernel::default()),
            _ => Self::Library,
        }
    }

    /// Resizes if it can, and says whether it did. All sizes are checked; both sides of the crop change.
    pub(super) fn crop_resize(
        &mut self,
        src: RgbView<'_>,
        crop: CropBox,
        size: (u32, u32),
        dst: &mut [u8],
    ) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(kernel) => kernel.crop_resize(src, crop, size, dst),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(kernel) => kernel.crop_resize(src, crop, size, dst),
            Self::Library => false,
        }
    }
}
