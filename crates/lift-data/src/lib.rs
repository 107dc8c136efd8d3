//! Long-tailed image datasets: splits, decoding, Parquet shards, statistics.
//!
//! One direction: images and their list -> [`split`] and [`longtail`] choose -> [`decode`] and
//! [`resize`] -> [`shard`] files -> [`manifest`], written last. Other crates read through
//! [`ShardReader`]. Nothing here knows tensors or models.

// `deny`, not `forbid`: `shard::map` maps files, `resize::avx512` uses instructions that not every CPU has.
#![deny(unsafe_code)]
// Only `terminal` prints.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod build;
pub mod dataset;
pub mod error;
pub mod export;
pub mod git_blob;
pub mod lists;
pub mod profile;
pub mod report;
pub mod sampling;
pub mod source;
pub mod stats;
#[cfg(test)]
#[path = "../../../tests/src/shared_folder.rs"]
mod testing;

pub use error::{Error, Result};

/// The program's version and its JPEG decoder: all of the program that decides a shard's bytes.
pub const VERSION: &str = if cfg!(feature = "turbojpeg") {
    concat!(env!("CARGO_PKG_VERSION"), " (libjpeg-turbo)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (zune-jpeg)")
};
