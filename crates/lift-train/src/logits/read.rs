//! Reading a file of logits, a batch of rows at a time, as often as is wanted.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, AsArray, PrimitiveArray, RecordBatch},
    datatypes::{ArrowPrimitiveType, DataType, Float32Type, Int32Type, Int64Type},
};
use lift_shards::pages;
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use tch::Tensor;

use super::{About, FORMAT, KEY};
use crate::error::{Error, Result};

/// Logits that a batch holds, about.
const LOGITS_A_BATCH: usize = 1 << 20;

/// More classes than any list has.
const MOST_CLASSES: usize = 1 << 20;

/// A file of logits whose metadata were read and looked at.
#[derive(Clone, Debug)]
pub struct LogitsFile {
    path: PathBuf,
    about: About,
}

/// Some images that follow each other.
#[derive(Debug)]
pub struct Batch {
    /// The images' ids.
    pub ids: Vec<i64>,
    /// Their classes.
    pub labels: Vec<i64>,
    /// (b, K), fp32, on the CPU, finite.
    pub logits: Tensor,
}

impl LogitsFile {
    /// Opens a file that `--logits` wrote.
    ///
    /// # Errors
    /// When it cannot be read, is not such a file, or says of itself what its columns are not.
    pub fn open(path: &Path) -> Result<Self> {
        let builder = pages::open(path).map_err(|e| match e.kind() {
            ErrorKind::InvalidData => bad(path, &format!("not a file of logits: {e}")),
            _ => Error::io(path)(e),
        })?;
        let metadata = builder.metadata().file_metadata();
        let mut entries = metadata.key_value_metadata().into_iter().flatten();
        let json = entries.find(|entry| entry.key == KEY);
        let json = json.and_then(|entry| entry.value.as_deref());
        let json = json.ok_or_else(|| bad(path, "there are no logits in it"))?;
        let about: About = serde_json::from_str(json)
            .map_err(|e| bad(path, &format!("what it says of its logits is unknown: {e}")))?;
        if about.format != FORMAT {
            let reason = format!("format {}, expected {FORMAT}", about.format);
            return Err(bad(path, &reason));
        }
        if about.num_classes == 0 || about.num_classes > MOST_CLASSES {
            return Err(bad(path, &format!("it has {} classes", about.num_classes)));
        }
        let rows = metadata.num_rows();
        if u64::try_from(rows) != Ok(about.images) {
            let reason = format!("it has {rows} rows of {} images", about.images);
            return Err(bad(path, &reason));
        }
        let list = builder.schema().field_with_name("logits");
        let is_whole = match list.map(|field| field.data_type()) {
            Ok(DataType::FixedSizeList(number, classes)) => {
                *number.data_type() == DataType::Float32
                    && usize::try_from(*classes) == Ok(about.num_classes)
            }
            _ => false,
        };
        if !is_whole {
            let reason = format!(
                "its column logits is not a list of {} float32",
                about.num_classes
            );
            return Err(bad(path, &reason));
        }
        Ok(Self {
            path: path.into(),
            about,
        })
    }

    /// What the logits are of.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Where the file lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The class of every image.
    ///
    /// # Errors
    /// When the file cannot be read, or a label is no class.
    pub fn labels(&self) -> Result<Vec<i64>> {
        let mut all = Vec::new();
        for batch in self.record_batches(&["label"])? {
            let batch = batch.map_err(|e| bad(&self.path, &e.to_string()))?;
            let first = all.len();
            all.extend(labels(&self.path, &batch, self.about.num_classes, first)?);
        }
        Ok(all)
    }

    /// All images, some at a time.
    ///
    /// # Errors
    /// When the file cannot be opened; a batch, when it is damaged, a label is no class, or a logit not finite.
    pub fn batches(&self) -> Result<impl Iterator<Item = Result<Batch>> + use<>> {
        let batches = self.record_batches(&["id", "label", "logits"])?;
        let (path, classes) = (self.path.clone(), self.about.num_classes);
        let mut first = 0;
        Ok(batches.map(move |batch| {
            let batch = batch.map_err(|e| bad(&path, &e.to_string()))?;
            let read = of_columns(&path, &batch, classes, first)?;
            first += batch.num_rows();
            Ok(read)
        }))
    }

    /// These columns, as many rows in each batch of every file with as many classes.
    fn record_batches(&self, columns: &[&str]) -> Result<ParquetRecordBatchReader> {
        let builder = pages::open(&self.path).map_err(Error::io(&self.path))?;
        let wanted = pages::columns(builder.parquet_schema(), columns);
        let rows = (LOGITS_A_BATCH / self.about.num_classes).clamp(1, 4096);
        builder
            .with_projection(wanted)
            .with_batch_size(rows)
            .build()
            .map_err(|e| bad(&self.path, &e.to_string()))
    }
}

/// The classes of rows from `first` on.
fn labels(path: &Path, batch: &RecordBatch, classes: usize, first: usize) -> Result<Vec<i64>> {
    let labels = whole::<Int32Type>(path, batch, "label")?;
    let labels: Vec<i64> = labels.values().iter().map(|&label| label.into()).collect();
    let wrong = |label: &i64| !(0..classes as i64).contains(label);
    match labels.iter().position(wrong) {
        None => Ok(labels),
        Some(place) => {
            let (label, row) = (labels[place], first + place);
            let reason = format!("row {row}: label {label}, there are {classes} classes");
            Err(bad(path, &reason))
        }
    }
}

/// Rows of the file from `first` on.
fn of_columns(path: &Path, batch: &RecordBatch, classes: usize, first: usize) -> Result<Batch> {
    let ids = whole::<Int64Type>(path, batch, "id")?.values().to_vec();
    let labels = labels(path, batch, classes, first)?;
    let broken = || bad(path, "its column logits is damaged");
    let list = batch
        .column_by_name("logits")
        .and_then(|column| column.as_fixed_size_list_opt())
        .filter(|list| list.null_count() == 0)
        .ok_or_else(broken)?;
    let numbers = list.values().as_primitive_opt::<Float32Type>();
    let numbers = numbers.filter(|numbers| numbers.null_count() == 0);
    let numbers = numbers.ok_or_else(broken)?.values();
    let numbers = numbers.get(..labels.len() * classes);
    let numbers = numbers.ok_or_else(broken)?;
    if let Some(place) = numbers.iter().position(|number| !number.is_finite()) {
        let reason = format!("row {}: a logit is not finite", first + place / classes);
        return Err(bad(path, &reason));
    }
    let shape = [labels.len() as i64, classes as i64];
    Ok(Batch {
        ids,
        labels,
        logits: Tensor::from_slice(numbers).view(shape),
    })
}

fn whole<'a, T: ArrowPrimitiveType>(
    path: &Path,
    batch: &'a RecordBatch,
    name: &str,
) -> Result<&'a PrimitiveArray<T>> {
    let column = batch.column_by_name(name);
    let column = column.and_then(|column| column.as_primitive_opt::<T>());
    let column = column.filter(|numbers| numbers.null_count() == 0);
    column.ok_or_else(|| {
        bad(
            path,
            &format!("its column {name} does not hold whole numbers"),
        )
    })
}

fn bad(path: &Path, reason: &str) -> Error {
    Error::BadRun {
        path: path.into(),
        reason: format!(
            "{reason}\nhint: `lift-train eval --logits FILE.parquet` writes such a file"
        ),
    }
}
