//! Long-tailed image datasets: splits, decoding, Parquet shards, statistics.
//!
//! One direction: images and their list -> [`split`] and [`longtail`] choose -> [`decode`] and
//! [`resize`] -> [`shard`] files -> [`manifest`], written last. Other crates read through
//! [`ShardReader`]. Nothing here knows tensors or models.

// `deny`, not `forbid`: `shard::map` maps files, `resize::avx512` uses instructions that not every CPU has.
#![deny(unsafe_code)]
// Only `terminal` prints.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod atomic;
pub mod build;
pub mod classes;
pub mod dataset;
pub mod error;
pub mod export;
pub mod footer;
pub mod git_blob;
pub mod layout;
pub mod limits;
pub mod lists;
pub mod longtail;
pub mod manifest;
pub mod order;
pub mod outputs;
pub mod pages;
pub mod profile;
pub mod quarantine;
pub mod ranks;
pub mod report;
pub mod sampling;
mod sealed;
pub mod shapes;
pub mod shard;
pub mod source;
pub mod split;
pub mod stats;
pub mod table_file;
#[cfg(test)]
#[path = "../../../tests/src/shared_folder.rs"]
mod testing;
mod thrift;
pub mod verify;

pub use classes::ClassNames;
pub use error::{Error, Result};
pub use manifest::{Encoding, Manifest};
pub use shard::{Row, ShardReader, ShardWriter};
pub use split::{Band, BandEdges, Split};

/// The program's version and its JPEG decoder: all of the program that decides a shard's bytes.
pub const VERSION: &str = if cfg!(feature = "turbojpeg") {
    concat!(env!("CARGO_PKG_VERSION"), " (libjpeg-turbo)")
} else {
    concat!(env!("CARGO_PKG_VERSION"), " (zune-jpeg)")
};
