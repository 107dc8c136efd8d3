//! Shards, or image files, -> batches of u8 pixels: which rows in which order, which part of each image, prepared ahead of use.
//!
//! It knows no tensors and no models. Every random draw is a function of (seed, epoch, row id, repeat), never of a thread or of
//! the order of work. Invariant: a batch holds the same bytes however many threads prepare it.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod augment;
mod bare;
mod batch;
mod buffers;
mod cache;
mod classic;
mod draws;
mod epoch;
mod error;
mod files;
mod images;
mod layout;
mod prefetch;
mod shuffle;
mod streams;
mod view;
mod window;

pub use augment::{AreaSchedule, Augmentation, mda_crop};
pub use bare::Bare;
pub use batch::{Batch, Batches};
pub use buffers::{Buffers, Memory, Pixels};
pub use cache::Cache;
pub use draws::{Sampler, rows_by_class, sample};
pub use epoch::{Draw, Draws};
pub use error::{Error, Result};
pub use files::{FileImage, ImageFiles, Place};
pub use images::Images;
pub use layout::Layout;
pub use prefetch::Loader;
pub use shuffle::Shuffle;
pub use streams::image_rng;
pub use view::View;
