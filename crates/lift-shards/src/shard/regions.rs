//! What of a shard is read and checked at open: all but the images' pages.
//!
//! A shard is, front to back: small columns and images of each row group in turn, then page index and
//! footer. Invariant: a part is handed to the Parquet library only after its hash was found right, from
//! the same memory, so the library never sees damaged bytes.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use bytes::{Buf, Bytes, buf::Reader};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::ColumnPath;
use twox_hash::XxHash3_64;

use crate::manifest::ShardEntry;

/// Parts of a file in memory, in the order of their place.
#[derive(Debug, Default)]
pub(super) struct Parts {
    file_bytes: u64,
    parts: Vec<(u64, Bytes)>,
}

impl Parts {
    /// Reads page index and footer, and checks them.
    pub(super) fn read_footer(file: &File, entry: &ShardEntry) -> Result<Self, String> {
        let start = footer_start(entry)?;
        let footer = read(file, start..entry.bytes)
            .map_err(|err| format!("cannot read the footer: {err}"))?;
        if format!("{:016x}", XxHash3_64::oneshot(&footer)) != entry.footer_xxh3 {
            return Err("checksum mismatch in the footer".to_owned());
        }
        Ok(Self {
            file_bytes: entry.bytes,
            parts: vec![(start, footer)],
        })
    }

    /// Reads the small columns, where `metadata` says that they lie, and checks them.
    pub(super) fn read_columns(
        &mut self,
        file: &File,
        entry: &ShardEntry,
        metadata: &ParquetMetaData,
        image: &ColumnPath,
    ) -> Result<(), String> {
        let mut hash = XxHash3_64::new();
        let mut parts = Vec::new();
        for range in outside_images(metadata, image, footer_start(entry)?)? {
            let start = range.start;
            let bytes =
                read(file, range).map_err(|err| format!("cannot read the small columns: {err}"))?;
            hash.write(&bytes);
            parts.push((start, bytes));
        }
        if format!("{:016x}", hash.finish()) != entry.columns_xxh3 {
            return Err("checksum mismatch in the small columns".to_owned());
        }
        parts.append(&mut self.parts);
        self.parts = parts;
        Ok(())
    }

    fn find(&self, start: u64) -> Option<Bytes> {
        let (at, bytes) = self.parts.iter().rev().find(|(at, _)| *at <= start)?;
        let skip = usize::try_from(start - at).ok()?;
        (skip <= bytes.len()).then(|| bytes.slice(skip..))
    }
}

/// The hash of the small columns of a file that was just written.
pub(super) fn hash_columns(
    file: &File,
    metadata: &ParquetMetaData,
    image: &ColumnPath,
    footer_start: u64,
) -> io::Result<XxHash3_64> {
    let mut hash = XxHash3_64::new();
    let ranges = outside_images(metadata, image, footer_start).map_err(io::Error::other)?;
    for range in ranges {
        hash.write(&read(file, range)?);
    }
    Ok(hash)
}

/// All of the file before the footer that is no page of the image column.
fn outside_images(
    metadata: &ParquetMetaData,
    image: &ColumnPath,
    footer_start: u64,
) -> Result<Vec<Range<u64>>, String> {
    let mut ranges = Vec::new();
    let mut at = 0;
    for group in metadata.row_groups() {
        let chunk = group
            .columns()
            .iter()
            .find(|chunk| chunk.column_path() == image)
            .ok_or_else(|| format!("there is no column `{image}`"))?;
        let outside = || "the image column lies outside the file".to_owned();
        let start = u64::try_from(chunk.data_page_offset()).map_err(|_| outside())?;
        let bytes = u64::try_from(chunk.compressed_size()).map_err(|_| outside())?;
        let end = start.checked_add(bytes).ok_or_else(outside)?;
        if start < at || end > footer_start {
            return Err(outside());
        }
        ranges.push(at..start);
        at = end;
    }
    ranges.push(at..footer_start);
    Ok(ranges)
}

fn footer_start(entry: &ShardEntry) -> Result<u64, String> {
    entry
        .bytes
        .checked_sub(entry.footer_bytes)
        .ok_or_else(|| "the manifest's footer is longer than the file".to_owned())
}

fn read(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let mut bytes = vec![0; (range.end - range.start) as usize];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

impl Length for Parts {
    fn len(&self) -> u64 {
        self.file_bytes
    }
}

impl ChunkReader for Parts {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        self.find(start)
            .map(Buf::reader)
            .ok_or_else(|| missing(start))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.find(start)
            .filter(|bytes| bytes.len() >= length)
            .map(|bytes| bytes.slice(..length))
            .ok_or_else(|| missing(start))
    }
}

fn missing(start: u64) -> ParquetError {
    ParquetError::General(format!("byte {start} is not among the small columns"))
}
