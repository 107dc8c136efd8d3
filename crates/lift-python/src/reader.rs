//! One split's shards: what they say of themselves, and single images.

use std::{path::PathBuf, sync::Arc};

use lift_image::decode::Decoder;
use lift_shards::{ShardReader, Split};
use pyo3::{
    exceptions::PyIndexError,
    prelude::*,
    types::{PyByteArray, PyList},
};

use crate::{
    block::{Block, Memory},
    columns,
    error::lift_error,
};

/// An opened split.
#[pyclass(frozen, module = "lift._native")]
pub(crate) struct Reader {
    pub(crate) shards: Arc<ShardReader>,
    folder: PathBuf,
}

#[pymethods]
impl Reader {
    /// Opens the shards in `path`, or those of `split` below it.
    #[new]
    #[pyo3(signature = (path, split=None))]
    fn new(py: Python<'_>, path: PathBuf, split: Option<&str>) -> PyResult<Self> {
        let split = split.map(str::parse::<Split>).transpose();
        let split = split.map_err(lift_error)?;
        py.detach(|| {
            let folder = match split {
                Some(split) => lift_shards::layout::split_dir(&path, split)?,
                None => path,
            };
            let shards = Arc::new(ShardReader::open(&folder)?);
            Ok(Self { shards, folder })
        })
        .map_err(|e: lift_shards::Error| lift_error(e))
    }

    fn __len__(&self) -> usize {
        self.shards.len()
    }

    /// The split's folder.
    #[getter]
    fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// The label of every image.
    fn labels(&self) -> Block {
        let rows = self.shards.rows().iter();
        let labels: Vec<i64> = rows.map(|row| i64::from(row.label)).collect();
        let shape = vec![labels.len() as i64];
        Block::new(Memory::Numbers(labels), shape)
    }

    #[getter]
    fn class_names(&self) -> Vec<String> {
        self.shards.manifest().class_names.as_slice().to_vec()
    }

    /// The manifest as JSON.
    fn manifest(&self) -> String {
        serde_json::to_string(self.shards.manifest()).expect("a manifest is plain data")
    }

    /// Where an image came from, relative to its source.
    fn path(&self, index: usize) -> PyResult<&str> {
        self.require(index)?;
        Ok(self.shards.path(index))
    }

    /// The names of the columns that were kept.
    fn column_names(&self) -> PyResult<Vec<String>> {
        let kept = self.shards.kept_columns().map_err(lift_error)?;
        let schema = kept.schema();
        let names = schema.fields().iter().map(|field| field.name().clone());
        Ok(names.collect())
    }

    /// The values of such a column, one an image; `None` where there is no such column.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyList>>> {
        let kept = py.detach(|| self.shards.kept_columns());
        let kept = kept.map_err(lift_error)?;
        let column = kept.column_by_name(name);
        column.map(|column| columns::values(py, column)).transpose()
    }

    /// Pixels, height and width of an image, decoded and compared with its checksum.
    fn image<'py>(
        &self,
        py: Python<'py>,
        index: usize,
    ) -> PyResult<(Bound<'py, PyByteArray>, u32, u32)> {
        self.require(index)?;
        let (pixels, height, width) = py
            .detach(|| {
                let mut decoder = Decoder::default();
                let image = self.shards.rgb(index, &mut decoder)?;
                Ok((image.pixels.to_vec(), image.height, image.width))
            })
            .map_err(|e: lift_shards::Error| lift_error(e))?;
        Ok((PyByteArray::new(py, &pixels), height, width))
    }

    /// The bytes of an image as they are stored, compared with their checksum.
    fn bytes(&self, py: Python<'_>, index: usize) -> PyResult<Vec<u8>> {
        self.require(index)?;
        let bytes = py.detach(|| self.shards.bytes(index).map(<[u8]>::to_vec));
        bytes.map_err(lift_error)
    }
}

impl Reader {
    fn require(&self, index: usize) -> PyResult<()> {
        let rows = self.shards.len();
        if index < rows {
            return Ok(());
        }
        Err(PyIndexError::new_err(format!(
            "{}: has no image {index}, it has {rows}",
            self.folder.display()
        )))
    }
}
