//! JSON lines: an object a line, its members the columns.
//!
//! A member that a line lacks, or that is `null`, is a missing value. Lists and objects are no column.
//! Invariant: columns stand in the order of their first appearance.

use std::collections::HashMap;
use std::path::Path;

use polars::prelude::{Column, DataFrame, IntoColumn, StringChunked, StringChunkedBuilder};
use serde_json::{Map, Value};

use super::typed::typed;
use super::{Place, Table, WantedColumns, line_at};
use crate::error::{Error, Result};

/// Members times lines, where few lines have all members: each cell takes 16 bytes.
const MOST_CELLS: usize = 64 << 20;

/// One member of the objects.
struct Member {
    name: String,
    /// `None`: not wanted.
    texts: Option<StringChunkedBuilder>,
    rows: usize,
    /// Whether a value is text, which then all are.
    has_text: bool,
    /// Whether a value is a list or an object.
    nested: bool,
}

pub(super) fn read(file: &Path, text: &str, wanted: WantedColumns<'_>) -> Result<Table> {
    let mut members: Vec<Member> = Vec::new();
    let mut index: HashMap<String, usize> = HashMap::new();
    let mut offsets: Vec<u64> = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let offset = start;
        start += line.len();
        if line.trim().is_empty() {
            continue;
        }
        let object: Map<String, Value> =
            serde_json::from_str(line).map_err(|err| Error::Source {
                path: line_at(file, offset as u64),
                reason: format!("not a JSON object: {err}"),
                hint:
                    "JSON lines hold one object a line, such as {\"path\": \"a.jpg\", \"label\": 0}"
                        .to_owned(),
            })?;
        let row = offsets.len();
        offsets.push(offset as u64);
        if (row + 1) * members.len() > MOST_CELLS.max(text.len()) {
            return Err(Error::Source {
                path: line_at(file, offset as u64),
                reason: format!("{} different members by this line", members.len()),
                hint: "lines of a table have the same members; put what differs into one of text"
                    .to_owned(),
            });
        }
        for (name, value) in object {
            let at = *index.entry(name).or_insert_with_key(|name| {
                members.push(Member::new(name, wanted));
                members.len() - 1
            });
            members[at].append(row, &value);
        }
    }
    let rows = offsets.len();
    let (mut names, mut nested, mut columns) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        if member.nested {
            nested.push((member.name, "lists or objects".to_owned()));
            continue;
        }
        names.push(member.name.clone());
        columns.extend(member.finish(rows));
    }
    Ok(Table {
        file: file.to_owned(),
        frame: DataFrame::new(rows, columns).expect("every member is padded to all rows"),
        names,
        nested,
        place: Place::Lines {
            file: file.to_owned(),
            offsets,
        },
    })
}

impl Member {
    fn new(name: &str, wanted: WantedColumns<'_>) -> Self {
        Self {
            name: name.to_owned(),
            texts: (wanted.column)(name).then(|| StringChunkedBuilder::new(name.into(), 0)),
            rows: 0,
            has_text: false,
            nested: false,
        }
    }

    fn append(&mut self, row: usize, value: &Value) {
        self.nested |= matches!(value, Value::Array(_) | Value::Object(_));
        self.has_text |= value.is_string();
        let Some(texts) = &mut self.texts else { return };
        while self.rows < row {
            texts.append_null();
            self.rows += 1;
        }
        match value {
            Value::Null | Value::Array(_) | Value::Object(_) => texts.append_null(),
            Value::String(text) => texts.append_value(text),
            other => texts.append_value(other.to_string()),
        }
        self.rows += 1;
    }

    fn finish(self, rows: usize) -> Option<Column> {
        let mut texts = self.texts?;
        for _ in self.rows..rows {
            texts.append_null();
        }
        let texts: StringChunked = texts.finish();
        Some(if self.has_text {
            texts.into_column()
        } else {
            typed(texts)
        })
    }
}
