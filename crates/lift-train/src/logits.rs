//! The logits of every image as a Parquet file, so that what is done after the model is tried without it.
//!
//! A row an image in the shards' order: `id`, `path`, `label`, and `logits`, a fixed-size list of K float32: the mean over
//! the crops of test-time ensembling, as the model gives them, before any adjustment. What they are of stands as JSON in the
//! file's metadata, under [`KEY`]. Nothing here holds more than some megabytes of rows, however many there are. Invariant:
//! the file appears whole or not at all, and of a file that is read every label is a class and every logit finite.

mod read;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, FixedSizeListArray, Float32Array, Int32Array, Int64Array, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use lift_files::NewFile;
use lift_models::Precision;
use lift_shards::{Split, shard::ShardReader};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

pub use read::{Batch, LogitsFile};

use crate::error::{Error, Result};

/// Where the file's metadata say what it holds.
pub const KEY: &str = "lift.logits";

const FORMAT: &str = "lift-logits/1";

/// Logits that a row group holds, about; so much is in memory before it is written.
const LOGITS_A_GROUP: usize = 4 << 20;

/// What the logits are of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// `lift-logits/1`.
    pub format: String,
    /// Version of lift-train that wrote it.
    pub tool_version: String,
    /// The run's folder name, or `zero-shot`.
    pub run: String,
    /// Hash of the run's `tuned.safetensors`; none of a model that was not tuned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<String>,
    /// The model's file or name.
    pub model: String,
    /// As the shards' manifest says.
    pub dataset: String,
    /// Which split.
    pub split: Split,
    /// Hash of the split's `manifest.json`.
    pub shards: String,
    /// Images in it.
    pub images: u64,
    /// Number of classes.
    pub num_classes: usize,
    /// Hash of the class list.
    pub class_hash: String,
    /// Ensembling, as in tables.
    pub tte: String,
    /// Crops of each image, whose mean the logits are.
    pub crops: usize,
    /// Pixels beyond the resolution, with ensembling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<u32>,
    /// How else the images were looked at; none in older files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass: Option<Pass>,
    /// What the logits were divided by: 1.
    pub temperature: f64,
}

/// What of a pass changes logits, besides the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass {
    /// Side of the crops in pixels, where it is not the model's.
    pub resolution: Option<u32>,
    /// Kind of the frozen weights.
    pub precision: Precision,
    /// Whether large JPEGs were decoded at their full size.
    pub exact: bool,
}

/// What of [`About`] is the model's; the rest is read off the shards and the view.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The run's folder name, or `zero-shot`.
    pub run: String,
    /// Hash of the run's `tuned.safetensors`.
    pub tuned: Option<String>,
    /// The model's file or name.
    pub model: String,
}

impl About {
    /// Of logits of all images of `reader`, in views of so many crops.
    pub fn of(
        judged: Judged,
        reader: &ShardReader,
        shards: String,
        (tte, crops, expand): (&str, usize, Option<u32>),
        pass: Pass,
    ) -> Self {
        let manifest = reader.manifest();
        Self {
            format: FORMAT.into(),
            tool_version: env!("CARGO_PKG_VERSION").into(),
            run: judged.run,
            tuned: judged.tuned,
            model: judged.model,
            dataset: manifest.dataset.clone(),
            split: manifest.split,
            shards,
            images: reader.len() as u64,
            num_classes: manifest.num_classes(),
            class_hash: manifest.class_hash.clone(),
            tte: tte.into(),
            crops,
            expand,
            pass: Some(pass),
            temperature: 1.0,
        }
    }
}

/// A file of logits that is being written.
pub struct LogitsWriter {
    writer: ArrowWriter<NewFile>,
    schema: SchemaRef,
    reader: Arc<ShardReader>,
    path: PathBuf,
    /// Rows written.
    row: usize,
}

impl LogitsWriter {
    /// Begins a file at `path` of all images of `reader`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn begin(path: &Path, about: &About, reader: Arc<ShardReader>) -> Result<Self> {
        let number = Arc::new(Field::new("element", DataType::Float32, false));
        let schema = Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("path", DataType::Utf8, false),
            Field::new("label", DataType::Int32, false),
            Field::new(
                "logits",
                DataType::FixedSizeList(number, about.num_classes as i32),
                false,
            ),
        ]));
        let json = serde_json::to_string(about).expect("it is plain data");
        // Logits hardly pack and hardly repeat: pages as they are can be written and read at the disk's speed.
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_max_row_group_row_count(Some((LOGITS_A_GROUP / about.num_classes.max(1)).max(1)))
            .set_key_value_metadata(Some(vec![KeyValue::new(KEY.to_owned(), json)]))
            .build();
        let file = NewFile::begin(path).map_err(Error::io(path))?;
        let options = ArrowWriterOptions::new().with_properties(properties);
        let writer = ArrowWriter::try_new_with_options(file, Arc::clone(&schema), options);
        Ok(Self {
            writer: writer.map_err(unwritten(path))?,
            schema,
            reader,
            path: path.into(),
            row: 0,
        })
    }

    /// Adds the next images: their labels (b) and logits (b, K), on any device.
    ///
    /// # Errors
    /// When the disk is full, or the logits cannot be brought to the host.
    pub fn push(&mut self, labels: &[i64], logits: &Tensor) -> Result<()> {
        let rows = self.row..self.row + labels.len();
        let logits = logits.to_kind(Kind::Float).to_device(Device::Cpu);
        let values =
            Vec::<f32>::try_from(logits.reshape([-1])).map_err(lift_models::Error::from)?;
        let DataType::FixedSizeList(number, classes) = self.schema.field(3).data_type() else {
            unreachable!("the schema is made in `begin`");
        };
        let values = Arc::new(Float32Array::from(values));
        let list = FixedSizeListArray::new(Arc::clone(number), *classes, values, None);
        let ids = rows.clone().map(|row| self.reader.row(row).id as i64);
        let paths = rows.clone().map(|row| self.reader.path(row));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(ids)),
            Arc::new(StringArray::from_iter_values(paths)),
            Arc::new(Int32Array::from_iter_values(
                labels.iter().map(|&label| label as i32),
            )),
            Arc::new(list),
        ];
        self.row = rows.end;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns);
        let batch = batch.map_err(|e| unwritten(&self.path)(e.into()))?;
        self.writer.write(&batch).map_err(unwritten(&self.path))
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self) -> Result<()> {
        let file = self.writer.into_inner().map_err(unwritten(&self.path))?;
        file.finish().map_err(Error::io(&self.path))
    }
}

fn unwritten(path: &Path) -> impl FnOnce(ParquetError) -> Error {
    move |error| Error::io(path)(std::io::Error::other(error))
}
