//! Long-tailed image datasets: sources -> choice -> build, and reports on them.
//!
//! One direction: images and their list ([`source`]) -> what is taken of them ([`choice`], [`sampling`], [`profile`]) -> [`build`], which
//! decodes by `lift_image` and writes by `lift_shards`. Nothing here knows tensors or models.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod build;
pub mod choice;
pub mod dataset;
pub mod error;
pub mod export;
pub mod git_blob;
pub mod lists;
pub mod profile;
pub mod query;
pub mod report;
pub mod sampling;
pub mod source;
pub mod sql;
pub mod stats;
pub mod table;
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
