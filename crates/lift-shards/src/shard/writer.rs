//! Writes rows into one shard file.
//!
//! Rows come in final order, already encoded; it neither decodes nor reorders, and where a shard ends
//! is its caller's. Invariant: the file depends on the rows and the schema alone, and its memory is
//! bounded by a row group.

use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BinaryViewBuilder, Int32Builder, Int64Array, Int64Builder, RecordBatch,
    StringBuilder, StructArray, UInt64Builder,
};
use arrow::buffer::Buffer;
use arrow::compute::take;
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding as ParquetEncoding};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use twox_hash::XxHash3_64;

use super::names::image_leaf;
use super::regions::hash_columns;
use super::schema::{ShardSchema, image_fields};
use super::{MAX_IMAGE_BYTES, row_checksum};
use crate::atomic;
use crate::error::{Error, Result};
use crate::manifest::ShardEntry;

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

impl NewRow<'_> {
    /// Of the row with these bytes as its image.
    pub fn checksum(&self, bytes: &[u8]) -> u64 {
        row_checksum(bytes, self.id, self.label, self.width, self.height)
    }
}

/// Writes one shard file. It appears under its name, whole and synced, when it is finished.
#[derive(Debug)]
pub struct ShardWriter {
    path: PathBuf,
    temporary: PathBuf,
    schema: ShardSchema,
    kept: RecordBatch,
    writer: ArrowWriter<HashingFile>,
    group: RowGroup,
    rows: u64,
}

impl ShardWriter {
    /// A writer of the shard `path`, which is called `temporary` until it is finished; both lie on one
    /// file system. `kept` has the schema's kept columns, a row an image of the list by its id.
    pub fn create(
        path: PathBuf,
        temporary: PathBuf,
        schema: &ShardSchema,
        kept: &RecordBatch,
    ) -> Result<Self> {
        let sink = HashingFile::create(&temporary).map_err(Error::write(&temporary))?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties(schema))
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(sink, schema.columns(), options)
            .map_err(|err| write_error(&temporary, err))?;
        Ok(Self {
            path,
            temporary,
            schema: schema.clone(),
            kept: kept.clone(),
            writer,
            group: RowGroup::default(),
            rows: 0,
        })
    }

    /// Appends a row.
    pub fn push(&mut self, row: NewRow<'_>, bytes: Vec<u8>) -> Result<()> {
        let checksum = row.checksum(&bytes);
        self.push_hashed(row, bytes, checksum)
    }

    /// As [`ShardWriter::push`] where the row's checksum is known already.
    pub fn push_hashed(&mut self, row: NewRow<'_>, bytes: Vec<u8>, checksum: u64) -> Result<()> {
        let pushed = self.group.push(row, bytes, checksum);
        pushed.map_err(|reason| Error::Shard {
            path: self.path.clone(),
            reason,
        })?;
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
        let batch = self.group.take(&self.schema, &self.kept);
        self.writer
            .write(&batch)
            .and_then(|()| self.writer.flush())
            .map_err(|err| write_error(&self.temporary, err))
    }

    /// Writes the footer, syncs the file and gives it its name.
    pub fn finish(mut self) -> Result<ShardEntry> {
        self.flush()?;
        // The library buffers what it writes; the row groups must be out before the footer begins.
        self.writer.sync().map_err(Error::write(&self.temporary))?;
        self.writer.inner_mut().start_footer();
        let metadata = self
            .writer
            .finish()
            .map_err(|err| write_error(&self.temporary, err))?;
        let sink = self.writer.inner_mut();
        sink.file
            .sync_all()
            .map_err(Error::write(&self.temporary))?;
        let image = image_leaf(self.schema.encoding());
        let (footer_start, footer_hash) = sink.footer.as_ref().expect("it has begun");
        let columns = hash_columns(&sink.file, &metadata, &image, *footer_start)
            .map_err(Error::read(&self.temporary))?;
        atomic::publish(&self.temporary, &self.path)?;
        let name = self.path.file_name().unwrap_or_default();
        Ok(ShardEntry {
            file: name.to_string_lossy().into_owned(),
            rows: self.rows,
            bytes: sink.bytes,
            xxh3: hex(&sink.hash),
            footer_bytes: sink.bytes - footer_start,
            footer_xxh3: hex(footer_hash),
            columns_xxh3: hex(&columns),
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
    image: BinaryViewBuilder,
    image_bytes: u64,
    rows: u64,
}

impl RowGroup {
    fn push(
        &mut self,
        row: NewRow<'_>,
        bytes: Vec<u8>,
        checksum: u64,
    ) -> std::result::Result<(), String> {
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
        self.checksum.append_value(checksum);
        self.image_bytes += bytes.len() as u64;
        let length = bytes.len() as u32;
        let block = self.image.append_block(Buffer::from_vec(bytes));
        self.image
            .try_append_view(block, 0, length)
            .map_err(|err| err.to_string())?;
        self.rows += 1;
        Ok(())
    }

    fn take(&mut self, schema: &ShardSchema, kept: &RecordBatch) -> RecordBatch {
        self.image_bytes = 0;
        self.rows = 0;
        let path: ArrayRef = Arc::new(self.path.finish());
        let mut label: ArrayRef = Arc::new(self.label.finish());
        let mut image: ArrayRef = Arc::new(self.image.finish());
        if schema.encoding().is_file() {
            let wide = label.as_primitive::<Int32Type>().values().iter();
            label = Arc::new(Int64Array::from_iter_values(wide.copied().map(i64::from)));
            let members = vec![image, path.clone()];
            image = Arc::new(StructArray::new(image_fields(), members, None));
        }
        let id = self.id.finish();
        let kept = kept.columns().iter().map(|column| {
            take(column, &id, None).expect("a kept column has a row an image of the list")
        });
        let kept: Vec<ArrayRef> = kept.collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(id),
            path,
            label,
            Arc::new(self.width.finish()),
            Arc::new(self.height.finish()),
            Arc::new(self.num_bytes.finish()),
            Arc::new(self.checksum.finish()),
        ];
        columns.extend(kept);
        columns.push(image);
        RecordBatch::try_new(schema.columns(), columns).expect("the builders follow the schema")
    }
}

/// One image a page; everything that would hide an image's bytes is off.
fn properties(schema: &ShardSchema) -> WriterProperties {
    let image = || image_leaf(schema.encoding());
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
        .set_key_value_metadata(schema.metadata())
        .build()
}

/// A file that hashes and counts what is written to it, and once more what is footer.
struct HashingFile {
    file: File,
    hash: XxHash3_64,
    bytes: u64,
    /// From where on, and the hash of what follows.
    footer: Option<(u64, XxHash3_64)>,
}

impl HashingFile {
    fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)?,
            hash: XxHash3_64::new(),
            bytes: 0,
            footer: None,
        })
    }

    /// What is written from here on is page index and footer.
    fn start_footer(&mut self) {
        self.footer = Some((self.bytes, XxHash3_64::new()));
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
        self.hash.write(&buf[..written]);
        if let Some((_, hash)) = &mut self.footer {
            hash.write(&buf[..written]);
        }
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn hex(hash: &XxHash3_64) -> String {
    format!("{:016x}", hash.finish())
}

/// The library wraps what the system says; the system's words are the ones to show.
fn write_error(path: &Path, err: ParquetError) -> Error {
    let source = match err {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(system) => *system,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    };
    Error::Write {
        path: path.to_owned(),
        source,
    }
}
