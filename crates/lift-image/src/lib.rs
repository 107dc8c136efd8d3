//! Bytes to pixels and back: decoding, orientation, cropping, resizing, encoding.
//!
//! It knows no files and no datasets. Invariant: the same bytes and settings give the same pixels, and the same pixels the same
//! bytes, on every processor.

// `deny`, not `forbid`: `resize::avx512` and `resize::avx2` use instructions that not every CPU has, `libjpeg` calls the C library.
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod decode;
pub mod encode;
mod error;
#[cfg(feature = "turbojpeg")]
mod libjpeg;
pub mod resize;
mod subsampling;

#[cfg(test)]
#[path = "../../../tests/src/shared_folder.rs"]
mod testing;

pub use error::{Error, Result};
pub use resize::{CropBox, ResizeKernel, Resizer, RgbView};
