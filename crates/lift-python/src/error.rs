//! Errors of the libraries as the package's own exception, `lift.LiftError`, with the same text: path, reason, hint.

use std::fmt::Display;

use pyo3::{PyErr, Python, prelude::PyAnyMethods};

/// `lift.LiftError` with this text.
pub(crate) fn lift_error(error: impl Display) -> PyErr {
    let text = error.to_string();
    Python::attach(|py| {
        let class = py
            .import("lift.error")
            .and_then(|module| module.getattr("LiftError"));
        match class.and_then(|class| class.call1((text,))) {
            Ok(value) => PyErr::from_value(value),
            Err(e) => e,
        }
    })
}
