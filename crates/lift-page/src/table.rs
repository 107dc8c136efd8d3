//! Tables with typed cells: what a cell is decides how it is written, aligned and sorted.

use super::number::{decimal, grouped};

/// A table. Rows have as many cells as there are columns; missing ones are shown empty.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, in the order that is shown first.
    pub rows: Vec<Vec<Cell>>,
    /// How many rows there are in all, where only the first are here; the page says so.
    pub rows_in_all: usize,
}

/// A column's heading and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub heading: String,
    /// Text or numbers.
    pub kind: Kind,
}

/// How a column is aligned and sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// To the left, by text.
    Text,
    /// To the right, by number.
    Number,
}

/// The value of a cell or a key figure.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number with so many places.
    Float(f64, usize),
    /// A share of 1, shown in per cent with so many places.
    Percent(f64, usize),
    /// No value.
    Missing,
}

impl Cell {
    /// A text cell.
    pub fn text(text: impl Into<String>) -> Self {
        Cell::Text(text.into())
    }

    /// A number with so many places, where there is one.
    pub fn float(value: Option<f64>, decimals: usize) -> Self {
        value.map_or(Cell::Missing, |value| Cell::Float(value, decimals))
    }

    /// A share of 1 with so many places, where there is one.
    pub fn percent(share: Option<f64>, decimals: usize) -> Self {
        share.map_or(Cell::Missing, |share| Cell::Percent(share, decimals))
    }

    /// The value as it is read; text as it came, not escaped.
    pub fn display(&self) -> String {
        match self {
            Cell::Text(text) => text.clone(),
            Cell::Count(count) => grouped(*count),
            Cell::Float(value, decimals) => decimal(*value, *decimals),
            Cell::Percent(share, _) if !share.is_finite() => decimal(*share, 0),
            Cell::Percent(share, decimals) => decimal(share * 100.0, *decimals) + " %",
            Cell::Missing => "–".to_owned(),
        }
    }
}

impl Table {
    /// An empty table; a heading that starts with `#` is a column of numbers, the mark is not shown.
    pub fn new(caption: &str, headings: &[&str]) -> Self {
        let column = |heading: &&str| match heading.strip_prefix('#') {
            Some(heading) => Column {
                heading: heading.to_owned(),
                kind: Kind::Number,
            },
            None => Column {
                heading: (*heading).to_owned(),
                kind: Kind::Text,
            },
        };
        Self {
            caption: caption.to_owned(),
            columns: headings.iter().map(column).collect(),
            rows: Vec::new(),
            rows_in_all: 0,
        }
    }

    /// Adds a row.
    pub fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
        self.rows_in_all += 1;
    }

    /// The table with its first `most` rows only; it remembers how many there were.
    pub fn first(mut self, most: usize) -> Self {
        self.rows.truncate(most);
        self
    }

    /// `Showing the first 100 of 8,142 rows`, where some are left out.
    pub(super) fn cut_note(&self, shown: usize) -> Option<String> {
        (shown < self.rows_in_all).then(|| {
            format!(
                "The first {} of {} rows.",
                grouped(shown as u64),
                grouped(self.rows_in_all as u64)
            )
        })
    }
}
