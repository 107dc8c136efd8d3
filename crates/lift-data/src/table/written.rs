//! A frame as a table for people or other programs: aligned text, CSV, JSON, Parquet.

use std::path::Path;

use polars::prelude::{AnyValue, DataFrame, DataType};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use lift_shards::atomic;

/// The forms of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Comma-separated values with a heading.
    Csv,
    /// One JSON array of objects.
    Json,
    /// A JSON object a line, which is a table again.
    JsonLines,
    /// Parquet.
    Parquet,
}

impl Form {
    /// The form that a file's name asks for.
    ///
    /// # Errors
    /// When it ends in none of the three.
    pub fn of(path: &Path) -> std::result::Result<Self, String> {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        match ending.to_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "json" => Ok(Self::Json),
            "jsonl" => Ok(Self::JsonLines),
            "parquet" => Ok(Self::Parquet),
            _ => Err(format!(
                "{}: a table is written as .csv, .json, .jsonl or .parquet\nhint: end the name in one of these",
                path.display()
            )),
        }
    }
}

/// Writes a frame to a file.
///
/// # Errors
/// When the file cannot be written, or a column has a type that the form has not.
pub fn write(frame: &DataFrame, path: &Path, form: Form) -> Result<()> {
    require_plain(frame)?;
    let bytes = match form {
        Form::Csv => csv(frame).map_err(|err| lift_shards::Error::write_csv(path, err))?,
        Form::Json => {
            let text = serde_json::to_string_pretty(&json(frame)).expect("values are plain data");
            (text + "\n").into_bytes()
        }
        Form::JsonLines => {
            let rows = json(frame);
            let rows = rows.as_array().into_iter().flatten();
            rows.map(|row| format!("{row}\n"))
                .collect::<String>()
                .into_bytes()
        }
        Form::Parquet => {
            let batch = parquet_batch(frame)?;
            return Ok(lift_shards::table_file::write(
                path,
                lift_shards::table_file::TableForm::Parquet,
                &batch,
            )?);
        }
    };
    Ok(atomic::write(path, &bytes)?)
}

/// Fails where a column holds lists or structures, of which a cell would have the beginning.
///
/// # Errors
/// Which column it is.
pub fn require_plain(frame: &DataFrame) -> Result<()> {
    match frame
        .columns()
        .iter()
        .find(|column| column.dtype().is_nested())
    {
        None => Ok(()),
        Some(column) => Err(Error::Setting {
            reason: format!(
                "column `{}` of the answer holds lists or structures",
                column.name()
            ),
            hint: "ask for one value a cell, such as array_to_string(array_agg(path), ' ')"
                .to_owned(),
        }),
    }
}

/// The rows as CSV; what is missing is empty.
pub fn csv(frame: &DataFrame) -> std::result::Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(frame.get_column_names().iter().map(|name| name.as_str()))?;
    for row in 0..frame.height() {
        for column in frame.columns() {
            writer.write_field(cell(&value(column, row)))?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.into_inner().map_err(|err| err.into_error().into())
}

/// The rows as an array of objects.
pub fn json(frame: &DataFrame) -> Value {
    let object = |row| {
        let members = frame.columns().iter().map(|column| {
            let value = value(column, row);
            (column.name().to_string(), json_value(&value))
        });
        Value::Object(members.collect::<Map<_, _>>())
    };
    Value::Array((0..frame.height()).map(object).collect())
}

/// The first `rows` rows as aligned text: numbers to the right.
pub fn text(frame: &DataFrame, rows: usize) -> Vec<Vec<String>> {
    let head = frame
        .get_column_names()
        .iter()
        .map(|name| name.to_string())
        .collect();
    let row = |row| {
        let cells = frame
            .columns()
            .iter()
            .map(|column| shown(&value(column, row)));
        cells.collect()
    };
    std::iter::once(head)
        .chain((0..frame.height().min(rows)).map(row))
        .collect()
}

/// Whether a column's values stand to the right.
pub fn is_number(data_type: &DataType) -> bool {
    data_type.is_primitive_numeric()
}

fn value(column: &polars::prelude::Column, row: usize) -> AnyValue<'_> {
    column.get(row).unwrap_or(AnyValue::Null)
}

/// A cell for people: of a fraction four places, files have all.
fn shown(value: &AnyValue<'_>) -> String {
    match value.extract::<f64>() {
        Some(number) if value.is_float() && number.fract() != 0.0 && number.abs() >= 1e-3 => {
            let rounded = format!("{number:.4}");
            rounded
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        }
        _ => cell(value),
    }
}

fn cell(value: &AnyValue<'_>) -> String {
    match value {
        AnyValue::Null => String::new(),
        AnyValue::String(text) => (*text).to_owned(),
        AnyValue::StringOwned(text) => text.to_string(),
        AnyValue::Boolean(value) => value.to_string(),
        other => match other.extract::<f64>() {
            Some(number) if other.is_float() => number_text(number),
            _ => other.to_string(),
        },
    }
}

/// A float as people write it: very large and very small ones with an exponent.
fn number_text(number: f64) -> String {
    match number.abs() {
        size if size != 0.0 && !(1e-5..1e15).contains(&size) && size.is_finite() => {
            format!("{number:e}")
        }
        _ => number.to_string(),
    }
}

fn json_value(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(value) => Value::from(*value),
        AnyValue::String(text) => Value::from(*text),
        other if other.is_float() => other.extract::<f64>().map_or(Value::Null, Value::from),
        other if other.is_integer() => match other.extract::<i64>() {
            Some(number) => Value::from(number),
            None => other.extract::<u64>().map_or(Value::Null, Value::from),
        },
        other => Value::from(cell(other)),
    }
}

/// The columns as Arrow's, whole numbers and floats at 64 bits; what is none of the four types is text.
fn parquet_batch(frame: &DataFrame) -> Result<arrow::array::RecordBatch> {
    let columns = frame.columns().iter().map(|column| {
        let wanted = match column.dtype() {
            DataType::Boolean => DataType::Boolean,
            whole if whole.is_integer() => DataType::Int64,
            number if number.is_float() => DataType::Float64,
            _ => DataType::String,
        };
        column.strict_cast(&wanted).map_err(|err| Error::Setting {
            reason: format!("column `{}` cannot be written: {err}", column.name()),
            hint: "select it as text: cast(.. as varchar)".to_owned(),
        })
    });
    let columns: Vec<_> = columns.collect::<Result<_>>()?;
    let frame = DataFrame::new(frame.height(), columns).expect("columns of one frame");
    Ok(crate::choice::as_arrow(&frame))
}
