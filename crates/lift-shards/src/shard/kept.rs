//! Columns of the user's tables that go with the images: ordinary Parquet columns beside the shard's own.
//!
//! They are covered by the hashes of the small columns. Nothing here is read to load an image. Invariant: a kept
//! column has one of four types and a name that no column of the shard's own has; its values may be null.

use std::fs::File;
use std::hash::Hasher;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::index::verified_columns;
use super::names::{OWN_COLUMNS, image_leaf};
use crate::error::{Error, Result};
use crate::footer;
use crate::manifest::{Manifest, ShardEntry};

/// What a kept column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColumnKind {
    /// Whole numbers of 64 bits.
    Int64,
    /// Numbers.
    Float64,
    /// True or false.
    Bool,
    /// Text.
    String,
}

/// A column that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptColumn {
    /// Its name in the shards.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: ColumnKind,
    /// XXH3-64 over its values for the images of the list, bad ones too: another table is another build.
    pub list_xxh3: String,
}

impl ColumnKind {
    pub(super) fn data_type(self) -> DataType {
        match self {
            ColumnKind::Int64 => DataType::Int64,
            ColumnKind::Float64 => DataType::Float64,
            ColumnKind::Bool => DataType::Boolean,
            // Offsets of 32 bits end at 2 GiB of text.
            ColumnKind::String => DataType::Utf8View,
        }
    }

    /// The type's name in Hugging Face's features.
    pub(super) fn feature(self) -> &'static str {
        match self {
            ColumnKind::Int64 => "int64",
            ColumnKind::Float64 => "float64",
            ColumnKind::Bool => "bool",
            ColumnKind::String => "string",
        }
    }
}

impl KeptColumn {
    /// Describes the columns of a list of images.
    ///
    /// # Panics
    /// When a column is of another type than the four.
    pub fn of(list: &RecordBatch) -> Vec<Self> {
        let schema = list.schema();
        let columns = schema.fields().iter().zip(list.columns());
        let described = columns.map(|(field, column)| Self {
            name: field.name().clone(),
            kind: match column.data_type() {
                DataType::Int64 => ColumnKind::Int64,
                DataType::Float64 => ColumnKind::Float64,
                DataType::Boolean => ColumnKind::Bool,
                DataType::Utf8View => ColumnKind::String,
                other => panic!("a kept column of {other}"),
            },
            list_xxh3: hash(column),
        });
        described.collect()
    }

    pub(super) fn field(&self) -> Field {
        Field::new(&self.name, self.kind.data_type(), true)
    }
}

/// A hash over values and where they are missing.
fn hash(column: &ArrayRef) -> String {
    let mut hash = XxHash3_64::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            hash.write(&[0]);
            continue;
        }
        hash.write(&[1]);
        match column.data_type() {
            DataType::Int64 => {
                hash.write(&column.as_primitive::<Int64Type>().value(row).to_le_bytes());
            }
            DataType::Float64 => {
                let value = column.as_primitive::<Float64Type>().value(row);
                hash.write(&value.to_bits().to_le_bytes());
            }
            DataType::Boolean => hash.write(&[u8::from(column.as_boolean().value(row))]),
            _ => {
                let text = column.as_string_view().value(row);
                hash.write(&(text.len() as u64).to_le_bytes());
                hash.write(text.as_bytes());
            }
        }
    }
    format!("{:016x}", hash.finish())
}

/// What cannot be in a manifest's list of kept columns.
pub(crate) fn check_columns(columns: &[KeptColumn]) -> std::result::Result<(), String> {
    for (nth, column) in columns.iter().enumerate() {
        let name = &column.name;
        let repeated = columns[..nth].iter().any(|other| other.name == *name);
        if name.is_empty() || repeated || OWN_COLUMNS.contains(&name.as_str()) {
            return Err(format!("columns[{nth}].name: `{name}` is taken or empty"));
        }
    }
    Ok(())
}

/// The kept columns of all rows of a shard folder, in row order; without columns a batch that has only rows.
///
/// # Errors
/// When a shard's small columns are not those of the manifest.
pub(super) fn read_kept(dir: &Path, manifest: &Manifest) -> Result<RecordBatch> {
    let fields: Vec<Field> = manifest.columns.iter().map(KeptColumn::field).collect();
    let schema = Arc::new(Schema::new(fields));
    if manifest.columns.is_empty() {
        let rows = RecordBatchOptions::new().with_row_count(Some(manifest.rows as usize));
        let empty = RecordBatch::try_new_with_options(schema, Vec::new(), &rows);
        return Ok(empty.expect("a batch may have no column"));
    }
    let mut batches = Vec::new();
    for entry in &manifest.shards {
        let path = dir.join(&entry.file);
        let file = footer::open(&path).map_err(Error::read(&path))?;
        let bad = |reason: String| Error::Shard {
            path: path.clone(),
            reason,
        };
        let read = panic::catch_unwind(AssertUnwindSafe(|| {
            read_shard(&file, entry, manifest, &schema)
        }));
        let read = read.unwrap_or_else(|_| Err("its columns cannot be read".to_owned()));
        batches.extend(read.map_err(bad)?);
    }
    let whole = concat_batches(&schema, &batches);
    whole.map_err(|err| Error::Shard {
        path: dir.to_owned(),
        reason: err.to_string(),
    })
}

fn read_shard(
    file: &File,
    entry: &ShardEntry,
    manifest: &Manifest,
    schema: &Arc<Schema>,
) -> std::result::Result<Vec<RecordBatch>, String> {
    let names = manifest.columns.iter().map(|column| column.name.as_str());
    let image = image_leaf(manifest.encoding);
    let (_, reader) = verified_columns(file, entry, &image, &names.collect::<Vec<_>>())?;
    let mut batches = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|err| err.to_string())?;
        let column = |field: &Arc<Field>| {
            let found = batch.column_by_name(field.name());
            let found = found.and_then(|column| match column.data_type() {
                same if same == field.data_type() => Some(column.clone()),
                DataType::Utf8 => cast(column, field.data_type()).ok(),
                _ => None,
            });
            found.ok_or_else(|| {
                let name = field.name();
                format!("column `{name}` is missing or of another type")
            })
        };
        let columns = schema.fields().iter().map(column);
        let columns: Vec<ArrayRef> = columns.collect::<std::result::Result<_, _>>()?;
        let batch = RecordBatch::try_new(schema.clone(), columns);
        batches.push(batch.map_err(|err| err.to_string())?);
    }
    Ok(batches)
}
