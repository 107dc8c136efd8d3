//! Shards: Parquet files of which every image can be read in place.
//!
//! This module and its children are the only place that knows the Parquet schema
//! (`docs/shard-format.md`). Invariant: every image lies alone on its page, uncompressed, so its bytes
//! are a plain slice of the file, and its checksum covers them and the row's id, label and size; all
//! other bytes that are read are covered by hashes in the manifest.

mod describe;
mod index;
mod kept;
mod map;
mod names;
mod reader;
mod regions;
mod schema;
mod writer;

use std::hash::Hasher;

use twox_hash::XxHash3_64;

pub use describe::{ShardShape, shard_shape};
pub use index::ShardIndex;
pub(crate) use kept::check_columns;
pub use kept::{ColumnKind, KeptColumn};
pub use names::{OWN_COLUMNS, free_name};
pub use reader::ShardReader;
pub use schema::ShardSchema;
pub use schema::is_shard;
pub use writer::{NewRow, ShardWriter};

/// The most bytes one image may have, so that a page's 32-bit size never overflows.
pub const MAX_IMAGE_BYTES: usize = 1 << 30;

/// One image's row, without its path and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The image's position in the list that the split was built from.
    pub id: u64,
    /// Its class.
    pub label: u32,
    /// Pixels a row, after orientation and resizing.
    pub width: u32,
    /// Pixel rows.
    pub height: u32,
    /// Length of the stored bytes.
    pub num_bytes: u32,
    /// [`row_checksum`] of the stored bytes.
    pub checksum: u64,
    /// Which shard of the manifest holds it.
    pub shard: u32,
    /// Where its bytes start in that file.
    pub offset: u64,
}

/// XXH3-64 over the stored bytes, then the id (64 bits), label, width and height (32 bits each), all
/// little-endian: a row whose image was exchanged for another's fails as well.
pub fn row_checksum(bytes: &[u8], id: u64, label: u32, width: u32, height: u32) -> u64 {
    let (mut hash, meta) = (XxHash3_64::new(), meta(id, label, width, height));
    hash.write(bytes);
    hash.write(&meta);
    hash.finish()
}

/// The hash of a row's stored bytes alone, and its checksum, in one pass.
pub(crate) fn row_hashes(bytes: &[u8], row: &Row) -> (u64, u64) {
    let mut hash = XxHash3_64::new();
    hash.write(bytes);
    let content = hash.finish();
    hash.write(&meta(row.id, row.label, row.width, row.height));
    (content, hash.finish())
}

fn meta(id: u64, label: u32, width: u32, height: u32) -> [u8; 20] {
    let mut meta = [0; 20];
    meta[..8].copy_from_slice(&id.to_le_bytes());
    meta[8..12].copy_from_slice(&label.to_le_bytes());
    meta[12..16].copy_from_slice(&width.to_le_bytes());
    meta[16..].copy_from_slice(&height.to_le_bytes());
    meta
}

#[cfg(test)]
mod tests;
