//! A table as a file, CSV or Parquet as its name ends.
//!
//! Invariant: both forms have the same columns and rows in the same order, and the file appears whole or not at all.

use std::io;
use std::path::Path;

use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use parquet::arrow::ArrowWriter;

use crate::atomic;
use crate::error::{Error, Result};

/// The forms of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableForm {
    /// Comma-separated values with a heading.
    Csv,
    /// Parquet.
    Parquet,
}

impl TableForm {
    /// The form that a file's name asks for.
    ///
    /// # Errors
    /// When it ends in neither `.csv` nor `.parquet`.
    pub fn of(path: &Path) -> std::result::Result<Self, String> {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        match ending.to_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "parquet" => Ok(Self::Parquet),
            _ => Err(format!(
                "{}: a table is written as .csv or .parquet\nhint: end the name in one of these",
                path.display()
            )),
        }
    }
}

/// Writes a table.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, form: TableForm, table: &RecordBatch) -> Result<()> {
    let bytes = match form {
        TableForm::Csv => csv(table),
        TableForm::Parquet => parquet(table),
    };
    atomic::write(path, &bytes.map_err(Error::write(path))?)
}

fn csv(table: &RecordBatch) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let schema = table.schema();
    writer.write_record(schema.fields().iter().map(|field| field.name()))?;
    for row in 0..table.num_rows() {
        for column in table.columns() {
            let cell = array_value_to_string(column, row).map_err(io::Error::other)?;
            writer.write_field(cell)?;
        }
        writer.write_record(None::<&[u8]>)?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

fn parquet(table: &RecordBatch) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer =
        ArrowWriter::try_new(&mut bytes, table.schema(), None).map_err(io::Error::other)?;
    let written = writer.write(table).and_then(|()| writer.close());
    written.map_err(io::Error::other)?;
    Ok(bytes)
}

/// An [`Error::Write`] of a table that could not be put together.
///
/// [`Error::Write`]: crate::Error::Write
pub fn unmade(path: &Path, error: ArrowError) -> Error {
    Error::write(path)(io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float32Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn csv_has_a_heading_and_quotes_what_it_must() {
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from(vec![3, -1]))),
            ("path", Arc::new(StringArray::from(vec!["a,b\"c", "猫"]))),
            ("confidence", Arc::new(Float32Array::from(vec![0.25, 1.0]))),
        ];
        let table = RecordBatch::try_from_iter(columns).unwrap();
        let text = String::from_utf8(csv(&table).unwrap()).unwrap();
        assert_eq!(text, "id,path,confidence\n3,\"a,b\"\"c\",0.25\n-1,猫,1.0\n");
        let none = csv(&table.slice(0, 0)).unwrap();
        assert_eq!(none, b"id,path,confidence\n");
    }

    #[test]
    fn the_ending_decides() {
        assert_eq!(TableForm::of("a/x.CSV".as_ref()), Ok(TableForm::Csv));
        assert_eq!(TableForm::of("x.parquet".as_ref()), Ok(TableForm::Parquet));
        for path in ["x.json", "csv", "x.csv.gz"] {
            assert!(
                TableForm::of(path.as_ref())
                    .unwrap_err()
                    .contains(".csv or .parquet")
            );
        }
    }
}
