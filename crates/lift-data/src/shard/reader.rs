//! Reads shards: all small columns at open, images one at a time and in place.
//!
//! No memory map and no cache; a read is one positional read into the caller's buffer. Invariant:
//! bytes are handed out only after their checksum was found right.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::index::{Paths, ShardIndex};
use super::{Row, row_checksum};
use crate::decode::{self, DecodeError};
use crate::error::{Error, Result};
use crate::manifest::{Encoding, Manifest};

/// An opened shard folder: one split of one dataset. Threads may read from it at the same time.
#[derive(Debug)]
pub struct ShardReader {
    manifest: Manifest,
    shards: Vec<OpenShard>,
    rows: Vec<Row>,
    paths: Paths,
}

#[derive(Debug)]
struct OpenShard {
    path: PathBuf,
    file: File,
    first_row: usize,
}

impl ShardReader {
    /// Opens the shard folder `dir`, which must be complete. Sizes, row counts and labels are checked
    /// against the manifest; images are not read.
    pub fn open(dir: &Path) -> Result<Self> {
        let manifest = Manifest::load(dir)?;
        let mut reader = Self {
            manifest,
            shards: Vec::new(),
            rows: Vec::new(),
            paths: Paths::default(),
        };
        for (number, entry) in reader.manifest.shards.iter().enumerate() {
            let index = ShardIndex::open(dir, &reader.manifest, entry, number as u32)?;
            let first_row = reader.rows.len();
            reader.shards.push(OpenShard {
                path: index.path,
                file: index.file,
                first_row,
            });
            reader.rows.extend(index.rows);
            reader.paths.append(&index.paths);
        }
        let mut counts = vec![0_u64; reader.manifest.num_classes()];
        for row in &reader.rows {
            counts[row.label as usize] += 1;
        }
        if counts != reader.manifest.class_counts {
            let path = dir.join(crate::manifest::MANIFEST_FILE);
            let reason = "class_counts differ from the labels in the shards".to_owned();
            return Err(Error::Manifest { path, reason });
        }
        Ok(reader)
    }

    /// What the folder says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row at `index`, which must be below [`ShardReader::len`].
    pub fn row(&self, index: usize) -> &Row {
        &self.rows[index]
    }

    /// All rows, in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Where the image at `index` came from, relative to its source; for messages.
    pub fn path(&self, index: usize) -> &str {
        self.paths.get(index)
    }

    /// The file name of the shard that holds the image at `index`.
    pub fn shard_file(&self, index: usize) -> &str {
        &self.manifest.shards[self.rows[index].shard as usize].file
    }

    /// Reads the stored bytes of the image at `index` into `buf` (cleared first) and verifies them.
    pub fn read_bytes(&self, index: usize, buf: &mut Vec<u8>) -> Result<()> {
        let row = &self.rows[index];
        let shard = &self.shards[row.shard as usize];
        read_row(&shard.file, row, buf).map_err(|fault| match fault {
            RowFault::Read(source) => Error::Read {
                path: shard.path.clone(),
                source,
            },
            RowFault::Checksum => Error::Checksum {
                path: shard.path.clone(),
                row: (index - shard.first_row) as u64,
                source_path: self.path(index).to_owned(),
            },
        })
    }

    /// Reads the image at `index` as RGB8 pixels into `buf` (rows from the top, three bytes a pixel)
    /// and returns its width and height. The checksum is verified before anything is decoded.
    pub fn read_rgb(&self, index: usize, buf: &mut Vec<u8>) -> Result<(u32, u32)> {
        self.read_bytes(index, buf)?;
        let row = &self.rows[index];
        if self.manifest.encoding == Encoding::Rgb8 {
            return Ok((row.width, row.height));
        }
        let failed = |source: DecodeError| Error::Decode {
            path: self.path(index).to_owned(),
            source,
        };
        let image = decode::decode_rgb(buf, self.manifest.orientation).map_err(failed)?;
        *buf = image.pixels;
        Ok((image.width, image.height))
    }
}

/// What can be wrong with one stored image.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowFault {
    #[error("cannot read: {0}")]
    Read(std::io::Error),
    #[error("checksum mismatch")]
    Checksum,
}

/// Reads and verifies one image's stored bytes.
pub(crate) fn read_row(
    file: &File,
    row: &Row,
    buf: &mut Vec<u8>,
) -> std::result::Result<(), RowFault> {
    buf.resize(row.num_bytes as usize, 0);
    file.read_exact_at(buf, row.offset)
        .map_err(RowFault::Read)?;
    if row_checksum(buf, row.id, row.label, row.width, row.height) != row.checksum {
        return Err(RowFault::Checksum);
    }
    Ok(())
}
