//! The images of Parquet files, a few at a time.
//!
//! Reading in row order decodes every page once. For another order the rows that will be asked for next are
//! named first ([`RowStore::fetch`]): they are read file by file, row group by row group, and only the pages
//! that they lie in. A row that was not named is right as well and slow. Invariant: what is held is one page,
//! some batches of about [`BATCH_BYTES`] and two fetches of about [`FETCH_BYTES`], however large the files
//! and their row groups are; and a row that cannot be read costs its neighbours nothing, its reason naming
//! neither row nor file, which its path does.

mod fetched;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, RecordBatch};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use lift_shards::pages;

use super::is_binary;
use fetched::{Fetched, Footers};

/// Image bytes of a batch, on average.
const BATCH_BYTES: u64 = 4 << 20;

/// Image bytes of a fetch, on average.
const FETCH_BYTES: u64 = 32 << 20;

/// Rows of a fetch, however small their images are.
const FETCH_ROWS: u64 = 1 << 16;

/// Rows behind the newest that stay at hand, for threads that lag behind.
const ROWS_KEPT: usize = 128;

/// The image column of some Parquet files, read by row.
pub struct RowStore {
    files: Vec<PathBuf>,
    column: String,
    /// Bytes of an image, about.
    mean_bytes: u64,
    state: Mutex<State>,
    footers: Mutex<Footers>,
}

#[derive(Default)]
struct State {
    cursor: Option<Cursor>,
    /// The batches decoded last, the newest at the end.
    recent: VecDeque<Arc<Batch>>,
    /// The last two fetches: while threads take images of the older one, others need the newer.
    fetched: VecDeque<Arc<Fetched>>,
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
    images: Images,
}

/// The images of a batch. Without bytes is an image that is null, or one of which nothing is stored.
struct Images {
    bytes: BinaryViewArray,
    null: Option<NullBuffer>,
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
    /// The images in `column` of `files`, of about `mean_bytes` each; nothing is read yet.
    pub(super) fn new(files: Vec<PathBuf>, column: String, mean_bytes: u64) -> Self {
        Self {
            files,
            column,
            mean_bytes: mean_bytes.max(1),
            state: Mutex::default(),
            footers: Mutex::default(),
        }
    }

    /// Reads the image of a row into `out`, replacing what was there.
    pub(crate) fn read(&self, file: u32, row: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let fetched = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut fetches = state.fetched.iter().rev();
            fetches.find(|fetched| fetched.has(file, row)).cloned()
        };
        if let Some(bytes) = fetched.as_ref().and_then(|fetched| fetched.get(file, row)) {
            out.clear();
            out.extend_from_slice(bytes?);
            return Ok(());
        }
        let batch = self.batch_with(file, row)?;
        let bytes = batch.images.get((row - batch.first_row) as usize)?;
        out.clear();
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// How many rows [`RowStore::fetch`] should be given at a time.
    pub(crate) fn rows_per_fetch(&self) -> usize {
        (FETCH_BYTES / self.mean_bytes).clamp(1, FETCH_ROWS) as usize
    }

    /// Reads the images of these rows (file and row) now, so that [`RowStore::read`] has them at hand until
    /// the next fetch but one. What cannot be fetched is left to it.
    pub(crate) fn fetch(&self, mut rows: Vec<(u32, u64)>) {
        rows.sort_unstable();
        rows.dedup();
        let mut fetched = Fetched::new(4 * FETCH_BYTES);
        for of_file in rows.chunk_by(|a, b| a.0 == b.0) {
            let file = of_file[0].0;
            let path = &self.files[file as usize];
            let footer = {
                let mut footers = self.footers.lock().unwrap_or_else(PoisonError::into_inner);
                footers.of(file, path)
            };
            // Whatever goes wrong here goes wrong again where the row is read, and is said there.
            let _ = footer.and_then(|footer| {
                fetched.add(path, footer, &self.column, self.batch_rows(), of_file)
            });
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.fetched.push_back(Arc::new(fetched));
        if state.fetched.len() > 2 {
            state.fetched.pop_front();
        }
    }

    /// Rows of a batch.
    fn batch_rows(&self) -> usize {
        (BATCH_BYTES / self.mean_bytes).clamp(1, 1024) as usize
    }

    fn batch_with(&self, file: u32, row: u64) -> io::Result<Arc<Batch>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(batch) = state.recent.iter().find(|batch| batch.has(file, row)) {
            return Ok(Arc::clone(batch));
        }
        // Taken out, so that a reader that failed is not used again.
        let mut cursor = match state.cursor.take() {
            Some(cursor) if cursor.file == file && cursor.next_row <= row => cursor,
            _ => self.open(file, row, self.batch_rows())?,
        };
        loop {
            let batch = match cursor.read() {
                Ok(batch) => Arc::new(batch),
                // A damaged page among those of a batch is no reason to give up the other rows.
                Err(_) => return self.open(file, row, 1)?.read().map(Arc::new),
            };
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
    fn open(&self, file: u32, row: u64, batch_rows: usize) -> io::Result<Cursor> {
        let path = &self.files[file as usize];
        let builder = pages::open(path)?;
        let leaf = image_leaf(&builder, &self.column).map_err(invalid)?;
        let metadata = builder.metadata();
        let mut rows = 0_u64;
        let (mut group, mut group_start) = (None, 0);
        for (index, row_group) in metadata.row_groups().iter().enumerate() {
            let end = rows + row_group.num_rows() as u64;
            if group.is_none() && row < end {
                (group, group_start) = (Some(index), rows);
            }
            rows = end;
        }
        let group = group.ok_or_else(|| invalid(format!("there are only {rows} rows")))?;
        let groups = (group..metadata.num_row_groups()).collect();
        let mask = ProjectionMask::leaves(builder.parquet_schema(), [leaf]);
        let reader = builder
            .with_projection(mask)
            .with_row_groups(groups)
            .with_offset((row - group_start) as usize)
            .with_batch_size(batch_rows)
            .build()
            .map_err(of_parquet)?;
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
            Some(batch) => batch.map_err(of_parquet)?,
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let first_row = self.next_row;
        self.next_row += batch.num_rows() as u64;
        Ok(Batch {
            file: self.file,
            first_row,
            images: Images::of(&batch)?,
        })
    }
}

impl Images {
    /// The only column of a batch: binary, or a struct of which only `bytes` was read.
    fn of(batch: &RecordBatch) -> io::Result<Self> {
        let column = batch.column(0);
        let (bytes, null): (&ArrayRef, _) = match column.as_struct_opt() {
            Some(image) => (image.column(0), image.nulls().cloned()),
            None => (column, column.nulls().cloned()),
        };
        // Whatever a writer declares, a view of it is no copy.
        let bytes = cast(bytes, &DataType::BinaryView).map_err(of_parquet)?;
        Ok(Self {
            bytes: bytes.as_binary_view().clone(),
            null,
        })
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn get(&self, row: usize) -> io::Result<&[u8]> {
        if self.null.as_ref().is_some_and(|null| null.is_null(row)) {
            return Err(invalid("the image is null".to_owned()));
        }
        if self.bytes.is_null(row) {
            return Err(invalid(
                "neither the image's bytes nor its path are stored".to_owned(),
            ));
        }
        Ok(self.bytes.value(row))
    }
}

/// The leaf of the image bytes in the file's schema; else says what is wrong with the column.
pub(super) fn image_leaf(builder: &pages::Builder, column: &str) -> Result<usize, String> {
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

/// What Parquet or Arrow said.
fn of_parquet(err: impl fmt::Display) -> io::Error {
    invalid(err.to_string())
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}
