//! Columns of Arrow's types as columns of a frame, batch by batch.
//!
//! Invariant: a value that a column's type cannot hold exactly is an error, not another value.

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Float64Type, Int64Type, SchemaRef};
use polars::prelude::{ChunkedBuilder, DataFrame};

use super::csv::require_distinct;
use super::{ColumnBuilder, Place, Table, WantedColumns};
use crate::error::{Error, Result};

/// The names of a file's columns.
fn names(schema: &SchemaRef) -> Vec<String> {
    let fields = schema.fields().iter();
    fields.map(|field| field.name().clone()).collect()
}

/// The columns of a file that is read in batches.
pub(crate) struct Columns {
    file: PathBuf,
    names: Vec<String>,
    nested: Vec<(String, String)>,
    builders: Vec<(String, ColumnBuilder)>,
    rows: u64,
}

impl Columns {
    /// Of those columns of a file with this schema that are wanted.
    pub(crate) fn new(file: &Path, schema: &SchemaRef, wanted: WantedColumns<'_>) -> Result<Self> {
        let names = names(schema);
        require_distinct(file, &names)?;
        let (mut nested, mut builders) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            match ColumnBuilder::of(field.name(), field.data_type()) {
                Some(builder) if (wanted.column)(field.name()) => {
                    builders.push((field.name().clone(), builder));
                }
                Some(_) => {}
                None => nested.push((field.name().clone(), field.data_type().to_string())),
            }
        }
        Ok(Self {
            file: file.to_owned(),
            names: names
                .into_iter()
                .filter(|name| nested.iter().all(|(nested, _)| nested != name))
                .collect(),
            nested,
            builders,
            rows: 0,
        })
    }

    /// The columns that are taken.
    pub(crate) fn taken(&self) -> Vec<&str> {
        self.builders
            .iter()
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// What follows lies in another file, whose columns must be of the same types.
    pub(crate) fn next_file(&mut self, file: &Path, schema: &SchemaRef) -> Result<()> {
        self.file = file.to_owned();
        self.rows = 0;
        for (name, builder) in &self.builders {
            let found = schema.field_with_name(name).ok();
            let same = found
                .and_then(|field| ColumnBuilder::of(name, field.data_type()))
                .is_some_and(|found| {
                    std::mem::discriminant(&found) == std::mem::discriminant(builder)
                });
            if !same {
                return Err(Error::Source {
                    path: file.to_owned(),
                    reason: match found {
                        Some(field) => format!(
                            "column `{name}` is {}, another type than in the files before",
                            field.data_type()
                        ),
                        None => format!("there is no column `{name}`, which the files before have"),
                    },
                    hint: "all files of a split must have the same columns".to_owned(),
                });
            }
        }
        Ok(())
    }

    pub(crate) fn append(&mut self, batch: &RecordBatch) -> Result<()> {
        for (name, builder) in &mut self.builders {
            let column = batch.column_by_name(name);
            let appended = match column {
                // What is larger than whole numbers here is text, from the first row on.
                Some(column) if column.data_type() == &DataType::UInt64 => {
                    builder.append(column).or_else(|_| {
                        builder.become_text();
                        builder.append(column)
                    })
                }
                Some(column) => builder.append(column),
                None => Err("it is not in all batches".to_owned()),
            };
            appended.map_err(|reason| Error::Source {
                path: PathBuf::from(format!("{}: row {} and on", self.file.display(), self.rows)),
                reason: format!("column `{name}`: {reason}"),
                hint: "write the table again with values that a 64-bit number or a text holds"
                    .to_owned(),
            })?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    pub(crate) fn finish(self) -> Table {
        let columns = self
            .builders
            .into_iter()
            .map(|(_, builder)| builder.finish());
        Table {
            frame: DataFrame::new_infer_height(columns.collect()).expect("columns of one length"),
            names: self.names,
            nested: self.nested,
            place: Place::Rows {
                file: self.file.clone(),
                rows: (0..self.rows).collect(),
            },
            file: self.file,
        }
    }
}

impl ColumnBuilder {
    /// For a column of Arrow's type; `None` where a frame has no such column.
    fn of(name: &str, data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Boolean => Self::boolean(name),
            whole if whole.is_integer() => Self::whole(name),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => Self::number(name),
            DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..) => Self::number(name),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => {
                Self::text(name)
            }
            DataType::Date32
            | DataType::Date64
            | DataType::Time32(_)
            | DataType::Time64(_)
            | DataType::Timestamp(..) => Self::text(name),
            DataType::Dictionary(_, value) => return Self::of(name, value),
            _ => return None,
        })
    }

    fn append(&mut self, column: &dyn Array) -> std::result::Result<(), String> {
        let exact = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let cast =
            |to: &DataType| cast_with_options(column, to, &exact).map_err(|err| err.to_string());
        match self {
            Self::Whole(values) => {
                let column = cast(&DataType::Int64)?;
                let column = column.as_primitive::<Int64Type>();
                column.iter().for_each(|value| values.append_option(value));
            }
            Self::Number(values) => {
                let column = cast(&DataType::Float64)?;
                let column = column.as_primitive::<Float64Type>();
                // NaN is how pandas writes that there is none.
                let there = column
                    .iter()
                    .map(|value| value.filter(|value| !value.is_nan()));
                there.for_each(|value| values.append_option(value));
            }
            Self::Boolean(values) => {
                let column = cast(&DataType::Boolean)?;
                let column = column.as_boolean();
                column.iter().for_each(|value| values.append_option(value));
            }
            Self::Text(values) => {
                // Only zones that are offsets are known; all are the same moments in UTC.
                let in_utc = match column.data_type() {
                    DataType::Timestamp(unit, Some(_)) => {
                        Some(cast(&DataType::Timestamp(*unit, Some("+00:00".into())))?)
                    }
                    _ => None,
                };
                let column = in_utc.as_deref().unwrap_or(column);
                let column = cast_with_options(column, &DataType::Utf8View, &exact);
                let column = column.map_err(|err| err.to_string())?;
                let column = column.as_string_view();
                let mut texts = column.iter();
                texts.try_for_each(|text| values.append(text))?;
            }
        }
        Ok(())
    }
}
