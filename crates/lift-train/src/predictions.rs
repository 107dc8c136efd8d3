//! Predictions of single images and the confusion matrix, as Parquet or CSV files.
//!
//! Invariant: a file appears whole or not at all; rows follow the shards' order.

use std::{collections::BTreeMap, io::ErrorKind, path::Path, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray,
    },
    datatypes::{Float32Type, Int32Type},
    error::ArrowError,
};
use lift_shards::{
    ClassNames, pages,
    shard::{ShardReader, free_name},
    table_file::{self, TableForm},
};

use crate::{
    error::{Error, Result},
    metrics::Prediction,
};

/// Writes a row an image: `id`, `path`, `label`, `predicted`, `confidence`, and `rank`, the number of other classes whose
/// logit is at least the image's own; then the columns that the shards keep of the user's tables.
///
/// # Errors
/// When the file cannot be written.
pub fn write_predictions(path: &Path, reader: &ShardReader, judged: &[Prediction]) -> Result<()> {
    let ids = reader.rows().iter().map(|row| row.id as i64);
    let paths = (0..judged.len()).map(|row| reader.path(row));
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(Int64Array::from_iter_values(ids))),
        ("path", Arc::new(StringArray::from_iter_values(paths))),
        ("label", integers(judged.iter().map(|one| one.label))),
        (
            "predicted",
            integers(judged.iter().map(|one| one.predicted)),
        ),
        (
            "confidence",
            Arc::new(Float32Array::from_iter_values(
                judged.iter().map(|one| one.confidence),
            )),
        ),
        ("rank", integers(judged.iter().map(|one| one.rank))),
    ];
    let kept = reader.kept_columns()?;
    let schema = kept.schema();
    let mut names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
    let kept = schema.fields().iter().zip(kept.columns());
    let kept = kept.map(|(field, column)| {
        let name = free_name(field.name(), |name| names.iter().any(|known| known == name));
        names.push(name.clone());
        (name, column.clone(), true)
    });
    let kept: Vec<_> = kept.collect();
    let ours = columns
        .iter()
        .map(|(name, column)| ((*name).to_owned(), column.clone(), false));
    let all = ours.chain(kept).collect::<Vec<_>>();
    write(path, RecordBatch::try_from_iter_with_nullable(all))
}

/// Reads what [`write_predictions`] wrote of images of so many classes, in the rows' order.
///
/// # Errors
/// When the file cannot be read, has other columns, or a label that is no class.
pub fn read_predictions(path: &Path, num_classes: usize) -> Result<Vec<Prediction>> {
    let bad = |reason: String| Error::BadRun {
        path: path.into(),
        reason: format!("{reason}\nhint: remove it, it is made anew"),
    };
    let builder = pages::open(path).map_err(|e| match e.kind() {
        ErrorKind::InvalidData => bad(format!("not a file of predictions: {e}")),
        _ => Error::io(path)(e),
    })?;
    let columns = ["label", "predicted", "rank", "confidence"];
    let wanted = pages::columns(builder.parquet_schema(), &columns);
    let batches = builder
        .with_projection(wanted)
        .build()
        .map_err(|e| bad(e.to_string()))?;
    let mut judged = Vec::new();
    for batch in batches {
        let batch = batch.map_err(|e| bad(e.to_string()))?;
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.ok_or_else(|| bad(format!("no column {name}")))
        };
        let whole = |name: &str| {
            let numbers = column(name)?.as_primitive_opt::<Int32Type>();
            let numbers = numbers.filter(|numbers| numbers.null_count() == 0);
            numbers.ok_or_else(|| bad(format!("column {name} does not hold whole numbers")))
        };
        let (labels, predicted, ranks) = (whole("label")?, whole("predicted")?, whole("rank")?);
        let confidence = column("confidence")?.as_primitive_opt::<Float32Type>();
        let confidence = confidence
            .filter(|numbers| numbers.null_count() == 0)
            .ok_or_else(|| bad("column confidence does not hold numbers".into()))?;
        let class = |label: i32| match usize::try_from(label) {
            Ok(class) if class < num_classes => Ok(label as u32),
            _ => Err(bad(format!(
                "label {label}, there are {num_classes} classes"
            ))),
        };
        for row in 0..batch.num_rows() {
            judged.push(Prediction {
                label: class(labels.value(row))?,
                predicted: class(predicted.value(row))?,
                confidence: confidence.value(row),
                rank: u32::try_from(ranks.value(row)).map_err(|_| bad("a negative rank".into()))?,
            });
        }
    }
    Ok(judged)
}

/// Writes a row for each pair of true and predicted class that occurs: `label`, `class`, `predicted`,
/// `predicted_class`, `images`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_confusion(path: &Path, names: &ClassNames, judged: &[Prediction]) -> Result<()> {
    let mut pairs: BTreeMap<(u32, u32), i64> = BTreeMap::new();
    for one in judged {
        *pairs.entry((one.label, one.predicted)).or_default() += 1;
    }
    let name = |label: u32| names.name(label).unwrap_or_default();
    let texts = |labels: Vec<u32>| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(labels.into_iter().map(name)))
    };
    let columns: [(&str, ArrayRef); 5] = [
        ("label", integers(pairs.keys().map(|pair| pair.0))),
        ("class", texts(pairs.keys().map(|pair| pair.0).collect())),
        ("predicted", integers(pairs.keys().map(|pair| pair.1))),
        (
            "predicted_class",
            texts(pairs.keys().map(|pair| pair.1).collect()),
        ),
        (
            "images",
            Arc::new(Int64Array::from_iter_values(pairs.values().copied())),
        ),
    ];
    write(path, RecordBatch::try_from_iter(columns))
}

fn integers(values: impl Iterator<Item = u32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(
        values.map(|value| value as i32),
    ))
}

fn write(path: &Path, batch: std::result::Result<RecordBatch, ArrowError>) -> Result<()> {
    let table = batch.map_err(|error| table_file::unmade(path, error))?;
    let form = TableForm::of(path).map_err(Error::Usage)?;
    Ok(table_file::write(path, form, &table)?)
}
