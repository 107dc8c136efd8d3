//! Delimited text with a heading: commas, semicolons or tabs, as the heading has them.
//!
//! An empty field is a missing value. Invariant: every row has the heading's number of fields.

use std::path::Path;

use csv::{ErrorKind, Position, ReaderBuilder, StringRecord, Trim};
use polars::prelude::{Column, DataFrame, IntoColumn, StringChunked, StringChunkedBuilder};

use super::typed::typed;
use super::{Place, Table, WantedColumns, line_at};
use crate::error::{Error, Result};

pub(super) fn read(file: &Path, text: &str, wanted: WantedColumns<'_>) -> Result<Table> {
    let wrong = |err: csv::Error| {
        let reason = match err.kind() {
            ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => format!("{len} fields, the header has {expected_len}"),
            _ => err.to_string(),
        };
        let place = err
            .position()
            .map(|position| line_at(file, position.byte()));
        Error::Source {
            path: place.unwrap_or_else(|| file.to_owned()),
            reason,
            hint: "a CSV list has a header line, and commas, semicolons or tabs throughout; quote values that hold one".to_owned(),
        }
    };
    let mut reader = ReaderBuilder::new()
        .trim(Trim::All)
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let names: Vec<String> = reader
        .headers()
        .map_err(wrong)?
        .iter()
        .map(str::to_owned)
        .collect();
    require_distinct(file, &names)?;
    let taken: Vec<usize> = (0..names.len())
        .filter(|&column| (wanted.column)(&names[column]))
        .collect();
    let builder = |&column: &usize| StringChunkedBuilder::new(names[column].as_str().into(), 0);
    let mut builders: Vec<_> = taken.iter().map(builder).collect();
    let (mut offsets, mut goes_on) = (Vec::new(), false);
    let mut record = StringRecord::new();
    while reader.read_record(&mut record).map_err(wrong)? {
        offsets.push(record.position().map_or(0, Position::byte));
        goes_on = record.iter().any(|value| value.contains('\n'));
        for (builder, &column) in builders.iter_mut().zip(&taken) {
            builder.append_option(Some(&record[column]).filter(|value| !value.is_empty()));
        }
    }
    // From an open quote on everything is one value: a last row of several lines with an odd number of quotes.
    let last = offsets.last().copied().unwrap_or_default();
    let row = text.get(last as usize..).unwrap_or_default();
    if goes_on && row.matches('"').count() % 2 == 1 {
        return Err(Error::Source {
            path: line_at(file, last),
            reason: "a quote is opened in this row and never closed".to_owned(),
            hint: "close it, or write it twice where it belongs to the text".to_owned(),
        });
    }
    let finished = |texts: StringChunked| -> Column {
        if wanted.as_written.contains(&texts.name().as_str()) {
            texts.into_column()
        } else {
            typed(texts)
        }
    };
    let columns = builders
        .into_iter()
        .map(|builder| finished(builder.finish()));
    let frame = DataFrame::new(offsets.len(), columns.collect());
    Ok(Table {
        file: file.to_owned(),
        frame: frame.expect("the columns are of one length and have names of their own"),
        names,
        nested: Vec::new(),
        place: Place::Lines {
            file: file.to_owned(),
            offsets,
        },
    })
}

/// Fails where two columns share a name: which is meant cannot be told.
pub(super) fn require_distinct(file: &Path, names: &[String]) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match names.iter().find(|name| !seen.insert(*name)) {
        Some(name) => Err(Error::Source {
            path: file.to_owned(),
            reason: format!("two columns are called `{name}`"),
            hint: "give each column a name of its own".to_owned(),
        }),
        None => Ok(()),
    }
}

/// What stands between the fields of the first line that has any: a comma, or else what programs write in its place, those of
/// countries with decimal commas and those that say TSV.
fn delimiter(text: &str) -> u8 {
    let header = text.lines().find(|line| !line.trim().is_empty());
    // Commas within quotes are a name's.
    let bare: String = header.unwrap_or_default().split('"').step_by(2).collect();
    let has = |delimiter: &&u8| bare.as_bytes().contains(delimiter);
    *[b',', b';', b'\t'].iter().find(has).unwrap_or(&b',')
}
