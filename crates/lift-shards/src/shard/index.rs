//! One shard's small columns, and where its images lie.
//!
//! It reads no image. Invariant: no size or offset from a file is used before it was checked against
//! the file's length, and nothing is parsed before its hash was found right.

use std::fs::File;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, UInt64Type};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::schema::types::ColumnPath;

use super::names::{SMALL, image_leaf};
use super::regions::Parts;
use super::{MAX_IMAGE_BYTES, Row};
use crate::error::{Error, Result};
use crate::footer;
use crate::manifest::{Encoding, Manifest, ShardEntry};
use crate::pages;

/// One shard's file and its small columns.
#[derive(Debug)]
pub struct ShardIndex {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    /// The rows of its images.
    pub rows: Vec<Row>,
    /// The paths of its images.
    pub paths: Paths,
}

impl ShardIndex {
    /// Opens the shard that `entry` describes; it becomes shard `number` of its rows.
    pub fn open(dir: &Path, manifest: &Manifest, entry: &ShardEntry, number: u32) -> Result<Self> {
        let path = dir.join(&entry.file);
        let file = footer::open(&path).map_err(Error::read(&path))?;
        let bytes = file.metadata().map_err(Error::read(&path))?.len();
        let bad = |reason: String| Error::Shard {
            path: path.clone(),
            reason,
        };
        if bytes != entry.bytes {
            return Err(bad(format!(
                "{bytes} bytes, the manifest says {}",
                entry.bytes
            )));
        }
        // The hashes leave only what was written; the library is not trusted with that either.
        let image = image_leaf(manifest.encoding);
        let small_columns = panic::catch_unwind(AssertUnwindSafe(|| {
            read_small_columns(&file, entry, &image)
        }));
        let (mut rows, paths) = small_columns
            .unwrap_or_else(|_| Err("its columns cannot be read".to_owned()))
            .map_err(bad)?;
        if rows.len() as u64 != entry.rows {
            return Err(bad(format!(
                "{} rows, the manifest says {}",
                rows.len(),
                entry.rows
            )));
        }
        for (position, row) in rows.iter_mut().enumerate() {
            row.shard = number;
            check_row(row, manifest, bytes)
                .map_err(|reason| bad(format!("row {position}: {reason}")))?;
        }
        Ok(Self {
            path,
            file,
            rows,
            paths,
        })
    }
}

fn check_row(row: &Row, manifest: &Manifest, file_bytes: u64) -> std::result::Result<(), String> {
    if row.label as usize >= manifest.num_classes() {
        return Err(format!(
            "label {} of {} classes",
            row.label,
            manifest.num_classes()
        ));
    }
    if row
        .offset
        .checked_add(u64::from(row.num_bytes))
        .is_none_or(|end| end > file_bytes)
    {
        return Err("its image lies outside the file".to_owned());
    }
    let pixels = u64::from(row.width) * u64::from(row.height);
    if pixels == 0 || row.num_bytes as usize > MAX_IMAGE_BYTES {
        return Err(format!(
            "{}x{} pixels in {} bytes",
            row.width, row.height, row.num_bytes
        ));
    }
    if manifest.encoding == Encoding::Rgb8
        && pixels.checked_mul(3) != Some(u64::from(row.num_bytes))
    {
        return Err(format!(
            "{} bytes for {}x{} pixels",
            row.num_bytes, row.width, row.height
        ));
    }
    Ok(())
}

/// Some columns of a shard, none of them the image's, whose hashes were found right; with what the footer says.
pub(super) fn verified_columns(
    file: &File,
    entry: &ShardEntry,
    image: &ColumnPath,
    names: &[&str],
) -> std::result::Result<(Arc<ParquetMetaData>, ParquetRecordBatchReader), String> {
    let text = |err: parquet::errors::ParquetError| err.to_string();
    let mut parts = Parts::read_footer(file, entry)?;
    let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Required);
    let footer = ArrowReaderMetadata::load(&parts, options).map_err(text)?;
    let metadata = footer.metadata().clone();
    parts.read_columns(file, entry, &metadata, image)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(parts, footer);
    let mask = pages::columns(builder.parquet_schema(), names);
    let reader = builder.with_projection(mask).with_batch_size(8192);
    Ok((metadata, reader.build().map_err(text)?))
}

