//! A run's folder: `config.toml`, `metrics.jsonl`, `tuned.safetensors`, `report.json`.

use std::{fs, path::Path};

use lift_clip::TensorFile;
use lift_data::atomic;

use crate::{
    config::TrainConfig,
    error::{Error, Result},
    model::TunedModel,
};

const FORMAT: &str = "lift-tuned/1";

/// Makes the folder of a new run and writes the resolved settings into it.
///
/// # Errors
/// When there is something in it already.
pub fn create(config: &TrainConfig) -> Result<()> {
    let out = &config.out;
    if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Error::BadRun {
            path: out.clone(),
            reason: "exists and is not empty\nhint: choose another --out, or remove the folder"
                .into(),
        });
    }
    fs::create_dir_all(out).map_err(Error::io(out))?;
    let text = toml::to_string(config).expect("settings are plain data");
    Ok(atomic::write(&out.join("config.toml"), text.as_bytes())?)
}

/// What was tuned, and what it was tuned for.
pub struct Tuned {
    /// Tuner and classifier, by name.
    pub file: TensorFile,
    /// Training images of each class.
    pub class_counts: Vec<u64>,
    /// Names in label order.
    pub class_names: Vec<String>,
    /// Hash of the class list.
    pub class_hash: String,
}

impl Tuned {
    /// Collects the tuned tensors of `model`.
    pub fn of(
        model: &TunedModel,
        class_counts: &[u64],
        class_names: &[String],
        class_hash: &str,
    ) -> Self {
        let mut file = TensorFile::default();
        file.tensors = model
            .tuned()
            .into_iter()
            .map(|(name, t)| (name, t.detach()))
            .collect();
        Self {
            file,
            class_counts: class_counts.to_vec(),
            class_names: class_names.to_vec(),
            class_hash: class_hash.to_owned(),
        }
    }

    /// Writes `tuned.safetensors`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(mut self, run: &Path) -> Result<()> {
        let entries = [
            ("format", FORMAT.to_owned()),
            (
                "class_names",
                serde_json::json!(self.class_names).to_string(),
            ),
            (
                "class_counts",
                serde_json::json!(self.class_counts).to_string(),
            ),
            ("class_hash", self.class_hash),
        ];
        self.file
            .metadata
            .extend(entries.map(|(key, value)| (key.to_owned(), value)));
        Ok(self.file.write(&run.join("tuned.safetensors"))?)
    }

    /// Reads `tuned.safetensors` of a run.
    ///
    /// # Errors
    /// When it is missing, damaged, or not written by a run.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join("tuned.safetensors");
        let mut file = TensorFile::read(&path)?;
        let bad = |reason: String| Error::BadRun {
            path: path.clone(),
            reason,
        };
        let mut entry = |key: &str| {
            file.metadata.remove(key).ok_or_else(|| {
                bad(format!(
                    "no {key} in the metadata; not written by lift-train?"
                ))
            })
        };
        let (format, class_hash) = (entry("format")?, entry("class_hash")?);
        if format != FORMAT {
            return Err(bad(format!("format {format}, expected {FORMAT}")));
        }
        let class_names = serde_json::from_str(&entry("class_names")?)
            .map_err(|e| bad(format!("class_names: {e}")))?;
        let class_counts = serde_json::from_str(&entry("class_counts")?)
            .map_err(|e| bad(format!("class_counts: {e}")))?;
        Ok(Self {
            file,
            class_counts,
            class_names,
            class_hash,
        })
    }
}

/// Reads `config.toml` of a run.
///
/// # Errors
/// When it is missing or is no resolved config.
pub fn read_config(run: &Path) -> Result<TrainConfig> {
    let path = run.join("config.toml");
    let text = fs::read_to_string(&path).map_err(|e| Error::BadRun {
        path: path.clone(),
        reason: format!("{e}\nhint: name the folder that `lift-train --out` made"),
    })?;
    toml::from_str(&text).map_err(|e| Error::BadRun {
        path,
        reason: e.to_string(),
    })
}
