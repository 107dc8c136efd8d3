//! The columns of a shard, and what other programs are told about them.
//!
//! Bare pixels are a plain binary column. Image files follow Hugging Face's features to the letter,
//! because `datasets` compares types and nullability before it believes the metadata: an Image is a
//! nullable struct, a ClassLabel a nullable int64. Invariant: nothing is ever null.

use std::fs::File;
use std::panic;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema};
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::json;

use super::kept::KeptColumn;
use super::names::{IMAGE, SMALL};
use crate::classes::ClassNames;
use crate::footer;
use crate::manifest::Encoding;

/// The columns of a split's shards. Images are views, so that a row group holds them where they were made; in the file
/// they are plain binary.
#[derive(Debug, Clone)]
pub struct ShardSchema {
    columns: Arc<Schema>,
    encoding: Encoding,
    features: Option<String>,
}

impl ShardSchema {
    /// The columns for images in `encoding` of these classes, with kept columns between the small ones and the image.
    pub fn new(encoding: Encoding, class_names: &ClassNames, kept: &[KeptColumn]) -> Self {
        let column = |name: &str, data_type| Field::new(name, data_type, false);
        let (label, image) = if encoding.is_file() {
            let image = DataType::Struct(image_fields());
            (
                Field::new("label", DataType::Int64, true),
                Field::new(IMAGE, image, true),
            )
        } else {
            (
                column("label", DataType::Int32),
                column(IMAGE, DataType::BinaryView),
            )
        };
        let mut columns = vec![
            column("id", DataType::Int64),
            column("path", DataType::Utf8),
            label,
            column("width", DataType::Int32),
            column("height", DataType::Int32),
            column("num_bytes", DataType::Int32),
            column("checksum", DataType::UInt64),
        ];
        columns.extend(kept.iter().map(KeptColumn::field));
        columns.push(image);
        Self {
            columns: Arc::new(Schema::new(columns)),
            encoding,
            features: encoding.is_file().then(|| features(class_names, kept)),
        }
    }

    pub(super) fn columns(&self) -> Arc<Schema> {
        self.columns.clone()
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Hugging Face's name for the features, which `datasets` reads from a file's metadata. Bare pixels
    /// have none: no feature type of theirs describes them.
    pub(super) fn metadata(&self) -> Option<Vec<KeyValue>> {
        let features = self.features.clone()?;
        Some(vec![KeyValue::new("huggingface".to_owned(), features)])
    }
}

/// Whether the file at `path` is a Parquet file with a shard's columns.
pub fn is_shard(path: &Path) -> bool {
    let is_parquet = path.extension().is_some_and(|found| found == "parquet");
    let columns = |file: File| -> Option<Vec<String>> {
        // A library is not trusted with a file that is not known to be whole.
        let reader = panic::catch_unwind(|| SerializedFileReader::new(file).ok()).ok()??;
        let schema = reader.metadata().file_metadata().schema_descr();
        let columns = schema.root_schema().get_fields().iter();
        Some(columns.map(|column| column.name().to_owned()).collect())
    };
    let found = is_parquet
        .then(|| columns(footer::open(path).ok()?))
        .flatten();
    found.is_some_and(|found| {
        let small = found.iter().take(SMALL.len()).eq(SMALL.iter());
        small && found.last().is_some_and(|last| last == IMAGE)
    })
}

/// The members of Hugging Face's Image feature.
pub(super) fn image_fields() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::BinaryView, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

fn features(class_names: &ClassNames, kept: &[KeptColumn]) -> String {
    let value = |dtype: &str| json!({"dtype": dtype, "_type": "Value"});
    let mut features = json!({
        "id": value("int64"),
        "path": value("string"),
        "label": {"names": class_names.as_slice(), "_type": "ClassLabel"},
        "width": value("int32"),
        "height": value("int32"),
        "num_bytes": value("int32"),
        "checksum": value("uint64"),
    });
    for column in kept {
        features[&column.name] = value(column.kind.feature());
    }
    features["image"] = json!({"_type": "Image"});
    json!({"info": {"features": features}}).to_string()
}
