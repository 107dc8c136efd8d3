//! What a shard file looks like to a Parquet reader: schema, row groups, sizes. For people.
//!
//! It reads footers only. Invariant: the shard was opened and checked before.

use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::footer;

/// A shard file's shape.
#[derive(Debug, Clone, Serialize)]
pub struct ShardShape {
    /// File name.
    pub file: String,
    /// Rows in it.
    pub rows: u64,
    /// Row groups.
    pub row_groups: usize,
    /// The file's bytes.
    pub bytes: u64,
    /// The columns with their types, as Parquet writes a message type.
    pub schema: String,
}

/// Reads the shape of the shard file at `path`.
pub fn shard_shape(path: &Path) -> Result<ShardShape> {
    let file = footer::open(path).map_err(Error::read(path))?;
    let bytes = file.metadata().map_err(Error::read(path))?.len();
    let reader = SerializedFileReader::new(file).map_err(|err| Error::Shard {
        path: path.to_owned(),
        reason: err.to_string(),
    })?;
    let metadata = reader.metadata();
    let mut schema = Vec::new();
    parquet::schema::printer::print_schema(
        &mut schema,
        metadata.file_metadata().schema_descr().root_schema(),
    );
    let name = path.file_name().unwrap_or_default();
    Ok(ShardShape {
        file: name.to_string_lossy().into_owned(),
        rows: metadata.file_metadata().num_rows() as u64,
        row_groups: metadata.num_row_groups(),
        bytes,
        schema: String::from_utf8_lossy(&schema).into_owned(),
    })
}
