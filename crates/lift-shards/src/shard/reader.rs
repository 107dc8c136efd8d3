//! Reads shards: all small columns at open, images one at a time and in place.
//!
//! Images are lent from the mapped files, without a copy and without a cache of our own unless it is asked for. Verifying a folder reads
//! into a buffer instead, because a damaged file may end anywhere. Invariant: bytes are handed out only
//! after their checksum was found right, each time anew.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;

use super::index::{Paths, ShardIndex};
use super::kept::read_kept;
use super::map::MappedFile;
use super::{Row, row_checksum};
use crate::error::{Error, Result};
use crate::manifest::{Encoding, Manifest};
use lift_image::decode::{Decoder, Part, Wanted};
use lift_image::resize::{CropBox, RgbView};

/// Bytes that may be lent before the files' pages are taken out of the process's memory again: without it
/// a process seems to grow to the size of its dataset.
const BYTES_KEPT: u64 = 64 << 20;

/// An opened shard folder: one split of one dataset. Threads may read from it at the same time.
#[derive(Debug)]
pub struct ShardReader {
    dir: PathBuf,
    manifest: Manifest,
    shards: Vec<OpenShard>,
    rows: Vec<Row>,
    paths: Paths,
    bytes_lent: AtomicU64,
}

#[derive(Debug)]
struct OpenShard {
    path: PathBuf,
    file: MappedFile,
    first_row: usize,
}

impl ShardReader {
    /// Opens the shard folder `dir`, which must be complete. Sizes, row counts and labels are checked
    /// against the manifest; images are not read.
    pub fn open(dir: &Path) -> Result<Self> {
        let manifest = Manifest::load(dir)?;
        let mut reader = Self {
            dir: dir.to_owned(),
            manifest,
            shards: Vec::new(),
            rows: Vec::new(),
            paths: Paths::default(),
            bytes_lent: AtomicU64::new(0),
        };
        for (number, entry) in reader.manifest.shards.iter().enumerate() {
            let index = ShardIndex::open(dir, &reader.manifest, entry, number as u32)?;
            let first_row = reader.rows.len();
            let mapped = MappedFile::new(index.file, entry.bytes);
            let file = mapped.map_err(Error::read(&index.path))?;
            let path = index.path;
            reader.shards.push(OpenShard {
                path,
                file,
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

    /// Reads all shards into memory, [`ShardReader::num_bytes`] bytes of it, from which images are lent from then on.
    /// `done` is told the bytes of each shard that is read.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read_into_memory(&mut self, mut done: impl FnMut(u64)) -> Result<()> {
        for (shard, entry) in self.shards.iter_mut().zip(&self.manifest.shards) {
            let read = shard.file.read_into_memory();
            read.map_err(Error::read(&shard.path))?;
            done(entry.bytes);
        }
        Ok(())
    }

    /// Bytes of all shard files.
    pub fn num_bytes(&self) -> u64 {
        self.manifest.bytes()
    }

    /// What the folder says of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The columns of the user's tables that were kept, a row an image; read from the files each time.
    ///
    /// # Errors
    /// When a shard's small columns are not those of the manifest.
    pub fn kept_columns(&self) -> Result<RecordBatch> {
        read_kept(&self.dir, &self.manifest)
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

    /// The stored bytes of the image at `index`, lent from the mapped file. They are verified each time.
    pub fn bytes(&self, index: usize) -> Result<&[u8]> {
        let row = &self.rows[index];
        let shard = &self.shards[row.shard as usize];
        let slice = shard.file.slice(row.offset, row.num_bytes);
        let bytes = slice.map_err(Error::read(&shard.path))?;
        if !is_intact(row, bytes) {
            return Err(Error::Checksum {
                path: shard.path.clone(),
                row: (index - shard.first_row) as u64,
                source_path: self.path(index).to_owned(),
            });
        }
        self.count_lent(u64::from(row.num_bytes));
        Ok(bytes)
    }

    fn count_lent(&self, bytes: u64) {
        let before = self.bytes_lent.fetch_add(bytes, Ordering::Relaxed);
        // One thread steps over the edge, whatever the others add meanwhile.
        if before / BYTES_KEPT != (before + bytes) / BYTES_KEPT {
            self.shards.iter().for_each(|shard| shard.file.release());
        }
    }

    /// The image at `index` as RGB8 pixels: lent from the mapped file where it holds pixels, decoded by
    /// `decoder` where it holds image files. The checksum is verified before anything is decoded.
    pub fn rgb<'a>(&'a self, index: usize, decoder: &'a mut Decoder) -> Result<RgbView<'a>> {
        let part = self.part(index, Wanted::All, decoder);
        part.map(|part| part.image)
    }

    /// What is wanted of the image at `index`, as RGB8 pixels: all of it where the shard holds pixels. As
    /// [`ShardReader::rgb`] otherwise.
    pub fn part<'a>(
        &'a self,
        index: usize,
        wanted: Wanted,
        decoder: &'a mut Decoder,
    ) -> Result<Part<'a>> {
        let bytes = self.bytes(index)?;
        let row = &self.rows[index];
        if self.manifest.encoding == Encoding::Rgb8 {
            let crop = match wanted {
                Wanted::Crop { crop, .. } => crop,
                Wanted::All | Wanted::ShortSide(_) => CropBox::whole(row.width, row.height),
            };
            let image = RgbView {
                width: row.width,
                height: row.height,
                pixels: bytes,
            };
            let size = (row.width, row.height);
            return Ok(Part { image, crop, size });
        }
        let decoded = decoder.part(bytes, self.manifest.rules(), wanted);
        decoded.map_err(|source| Error::Decode {
            path: self.path(index).to_owned(),
            source,
        })
    }

    /// Tells the system that the image at `index` will be loaded soon.
    pub fn will_need(&self, index: usize) {
        let row = &self.rows[index];
        let shard = &self.shards[row.shard as usize];
        shard.file.will_need(row.offset, row.num_bytes);
    }
}

fn is_intact(row: &Row, bytes: &[u8]) -> bool {
    row_checksum(bytes, row.id, row.label, row.width, row.height) == row.checksum
}
