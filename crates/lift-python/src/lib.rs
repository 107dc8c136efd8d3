//! `lift._native`: shards and batches for Python, without a copy where that can be.
//!
//! What users see is in `python/lift`, which wraps this; here is what needs Rust. It knows no tensors: memory is handed over by
//! DLPack, which PyTorch and NumPy read. Invariant: whatever waits or computes does so without Python's lock.

#![deny(unsafe_code)]

mod block;
mod columns;
mod epoch;
mod error;
mod reader;

use pyo3::{Bound, PyResult, pymodule, types::PyModule, types::PyModuleMethods};

/// The module.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<block::Block>()?;
    module.add_class::<epoch::Batches>()?;
    module.add_class::<epoch::Loader>()?;
    module.add_class::<reader::Reader>()?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
