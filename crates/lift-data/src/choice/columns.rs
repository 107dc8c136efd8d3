//! What is known of a source's images as one frame, and columns on their way into shards.
//!
//! Invariant: rows stand in the order of the splits and, in a split, of its list.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringViewBuilder,
};
use arrow::datatypes::{Field, Schema};
use polars::prelude::{Column, DataFrame, DataType, IntoColumn, PlSmallStr, StringChunkedBuilder};

use super::Keep;
use crate::error::{Error, Result};
use crate::source::{Source, SplitList, renamed};
use crate::table::typed;

/// The column that says where an image is, from 0 over all splits. No table's is called so.
pub(super) const ROW: &str = "lift row";

/// A row an image: where it is ([`ROW`]), path, label, class, split, and the tables' columns.
pub(crate) fn frame(source: &Source) -> Result<DataFrame> {
    let rows = source.splits.iter().map(|list| list.items.len()).sum();
    let text = |name: &str| StringChunkedBuilder::new(name.into(), rows);
    let (mut path, mut class, mut split) = (text("path"), text("class"), text("split"));
    let mut label: Vec<i64> = Vec::with_capacity(rows);
    for list in &source.splits {
        for item in &list.items {
            path.append_value(&item.path);
            class.append_value(source.class_names.name(item.label).unwrap_or_default());
            split.append_value(list.split.as_str());
            label.push(item.label.into());
        }
    }
    let mut columns = vec![
        Column::new(ROW.into(), (0..rows as u32).collect::<Vec<_>>()),
        path.finish().into_column(),
        Column::new("label".into(), label),
        class.finish().into_column(),
        split.finish().into_column(),
    ];
    let splits = source
        .splits
        .iter()
        .map(|list| (&list.columns, list.items.len()));
    columns.extend(stacked(&splits.collect::<Vec<_>>())?);
    let frame = DataFrame::new(rows, columns);
    Ok(frame.expect("every column has a row an image, and tables' columns have names beside ours"))
}

/// The columns of frames of so many rows, one below the other; where one is lacking there are no values.
pub(crate) fn stacked(frames: &[(&DataFrame, usize)]) -> Result<Vec<Column>> {
    let mut names: Vec<PlSmallStr> = Vec::new();
    for column in frames.iter().flat_map(|(frame, _)| frame.columns()) {
        if !names.contains(column.name()) {
            names.push(column.name().clone());
        }
    }
    names.into_iter().map(|name| stack(frames, &name)).collect()
}

fn stack(frames: &[(&DataFrame, usize)], name: &PlSmallStr) -> Result<Column> {
    let found = frames.iter().map(|(frame, _)| frame.column(name).ok());
    let found: Vec<Option<&Column>> = found.collect();
    let mut types = found.iter().flatten().filter(|column| {
        // A column without a value may be any.
        column.null_count() < column.len()
    });
    let first = types
        .next()
        .map_or(DataType::String, |column| column.dtype().clone());
    let data_type = types.fold(first, |one, column| match (&one, column.dtype()) {
        (one, other) if one == other => other.clone(),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
            DataType::Float64
        }
        _ => DataType::String,
    });
    let mut whole: Option<Column> = None;
    for ((_, rows), column) in frames.iter().zip(found) {
        let part = match column {
            Some(column) => column.cast(&data_type),
            None => Ok(Column::full_null(name.clone(), *rows, &data_type)),
        };
        let appended = part.and_then(|part| match &mut whole {
            Some(whole) => whole.append(&part).map(|_| ()),
            None => {
                whole = Some(part);
                Ok(())
            }
        });
        appended.map_err(|err| Error::Setting {
            reason: format!("column `{name}` is not of one type: {err}"),
            hint: "give it one type in all tables".to_owned(),
        })?;
    }
    Ok(whole.unwrap_or_else(|| Column::full_null(name.clone(), 0, &data_type)))
}

impl Keep {
    /// Leaves the columns that go into the shards, and no others.
    ///
    /// # Errors
    /// When one is not there.
    pub(crate) fn select(&self, list: &mut SplitList, as_written: &[String]) -> Result<()> {
        let names = match self {
            Keep::All if list.columns.width() == 0 => {
                return Err(Error::Setting {
                    reason: format!("--keep-columns: the {} split has no columns", list.split),
                    hint: "columns come from the source's table or from --join".to_owned(),
                });
            }
            Keep::All => return list.name_for_shards(as_written),
            Keep::Nothing => {
                list.columns = DataFrame::default();
                return Ok(());
            }
            Keep::Named(names) => names,
        };
        let selected = list.columns.select(names.iter().map(String::as_str));
        list.columns = selected.map_err(|_| {
            let there = list.columns.get_column_names();
            let missing = names
                .iter()
                .find(|name| !there.iter().any(|known| known == name));
            Error::Setting {
                reason: format!(
                    "--keep-columns: there is no column `{}` in the {} split",
                    missing.map_or("", String::as_str),
                    list.split
                ),
                hint: "columns come from the source's table or from --join".to_owned(),
            }
        })?;
        list.name_for_shards(as_written)
    }
}

impl SplitList {
    /// Gives the columns names that no column of the shards' own has.
    fn name_for_shards(&mut self, as_written: &[String]) -> Result<()> {
        let columns = self.columns.columns();
        if columns.iter().any(|column| column.name().trim().is_empty()) {
            return Err(Error::Setting {
                reason: "--keep-columns: a column of the table has no name".to_owned(),
                hint:
                    "name the columns that are wanted instead of `all` (pandas writes its index so)"
                        .to_owned(),
            });
        }
        // What was compared as it is written is stored as what it holds, as without a comparison.
        let columns = columns.iter().map(|column| match column.str() {
            Ok(texts) if as_written.iter().any(|name| column.name() == name) => {
                typed(texts.clone())
            }
            _ => column.clone(),
        });
        let named = renamed(columns, &lift_shards::shard::OWN_COLUMNS);
        let height = self.columns.height();
        self.columns = DataFrame::new(height, named).expect("the names are distinct");
        Ok(())
    }
}

/// A frame of the four types as Arrow has it.
pub(crate) fn as_arrow(columns: &DataFrame) -> RecordBatch {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for column in columns.columns() {
        let (array, name) = (array(column), column.name().to_string());
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let rows = RecordBatchOptions::new().with_row_count(Some(columns.height()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &rows)
        .expect("columns of one frame")
}

fn array(column: &Column) -> ArrayRef {
    let series = column.as_materialized_series();
    match column.dtype() {
        DataType::Boolean => {
            let values = series.bool().expect("it is boolean");
            Arc::new(values.iter().collect::<BooleanArray>())
        }
        DataType::Int64 => {
            let values = series.i64().expect("it is whole");
            Arc::new(values.iter().collect::<Int64Array>())
        }
        DataType::Float64 => {
            let values = series.f64().expect("it is a float");
            Arc::new(values.iter().collect::<Float64Array>())
        }
        _ => {
            let values = series.str().expect("a table's columns are of four types");
            // Views: a text that many rows share is held once, and there may be more than 2 GiB.
            let mut texts = StringViewBuilder::new().with_deduplicate_strings();
            values.iter().for_each(|value| texts.append_option(value));
            Arc::new(texts.finish())
        }
    }
}
