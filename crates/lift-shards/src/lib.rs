//! The shard format and the words that all share: class names, splits, bands; the manifest; writing, reading, verifying.
//!
//! It knows no sources and no builds. Invariant: what is read was written whole, as hashes show, or is refused by name.

// `deny`, not `forbid`: `shard::map` maps files.
#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod atomic;
pub mod classes;
pub mod error;
pub mod footer;
pub mod layout;
pub mod longtail;
pub mod manifest;
pub mod order;
pub mod outputs;
pub mod pages;
pub mod quarantine;
pub mod ranks;
pub mod sealed;
pub mod shard;
pub mod split;
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
