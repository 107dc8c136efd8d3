//! The user's own columns that a build kept, as lists of Python's values.

use arrow::{
    array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray},
    compute::cast,
    datatypes::DataType,
    error::ArrowError,
};
use pyo3::{Bound, Python, prelude::*, types::PyList};

use crate::error::lift_error;

/// The values of a column, `None` where it has none: numbers and truth values as they are, all else as text.
pub(crate) fn values<'py>(py: Python<'py>, column: &ArrayRef) -> PyResult<Bound<'py, PyList>> {
    let plain = plain(column).map_err(lift_error)?;
    let any = plain.as_any();
    if let Some(numbers) = any.downcast_ref::<Int64Array>() {
        return PyList::new(py, numbers.iter());
    }
    if let Some(numbers) = any.downcast_ref::<Float64Array>() {
        return PyList::new(py, numbers.iter());
    }
    if let Some(truths) = any.downcast_ref::<BooleanArray>() {
        return PyList::new(py, truths.iter());
    }
    let texts = any.downcast_ref::<StringArray>();
    let texts: Vec<Option<&str>> = texts.into_iter().flatten().collect();
    PyList::new(py, texts)
}

/// One of the four kinds above.
fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let kind = column.data_type();
    let to = match kind {
        DataType::Boolean => DataType::Boolean,
        DataType::UInt64 => DataType::Utf8,
        kind if kind.is_integer() => DataType::Int64,
        kind if kind.is_floating() => DataType::Float64,
        _ => DataType::Utf8,
    };
    cast(column, &to)
}
