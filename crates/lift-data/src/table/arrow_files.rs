//! Arrow's own files: the IPC file (Feather) and stream.
//!
//! Invariant: what the library cannot read, or fails on, is an error that names the file.

use std::io::{Read, Seek, SeekFrom};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::columns::Columns;
use super::{Table, WantedColumns};
use crate::error::{Error, Result};

/// What an IPC file begins with; a stream does not.
const MAGIC: &[u8; 6] = b"ARROW1";

/// No table is larger; the reader maps nothing, and holds a batch.
const MAX_BYTES: u64 = 8 << 30;

pub(super) fn read(file: &Path, wanted: WantedColumns<'_>) -> Result<Table> {
    let mut opened = lift_files::open(file).map_err(Error::read(file))?;
    let length = opened.metadata().map_err(Error::read(file))?.len();
    if length > MAX_BYTES {
        return Err(damaged(
            file,
            &format!("{length} bytes, allowed are {MAX_BYTES}"),
        ));
    }
    let mut start = [0; MAGIC.len()];
    let is_file = opened.read_exact(&mut start).is_ok() && &start == MAGIC;
    opened.seek(SeekFrom::Start(0)).map_err(Error::read(file))?;
    // A library is not trusted with a file that is not known to be whole.
    let read = panic::catch_unwind(AssertUnwindSafe(|| {
        if is_file {
            let reader = FileReader::try_new_buffered(opened, None);
            let reader = reader.map_err(|err| damaged(file, &err))?;
            from_batches(file, reader.schema(), reader, wanted)
        } else {
            let reader = StreamReader::try_new_buffered(opened, None);
            let reader = reader.map_err(|err| damaged(file, &err))?;
            from_batches(file, reader.schema(), reader, wanted)
        }
    }));
    read.unwrap_or_else(|_| Err(damaged(file, &"its parts contradict each other")))
}

fn from_batches(
    file: &Path,
    schema: SchemaRef,
    batches: impl Iterator<Item = std::result::Result<RecordBatch, ArrowError>>,
    wanted: WantedColumns<'_>,
) -> Result<Table> {
    let mut columns = Columns::new(file, &schema, wanted)?;
    for batch in batches {
        columns.append(&batch.map_err(|err| damaged(file, &err))?)?;
    }
    Ok(columns.finish())
}

fn damaged(file: &Path, err: &dyn std::fmt::Display) -> Error {
    let reason = format!("cannot read as Arrow: {err}");
    let hint = if reason.contains("decompression") {
        "its columns are compressed, which is not read here: write it as Parquet, or without (pandas: compression='uncompressed')"
    } else {
        "the file is damaged or not Arrow (Feather version 2); write it again"
    };
    Error::Source {
        path: file.to_owned(),
        reason,
        hint: hint.to_owned(),
    }
}
