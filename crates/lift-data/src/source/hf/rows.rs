//! The images of Parquet files, a few at a time.
//!
//! Reading in row order decodes every page once. Another order is right as well and slow: a row may
//! cost the decoding of its row group up to it. Invariant: what is held is one page and some batches of
//! about [`BATCH_BYTES`], however large the files are.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, LargeBinaryArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::is_binary;

/// Image bytes of a batch, on average.
const BATCH_BYTES: u64 = 4 << 20;

/// Rows behind the newest that stay at hand, for threads that lag behind.
const ROWS_KEPT: usize = 128;

/// The image column of some Parquet files, read by row.
pub struct RowStore {
    files: Vec<PathBuf>,
    column: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    cursor: Option<Cursor>,
    /// The batches decoded last, the newest at the end.
    recent: VecDeque<Arc<Batch>>,
}

/// A reader of one file, at a row.
struct Cursor {
    file: u32,
    next_row: u64,
    reader: ParquetRecordBatchReader,
}

struct Batch {
    file: u32,
    first_row: u64,
    images: LargeBinaryArray,
}

impl fmt::Debug for RowStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowStore")
            .field("files", &self.files)
            .field("column", &self.column)
            .finish_non_exhaustive()
    }
}

impl RowStore {
    /// The images in `column` of `files`; nothing is read yet.
    pub(super) fn new(files: Vec<PathBuf>, column: String) -> Self {
        Self {
            files,
            column,
            state: Mutex::default(),
        }
    }

    /// Reads the image of a row into `out`, replacing what was there.
    pub(crate) fn read(&self, file: u32, row: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let batch = self.batch_with(file, row)?;
        let index = (row - batch.first_row) as usize;
        if batch.images.is_null(index) {
            return Err(invalid(format!("row {row} has no image bytes")));
        }
        out.clear();
        out.extend_from_slice(batch.images.value(index));
        Ok(())
    }

    fn batch_with(&self, file: u32, row: u64) -> io::Result<Arc<Batch>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = state.recent.iter().find(|batch| batch.has(file, row)) {
            return Ok(Arc::clone(batch));
        }
        // Taken out, so that a reader that failed is not used again.
        let mut cursor = match state.cursor.take() {
            Some(cursor) if cursor.file == file && cursor.next_row <= row => cursor,
            _ => self.open(file, row)?,
        };
        loop {
            let batch = cursor.read().map_err(|err| {
                io::Error::new(
                    err.kind(),
                    format!("{}: {err}", self.files[file as usize].display()),
                )
            })?;
            let batch = Arc::new(batch);
            state.recent.push_back(Arc::clone(&batch));
            let mut newer: usize = state.recent.iter().map(|batch| batch.images.len()).sum();
            while state.recent.len() > 2 {
                newer -= state.recent[0].images.len();
                if newer < ROWS_KEPT {
                    break;
                }
                state.recent.pop_front();
            }
            if batch.has(file, row) {
                state.cursor = Some(cursor);
                return Ok(batch);
            }
        }
    }

    /// A reader that starts at `row`.
    fn open(&self, file: u32, row: u64) -> io::Result<Cursor> {
        let path = &self.files[file as usize];
        let named = |reason: String| invalid(format!("{}: {reason}", path.display()));
        let builder = ParquetRecordBatchReaderBuilder::try_new(lift_files::open(path)?)
            .map_err(|err| named(err.to_string()))?;
        let leaf = image_leaf(&builder, &self.column).map_err(named)?;
        let metadata = builder.metadata();
        let (mut rows, mut bytes) = (0_u64, 0_u64);
        let (mut group, mut group_start) = (None, 0);
        for (index, row_group) in metadata.row_groups().iter().enumerate() {
            let end = rows + row_group.num_rows() as u64;
            if group.is_none() && row < end {
                (group, group_start) = (Some(index), rows);
            }
            rows = end;
            bytes += row_group.column(leaf).uncompressed_size() as u64;
        }
        let group = group.ok_or_else(|| named(format!("there is no row {row}, it has {rows}")))?;
        let mean = (bytes / rows).max(1);
        let groups = (group..metadata.num_row_groups()).collect();
        let mask = ProjectionMask::leaves(builder.parquet_schema(), [leaf]);
        let reader = builder
            .with_projection(mask)
            .with_row_groups(groups)
            .with_offset((row - group_start) as usize)
            .with_batch_size((BATCH_BYTES / mean).clamp(1, 1024) as usize)
            .build()
            .map_err(|err| named(err.to_string()))?;
        Ok(Cursor {
            file,
            next_row: row,
            reader,
        })
    }
}

impl Batch {
    fn has(&self, file: u32, row: u64) -> bool {
        let rows = self.first_row..self.first_row + self.images.len() as u64;
        self.file == file && rows.contains(&row)
    }
}

impl Cursor {
    fn read(&mut self) -> io::Result<Batch> {
        let batch = match self.reader.next() {
            Some(batch) => batch.map_err(|err| invalid(err.to_string()))?,
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let first_row = self.next_row;
        self.next_row += batch.num_rows() as u64;
        Ok(Batch {
            file: self.file,
            first_row,
            images: images(&batch)?,
        })
    }
}

/// The only column of a batch: binary, or a struct of which only `bytes` was read.
fn images(batch: &RecordBatch) -> io::Result<LargeBinaryArray> {
    let column = batch.column(0);
    let bytes: ArrayRef = match column.as_struct_opt() {
        Some(image) if image.null_count() == 0 => Arc::clone(image.column(0)),
        Some(_) => return Err(invalid("an image is null".to_owned())),
        None => Arc::clone(column),
    };
    let bytes = cast(&bytes, &DataType::LargeBinary).map_err(|err| invalid(err.to_string()))?;
    Ok(bytes.as_binary::<i64>().clone())
}

/// The leaf of the image bytes in the file's schema; else says what is wrong with the column.
pub(super) fn image_leaf(
    builder: &ParquetRecordBatchReaderBuilder<File>,
    column: &str,
) -> Result<usize, String> {
    let field = builder
        .schema()
        .field_with_name(column)
        .map_err(|_| format!("there is no column `{column}`"))?;
    let path = match field.data_type() {
        binary if is_binary(binary) => column.to_owned(),
        DataType::Struct(fields)
            if fields
                .iter()
                .any(|field| field.name() == "bytes" && is_binary(field.data_type())) =>
        {
            format!("{column}.bytes")
        }
        other => {
            return Err(format!(
                "column `{column}` is {other}, which holds no image bytes"
            ));
        }
    };
    let leaves = builder.parquet_schema().columns();
    leaves
        .iter()
        .position(|leaf| leaf.path().string() == path)
        .ok_or_else(|| format!("column `{column}` has no `bytes`"))
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
