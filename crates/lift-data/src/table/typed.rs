//! Columns of one type, from what a file says value by value.
//!
//! Text becomes numbers or booleans only where every value of the column is one: `007`, `+7` and whole numbers of more
//! digits than a float has stay text. `nan` is a missing value, as pandas writes it. Invariant: the type depends on
//! all values of the column, not on the first ones.

use polars::prelude::{BooleanChunked, Float64Chunked, Int64Chunked};

use super::texts::Texts;
use polars::prelude::{
    BooleanChunkedBuilder, ChunkedBuilder, Column, Float64Type, Int64Type, IntoColumn, IntoSeries,
    NewChunkedArray, PrimitiveChunkedBuilder, StringChunked,
};

/// A column that grows by rows.
pub(crate) enum ColumnBuilder {
    Whole(PrimitiveChunkedBuilder<Int64Type>),
    Number(PrimitiveChunkedBuilder<Float64Type>),
    Boolean(BooleanChunkedBuilder),
    Text(Texts),
}

impl ColumnBuilder {
    pub(crate) fn whole(name: &str) -> Self {
        Self::Whole(PrimitiveChunkedBuilder::new(name.into(), 0))
    }

    pub(crate) fn number(name: &str) -> Self {
        Self::Number(PrimitiveChunkedBuilder::new(name.into(), 0))
    }

    pub(crate) fn boolean(name: &str) -> Self {
        Self::Boolean(BooleanChunkedBuilder::new(name.into(), 0))
    }

    pub(crate) fn text(name: &str) -> Self {
        Self::Text(Texts::new(name))
    }

    /// Goes on as text, with what there is so far.
    pub(super) fn become_text(&mut self) {
        let Self::Whole(values) = self else { return };
        let empty = PrimitiveChunkedBuilder::new("".into(), 0);
        let whole = std::mem::replace(values, empty).finish();
        let mut texts = Texts::new(whole.name());
        for value in whole.iter() {
            let text = value.map(|value| value.to_string());
            texts
                .append(text.as_deref())
                .expect("whole numbers are short");
        }
        *self = Self::Text(texts);
    }

    pub(crate) fn finish(self) -> Column {
        match self {
            Self::Whole(values) => values.finish().into_column(),
            Self::Number(values) => values.finish().into_column(),
            Self::Boolean(values) => values.finish().into_column(),
            Self::Text(values) => values.finish().into_column(),
        }
    }
}

/// What all texts of a column are: `None` of them is a missing value.
pub(crate) fn typed(texts: StringChunked) -> Column {
    let name = texts.name().clone();
    if texts.null_count() == texts.len() {
        return texts.into_series().into_column();
    }
    if let Some(values) = all(&texts, whole_number) {
        return Int64Chunked::from_iter_options(name, values.into_iter()).into_column();
    }
    let or_missing = |text: &str| match text.eq_ignore_ascii_case("nan") {
        true => Some(None),
        false => number(text).map(Some),
    };
    if let Some(values) = all(&texts, or_missing) {
        let values = values.into_iter().map(Option::flatten);
        return Float64Chunked::from_iter_options(name, values).into_column();
    }
    if let Some(values) = all(&texts, boolean) {
        return BooleanChunked::from_iter_options(name, values.into_iter()).into_column();
    }
    texts.into_series().into_column()
}

/// The texts' values; `None` where one of them has none.
fn all<T>(texts: &StringChunked, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<Option<T>>> {
    let parsed = texts.iter().map(|text| match text {
        None => Some(None),
        Some(text) => parse(text).map(Some),
    });
    parsed.collect()
}

/// A whole number as it is usually written: `07` and `+7` are names, so that they differ from `7`.
pub(crate) fn whole_number(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let bytes = digits.as_bytes();
    let begins_well = match bytes {
        [b'0', b'0'..=b'9', ..] | [] => false,
        [first, ..] => first.is_ascii_digit() || *first == b'.',
    };
    // A float holds no more digits; what has more is a name.
    let significant = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_long = !digits.contains(['.', 'e', 'E']) && significant > 15;
    let number: f64 = (begins_well && !is_long).then(|| text.parse().ok())??;
    number.is_finite().then_some(number)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{AnyValue, DataType};

    use super::*;

    fn column(texts: &[&str]) -> Column {
        let texts = texts.iter().map(|text| (!text.is_empty()).then_some(*text));
        typed(StringChunked::from_iter_options("x".into(), texts))
    }

    #[test]
    fn a_column_is_what_all_its_values_are() {
        for (texts, kind) in [
            (&["1", "", "-20"][..], DataType::Int64),
            (&["1", "2.5", "-1e3", "nan"], DataType::Float64),
            (&["1e400"], DataType::String),
            (&["nan", "x"], DataType::String),
            (&["True", "false", ""], DataType::Boolean),
            (&["1", "two"], DataType::String),
            (&["1", "007"], DataType::String),
            (&["+1"], DataType::String),
            (&["1", "true"], DataType::String),
            (&["12345678901234567890"], DataType::String),
            (&["inf"], DataType::String),
            (&["1.2.3", "-"], DataType::String),
            (&["", ""], DataType::String),
        ] {
            assert_eq!(column(texts).dtype(), &kind, "{texts:?}");
        }
        let numbers = column(&["1", "", "0.25"]);
        let values: Vec<_> = (0..3).map(|row| numbers.get(row).unwrap()).collect();
        let expected = [
            AnyValue::Float64(1.0),
            AnyValue::Null,
            AnyValue::Float64(0.25),
        ];
        assert_eq!(values, expected);
    }
}
