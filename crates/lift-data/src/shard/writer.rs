//! Writes rows into shard files, one after the other.
//!
//! Rows come in final order, already encoded; it neither decodes nor reorders, and the manifest is
//! its caller's. Invariant: the files depend on the rows and the target size alone.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, UInt64Builder,
};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding as ParquetEncoding};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use xxhash_rust::xxh3::Xxh3;

use super::{IMAGE, MAX_IMAGE_BYTES, row_checksum, schema};
use crate::atomic;
use crate::error::{Error, Result};
use crate::manifest::ShardEntry;
use crate::split::Split;

/// Image bytes after which a row group is written out; bounds the writer's memory.
const ROW_GROUP_BYTES: u64 = 16 << 20;

/// Rows after which a row group is written out, for tiny images.
const ROW_GROUP_ROWS: u64 = 1 << 16;

/// What is said of a row besides its image's bytes.
#[derive(Debug, Clone, Copy)]
pub struct NewRow<'a> {
    /// The image's position in the list.
    pub id: u64,
    /// Where it came from, relative to the source.
    pub path: &'a str,
    /// Its class.
    pub label: u32,
    /// Pixels a row.
    pub width: u32,
    /// Pixel rows.
    pub height: u32,
}

/// Writes the shards of one split into a folder.
#[derive(Debug)]
pub struct ShardWriter {
    dir: PathBuf,
    split: Split,
    target_bytes: u64,
    open: Option<OpenShard>,
    finished: Vec<ShardEntry>,
}

impl ShardWriter {
    /// A writer into the existing folder `dir`; a shard ends before its images pass `target_bytes`,
    /// but holds at least one.
    pub fn new(dir: &Path, split: Split, target_bytes: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            split,
            target_bytes,
            open: None,
            finished: Vec::new(),
        }
    }

    /// Appends a row.
    pub fn push(&mut self, row: NewRow<'_>, bytes: &[u8]) -> Result<()> {
        let full = |open: &OpenShard| {
            open.image_bytes.saturating_add(bytes.len() as u64) > self.target_bytes
        };
        if self.open.as_ref().is_some_and(full) {
            self.close_shard()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let file = format!("{}-{:05}.parquet", self.split, self.finished.len());
                self.open.insert(OpenShard::create(&self.dir, file)?)
            }
        };
        open.push(row, bytes)
    }

    /// Finishes the last shard and returns all of them in row order.
    pub fn finish(mut self) -> Result<Vec<ShardEntry>> {
        self.close_shard()?;
        Ok(self.finished)
    }

    fn close_shard(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.finished.push(open.finish()?);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct OpenShard {
    path: PathBuf,
    temporary: PathBuf,
    file: String,
    writer: ArrowWriter<HashingFile>,
    group: RowGroup,
    image_bytes: u64,
    rows: u64,
}

impl OpenShard {
    fn create(dir: &Path, file: String) -> Result<Self> {
        let path = dir.join(&file);
        let temporary = atomic::temporary_name(&path);
        let sink = HashingFile::create(&temporary).map_err(Error::write(&temporary))?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties())
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(sink, schema(), options)
            .map_err(|err| write_error(&temporary, err))?;
        let group = RowGroup::default();
        Ok(Self {
            path,
            temporary,
            file,
            writer,
            group,
            image_bytes: 0,
            rows: 0,
        })
    }

    fn push(&mut self, row: NewRow<'_>, bytes: &[u8]) -> Result<()> {
        self.group.push(row, bytes).map_err(|reason| Error::Shard {
            path: self.path.clone(),
            reason,
        })?;
        self.image_bytes += bytes.len() as u64;
        self.rows += 1;
        if self.group.image_bytes >= ROW_GROUP_BYTES || self.group.rows >= ROW_GROUP_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if self.group.rows == 0 {
            return Ok(());
        }
        let batch = self.group.take();
        self.writer
            .write(&batch)
            .and_then(|()| self.writer.flush())
            .map_err(|err| write_error(&self.temporary, err))
    }

    fn finish(mut self) -> Result<ShardEntry> {
        self.flush()?;
        // The library buffers what it writes; the row groups must be out before the footer begins.
        self.writer.sync().map_err(Error::write(&self.temporary))?;
        self.writer.inner_mut().start_footer();
        let sink = self
            .writer
            .into_inner()
            .map_err(|err| write_error(&self.temporary, err))?;
        sink.file
            .sync_all()
            .map_err(Error::write(&self.temporary))?;
        atomic::publish(&self.temporary, &self.path)?;
        Ok(ShardEntry {
            file: self.file,
            rows: self.rows,
            bytes: sink.bytes,
            xxh3: hex(&sink.hash),
            footer_bytes: sink.bytes - sink.footer_start,
            footer_xxh3: hex(&sink.footer_hash),
        })
    }
}

