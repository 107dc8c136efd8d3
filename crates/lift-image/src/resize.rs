//! Cropping and resizing RGB8 pixels as Pillow and torchvision do: antialiased bicubic.
//!
//! It decides no sizes and no crops beyond torchvision's short-side rule. Invariant: pixels outside
//! a crop never bleed into it, and a crop of the wanted size is copied unchanged.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod kernel;
#[cfg(target_arch = "x86_64")]
mod plans;
#[cfg(target_arch = "x86_64")]
mod weights;

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{self as fir, FilterType, ResizeAlg, ResizeOptions};

use crate::error::{Error, Result};
use kernel::Kernel;
pub use kernel::ResizeKernel;

/// Borrowed RGB8 pixels, rows from the top, three bytes a pixel, no padding.
#[derive(Debug, Clone, Copy)]
pub struct RgbView<'a> {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub pixels: &'a [u8],
}

/// A rectangle of an image, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CropBox {
    /// Columns left of it.
    pub left: u32,
    /// Rows above it.
    pub top: u32,
    /// Its columns, at least 1.
    pub width: u32,
    /// Its rows, at least 1.
    pub height: u32,
}

impl CropBox {
    /// The whole of an image.
    pub fn whole(width: u32, height: u32) -> Self {
        Self {
            left: 0,
            top: 0,
            width,
            height,
        }
    }
}

/// Resizes images one after the other and keeps its buffers between them: one a thread.
#[derive(Debug, Default)]
pub struct Resizer {
    inner: fir::Resizer,
    kernel: Kernel,
    /// Rows that the library has resized, columns that it has not yet.
    between: Vec<u8>,
}

impl Resizer {
    /// A resizer without buffers; they grow with the first images.
    pub fn new() -> Self {
        Self::default()
    }

    /// One with a kernel of [`ResizeKernel::available`], to compare them.
    pub fn with_kernel(kernel: ResizeKernel) -> Self {
        let has_it = ResizeKernel::available().contains(&kernel);
        assert!(has_it, "this CPU has no {kernel}");
        Self {
            kernel: Kernel::of(kernel),
            ..Self::default()
        }
    }

    /// Writes the `crop` of `src`, resized to `dst_width` x `dst_height`, into `dst` (RGB8, rows from
    /// the top). Bicubic is Catmull-Rom (a = -0.5, as in Pillow), widened when shrinking.
    ///
    /// A crop outside the image, a side of 0 or a buffer of the wrong length is an error.
    pub fn crop_resize(
        &mut self,
        src: RgbView<'_>,
        crop: CropBox,
        dst_width: u32,
        dst_height: u32,
        dst: &mut [u8],
    ) -> Result<()> {
        check(src, crop, dst_width, dst_height, dst.len())?;
        if (crop.width, crop.height) == (dst_width, dst_height) {
            copy_rows(src, crop, dst);
            return Ok(());
        }
        if crop.height == dst_height || crop.width == dst_width {
            return self.pass(src, crop, dst_width, dst_height, dst);
        }
        let size = (dst_width, dst_height);
        if self.kernel.crop_resize(src, crop, size, dst) {
            return Ok(());
        }
        self.two_passes(src, crop, dst_width, dst_height, dst)
    }

    /// Pillow's order, rows first: between the passes values are cut to 0..=255, so that the other
    /// order (which the library would often choose) is up to 4 grey levels off at sharp edges.
    fn two_passes(
        &mut self,
        src: RgbView<'_>,
        crop: CropBox,
        dst_width: u32,
        dst_height: u32,
        dst: &mut [u8],
    ) -> Result<()> {
        let mut between = std::mem::take(&mut self.between);
        between.resize(dst_width as usize * crop.height as usize * 3, 0);
        let rows = self.pass(src, crop, dst_width, crop.height, &mut between);
        let view = RgbView {
            width: dst_width,
            height: crop.height,
            pixels: &between,
        };
        let whole = CropBox::whole(view.width, view.height);
        let outcome = rows.and_then(|()| self.pass(view, whole, dst_width, dst_height, dst));
        self.between = between;
        outcome
    }

    /// One call of the library; all sizes are checked. Typed, because the other form would compile the library's code for all its
    /// kinds of pixels into this crate: half of its machine code, and minutes.
    fn pass(
        &mut self,
        src: RgbView<'_>,
        crop: CropBox,
        dst_width: u32,
        dst_height: u32,
        dst: &mut [u8],
    ) -> Result<()> {
        let failed = |reason: String| Error::Resize { reason };
        let source = TypedImageRef::<U8x3>::from_buffer(src.width, src.height, src.pixels)
            .map_err(|err| failed(err.to_string()))?;
        let view =
            TypedCroppedImage::from_ref(&source, crop.left, crop.top, crop.width, crop.height)
                .map_err(|err| failed(err.to_string()))?;
        let mut target = TypedImage::<U8x3>::from_buffer(dst_width, dst_height, dst)
            .map_err(|err| failed(err.to_string()))?;
        let options = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
            .use_alpha(false);
        self.inner
            .resize_typed(&view, &mut target, &options)
            .map_err(|err| failed(err.to_string()))
    }
}

/// The size after the short side became `short`: the long side is `floor(short * long / short side)`
/// (torchvision's rule), at least 1. It enlarges as well as shrinks.
pub fn short_side_size(width: u32, height: u32, short: u32) -> (u32, u32) {
    let (small, large) = (width.min(height).max(1), width.max(height));
    let long = u64::from(short) * u64::from(large) / u64::from(small);
    let long = u32::try_from(long).unwrap_or(u32::MAX).max(1);
    if width <= height {
        (short.max(1), long)
    } else {
        (long, short.max(1))
    }
}

fn check(src: RgbView<'_>, crop: CropBox, width: u32, height: u32, dst_len: usize) -> Result<()> {
    let wrong = |reason: String| Err(Error::Resize { reason });
    if rgb_len(src.width, src.height) != src.pixels.len() as u128 {
        return wrong(format!(
            "{} bytes are not {}x{} RGB pixels",
            src.pixels.len(),
            src.width,
            src.height
        ));
    }
    let inside = |start: u32, side: u32, whole: u32| {
        side > 0 && u64::from(start) + u64::from(side) <= u64::from(whole)
    };
    if !inside(crop.left, crop.width, src.width) || !inside(crop.top, crop.height, src.height) {
        return wrong(format!(
            "{crop:?} lies outside a {}x{} image",
            src.width, src.height
        ));
    }
    if width == 0 || height == 0 || rgb_len(width, height) != dst_len as u128 {
        return wrong(format!(
            "a buffer of {dst_len} bytes does not hold {width}x{height} pixels"
        ));
    }
    Ok(())
}

fn rgb_len(width: u32, height: u32) -> u128 {
    u128::from(width) * u128::from(height) * 3
}

fn copy_rows(src: RgbView<'_>, crop: CropBox, dst: &mut [u8]) {
    let stride = src.width as usize * 3;
    let row = crop.width as usize * 3;
    let start = crop.top as usize * stride + crop.left as usize * 3;
    for (y, out) in dst.chunks_exact_mut(row).enumerate() {
        let from = start + y * stride;
        out.copy_from_slice(&src.pixels[from..from + row]);
    }
}

#[cfg(test)]
mod tests;