fn read_small_columns(
    file: &File,
    entry: &ShardEntry,
    image: &ColumnPath,
) -> std::result::Result<(Vec<Row>, Paths), String> {
    let (metadata, reader) = verified_columns(file, entry, image, &SMALL)?;
    let (mut rows, mut paths) = (Vec::new(), Paths::default());
    for batch in reader {
        append_batch(
            &batch.map_err(|err| err.to_string())?,
            &mut rows,
            &mut paths,
        )?;
    }
    place_images(&metadata, image, &mut rows)?;
    Ok((rows, paths))
}

fn append_batch(
    batch: &RecordBatch,
    rows: &mut Vec<Row>,
    paths: &mut Paths,
) -> std::result::Result<(), String> {
    let id = column::<Int64Type>(batch, "id")?;
    let label = labels(batch)?;
    let width = column::<Int32Type>(batch, "width")?;
    let height = column::<Int32Type>(batch, "height")?;
    let num_bytes = column::<Int32Type>(batch, "num_bytes")?;
    let checksum = column::<UInt64Type>(batch, "checksum")?;
    let path = batch
        .column_by_name("path")
        .and_then(|column| column.as_string_opt::<i32>())
        .ok_or("column `path` is missing or of another type")?;
    let negative = |name: &'static str| move |_| format!("a negative value in column `{name}`");
    for i in 0..batch.num_rows() {
        rows.push(Row {
            id: id[i].try_into().map_err(negative("id"))?,
            label: label[i].try_into().map_err(negative("label"))?,
            width: width[i].try_into().map_err(negative("width"))?,
            height: height[i].try_into().map_err(negative("height"))?,
            num_bytes: num_bytes[i].try_into().map_err(negative("num_bytes"))?,
            checksum: checksum[i],
            shard: 0,
            offset: 0,
        });
        paths.push(path.value(i));
    }
    Ok(())
}

/// Labels are 32 bits wide beside bare pixels, 64 beside image files.
fn labels(batch: &RecordBatch) -> std::result::Result<Vec<i64>, String> {
    if let Ok(labels) = column::<Int64Type>(batch, "label") {
        return Ok(labels.to_vec());
    }
    let labels = column::<Int32Type>(batch, "label")?.iter();
    Ok(labels.copied().map(i64::from).collect())
}

fn column<'a, T: ArrowPrimitiveType>(
    batch: &'a RecordBatch,
    name: &str,
) -> std::result::Result<&'a [T::Native], String> {
    batch
        .column_by_name(name)
        .filter(|column| column.null_count() == 0)
        .and_then(|column| column.as_primitive_opt::<T>())
        .map(|column| column.values().as_ref())
        .ok_or_else(|| format!("column `{name}` is missing or of another type"))
}

/// Fills in where each image lies: at the end of its page.
fn place_images(
    metadata: &ParquetMetaData,
    image: &ColumnPath,
    rows: &mut [Row],
) -> std::result::Result<(), String> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let image = columns
        .iter()
        .position(|column| column.path() == image)
        .ok_or_else(|| format!("there is no column `{image}`"))?;
    let pages = metadata.page_index().ok_or("there is no page index")?;
    let mut rows = rows.iter_mut();
    for group in 0..metadata.num_row_groups() {
        let index = pages
            .offset_index(group, image)
            .ok_or("column `image` has no offset index")?;
        let locations = index.page_locations();
        if locations.len() as i64 != metadata.row_group(group).num_rows() {
            return Err("images share pages".to_owned());
        }
        for page in locations {
            let row = rows.next().ok_or("more images than rows")?;
            let end = page
                .offset
                .checked_add(i64::from(page.compressed_page_size));
            row.offset = end
                .and_then(|end| u64::try_from(end).ok())
                .and_then(|end| end.checked_sub(u64::from(row.num_bytes)))
                .ok_or("a page lies outside the file")?;
        }
    }
    if rows.next().is_some() {
        Err("fewer images than rows".to_owned())
    } else {
        Ok(())
    }
}

/// Many short strings in one allocation.
#[derive(Debug, Default)]
pub struct Paths {
    text: String,
    ends: Vec<usize>,
}

impl Paths {
    fn push(&mut self, path: &str) {
        self.text.push_str(path);
        self.ends.push(self.text.len());
    }

    pub fn append(&mut self, other: &Paths) {
        let start = self.text.len();
        self.text.push_str(&other.text);
        self.ends.extend(other.ends.iter().map(|end| start + end));
    }

    pub fn get(&self, index: usize) -> &str {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.text[start..self.ends[index]]
    }
}