/// Rows that wait for their row group to fill.
#[derive(Debug, Default)]
struct RowGroup {
    id: Int64Builder,
    path: StringBuilder,
    label: Int32Builder,
    width: Int32Builder,
    height: Int32Builder,
    num_bytes: Int32Builder,
    checksum: UInt64Builder,
    image: BinaryBuilder,
    image_bytes: u64,
    rows: u64,
}

impl RowGroup {
    fn push(&mut self, row: NewRow<'_>, bytes: &[u8]) -> std::result::Result<(), String> {
        if bytes.len() > MAX_IMAGE_BYTES {
            return Err(format!(
                "{}: {} bytes, an image may have at most {MAX_IMAGE_BYTES}",
                row.path,
                bytes.len()
            ));
        }
        let too_large = |what: &str| format!("{}: {what} is too large for a shard", row.path);
        let int = |value: u32, what| i32::try_from(value).map_err(|_| too_large(what));
        let id = i64::try_from(row.id).map_err(|_| too_large("id"))?;
        let (label, width, height) = (
            int(row.label, "label")?,
            int(row.width, "width")?,
            int(row.height, "height")?,
        );
        self.id.append_value(id);
        self.path.append_value(row.path);
        self.label.append_value(label);
        self.width.append_value(width);
        self.height.append_value(height);
        self.num_bytes.append_value(bytes.len() as i32);
        let checksum = row_checksum(bytes, row.id, row.label, row.width, row.height);
        self.checksum.append_value(checksum);
        self.image.append_value(bytes);
        self.image_bytes += bytes.len() as u64;
        self.rows += 1;
        Ok(())
    }

    fn take(&mut self) -> RecordBatch {
        self.image_bytes = 0;
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.id.finish()),
            Arc::new(self.path.finish()),
            Arc::new(self.label.finish()),
            Arc::new(self.width.finish()),
            Arc::new(self.height.finish()),
            Arc::new(self.num_bytes.finish()),
            Arc::new(self.checksum.finish()),
            Arc::new(self.image.finish()),
        ];
        RecordBatch::try_new(schema(), columns).expect("the builders follow the schema")
    }
}

/// One image a page; everything that would hide an image's bytes is off.
fn properties() -> WriterProperties {
    let image = || ColumnPath::from(IMAGE);
    WriterProperties::builder()
        .set_created_by(concat!("lift-data ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_encoding(ParquetEncoding::PLAIN)
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(image(), EnabledStatistics::None)
        // The limit is looked at after each batch, so a batch of 1 ends the page after each image.
        .set_column_data_page_size_limit(image(), 1)
        .set_write_batch_size(1)
        .set_offset_index_disabled(false)
        .build()
}

/// A file that hashes and counts what is written to it, and once more what is footer.
struct HashingFile {
    file: File,
    hash: Xxh3,
    bytes: u64,
    footer_hash: Xxh3,
    footer_start: u64,
}

impl HashingFile {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            hash: Xxh3::new(),
            bytes: 0,
            footer_hash: Xxh3::new(),
            footer_start: 0,
        })
    }

    /// What is written from here on is page index and footer.
    fn start_footer(&mut self) {
        self.footer_hash.reset();
        self.footer_start = self.bytes;
    }
}

impl std::fmt::Debug for HashingFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashingFile")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Write for HashingFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.file.write(buf)?;
        self.hash.update(&buf[..written]);
        self.footer_hash.update(&buf[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn hex(hash: &Xxh3) -> String {
    format!("{:016x}", hash.digest())
}

fn write_error(path: &Path, err: parquet::errors::ParquetError) -> Error {
    Error::Write {
        path: path.to_owned(),
        source: io::Error::other(err),
    }
}
