//! A table as a file, CSV or Parquet as its name ends.
//!
//! Invariant: both forms have the same columns and rows in the same order, and the file appears whole or not at all.

use std::io;
use std::path::Path;

use arrow::array::Array;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use lift_files::Purpose;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use crate::atomic;
use crate::error::{Error, Result};
use crate::pages;

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
    // Readers see Parquet's own types: of Arrow's views of text some know little.
    let plain = ArrowWriterOptions::new().with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, table.schema(), plain)
        .map_err(io::Error::other)?;
    let written = writer.write(table).and_then(|()| writer.close());
    written.map_err(io::Error::other)?;
    Ok(bytes)
}

/// Two columns of a CSV or Parquet table, as text: a key and its value, row by row.
///
/// # Errors
/// When the file is neither, is damaged, or has no such columns.
pub fn read_pairs(path: &Path, key: &str, value: &str) -> Result<Vec<Pair>> {
    let wrong = |reason: String| Error::Read {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, reason),
    };
    let form =
        TableForm::of(path).map_err(|_| wrong("not the name of a .csv or .parquet".into()))?;
    let missing = |name: &str, there: &[&str]| {
        wrong(format!(
            "there is no column `{name}`; there are {}",
            there.join(", ")
        ))
    };
    let place = |there: &[&str], name: &str| {
        let found = there.iter().position(|known| *known == name);
        found.ok_or_else(|| missing(name, there))
    };
    let mut pairs = Vec::new();
    match form {
        TableForm::Csv => {
            let text = lift_files::text(path, Purpose::List).map_err(Error::read(path))?;
            let mut reader = csv::ReaderBuilder::new()
                .trim(csv::Trim::All)
                .from_reader(text.as_bytes());
            let bad = |err: csv::Error| wrong(err.to_string());
            let heading = reader.headers().map_err(bad)?.clone();
            let there: Vec<&str> = heading.iter().collect();
            let (key, value) = (place(&there, key)?, place(&there, value)?);
            for record in reader.records() {
                let record = record.map_err(bad)?;
                let cell = |at: usize| Some(record[at].to_owned()).filter(|text| !text.is_empty());
                pairs.push((cell(key), cell(value)));
            }
        }
        TableForm::Parquet => {
            let builder = pages::open(path).map_err(Error::read(path))?;
            let schema = builder.schema().clone();
            let there: Vec<&str> = schema
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            place(&there, key)?;
            place(&there, value)?;
            let mask = pages::columns(builder.parquet_schema(), &[key, value]);
            let batches = builder.with_projection(mask).build();
            for batch in batches.map_err(|err| wrong(err.to_string()))? {
                let batch = batch.map_err(|err| wrong(err.to_string()))?;
                let cell = |name: &str, row: usize| -> io::Result<Option<String>> {
                    let column = batch.column_by_name(name).expect("it is projected");
                    if column.is_null(row) {
                        return Ok(None);
                    }
                    let text = array_value_to_string(column, row).map_err(io::Error::other)?;
                    Ok(Some(text))
                };
                for row in 0..batch.num_rows() {
                    let pair = cell(key, row).and_then(|key| Ok((key, cell(value, row)?)));
                    pairs.push(pair.map_err(Error::read(path))?);
                }
            }
        }
    }
    Ok(pairs)
}

/// A key and its value, where they are there.
pub type Pair = (Option<String>, Option<String>);

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
    fn pairs_come_back_from_both_forms() {
        let columns: [(&str, ArrayRef); 3] = [
            (
                "site",
                Arc::new(StringArray::from(vec![Some("a"), None, Some("b, c")])),
            ),
            ("other", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            (
                "path",
                Arc::new(StringArray::from(vec!["1.jpg", "2.jpg", "3.jpg"])),
            ),
        ];
        let table = RecordBatch::try_from_iter(columns).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let pair =
            |key: &str, value: Option<&str>| (Some(key.to_owned()), value.map(str::to_owned));
        for (name, form) in [("a.csv", TableForm::Csv), ("a.parquet", TableForm::Parquet)] {
            let path = dir.path().join(name);
            write(&path, form, &table).unwrap();
            let expected = [
                pair("1.jpg", Some("a")),
                pair("2.jpg", None),
                pair("3.jpg", Some("b, c")),
            ];
            assert_eq!(
                read_pairs(&path, "path", "site").unwrap(),
                expected,
                "{name}"
            );
            let err = read_pairs(&path, "path", "camera").unwrap_err().to_string();
            assert!(
                err.contains("there is no column `camera`; there are site, other, path"),
                "{err}"
            );
        }
        assert!(read_pairs(&dir.path().join("a.txt"), "path", "site").is_err());
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
