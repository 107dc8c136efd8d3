//! Files of reference runs: tensors by name and shape, batches, and the settings in the metadata.
//!
//! Everything is checked here, so that a replay meets no tensor that does not fit; messages start with the file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use lift_models::TensorFile;
use tch::{Device, Kind, Tensor};

use crate::{
    classifier::ClassifierKind,
    error::{Error, Result},
    loss::LossKind,
};

/// The images and labels of reference runs.
pub(super) struct Batches {
    /// (steps, b, 3, r, r).
    pub train: Tensor,
    /// (steps, b).
    pub labels: Tensor,
    /// (n, 3, r, r).
    pub eval: Tensor,
    /// (n, crops, 3, r, r).
    pub five_crop: Tensor,
    pub counts: Vec<u64>,
}

impl Batches {
    pub fn of(file: &Reference, resolution: i64, classes: i64) -> Result<Self> {
        let r = Some(resolution);
        let train = file.tensor("train_images", &[None, None, Some(3), r, r])?;
        let (steps, images) = (train.size()[0], train.size()[1]);
        let labels = file.tensor("train_labels", &[Some(steps), Some(images)])?;
        let counts = file.tensor("class_counts", &[Some(classes)])?;
        let counts: Vec<i64> =
            Vec::try_from(&counts.to_kind(Kind::Int64)).map_err(lift_models::Error::from)?;
        if let Some(class) = counts.iter().position(|&n| n < 1) {
            return Err(file.bad(format!("class_counts: class {class} has no image")));
        }
        let labels = labels.to_kind(Kind::Int64);
        let (low, high) = (labels.min().int64_value(&[]), labels.max().int64_value(&[]));
        if low < 0 || high >= classes {
            return Err(file.bad(format!(
                "train_labels lie in {low}..={high}, the run has {classes} classes"
            )));
        }
        let images = |tensor: Tensor| tensor.to_kind(Kind::Float);
        Ok(Self {
            train: images(train),
            labels,
            eval: images(file.tensor("eval_images", &[None, Some(3), r, r])?),
            five_crop: images(file.tensor("five_crop_images", &[None, None, Some(3), r, r])?),
            counts: counts.into_iter().map(|n| n as u64).collect(),
        })
    }

    pub fn on(mut self, device: Device) -> Self {
        let tensors = [&mut self.train, &mut self.labels, &mut self.eval];
        for tensor in tensors.into_iter().chain([&mut self.five_crop]) {
            *tensor = tensor.to_device(device);
        }
        self
    }
}

/// What the metadata of a reference run says, or the papers' values where it may be silent.
pub(super) struct Settings {
    pub lr: f64,
    pub loss: LossKind,
    pub classifier: ClassifierKind,
    pub tuned_params: Option<u64>,
    pub scale: f64,
    pub tau: f64,
    pub momentum: f64,
    pub weight_decay: f64,
}

impl Settings {
    pub fn of(run: &Reference) -> Result<Self> {
        let entry = |key: &str| {
            let value = run.file.metadata.get(key);
            value.ok_or_else(|| run.bad(format!("no {key} in the metadata")))
        };
        let number = |key: &str, default: f64| match run.file.metadata.get(key) {
            Some(value) => value
                .parse()
                .map_err(|_| run.bad(format!("metadata {key}: {value:?} is no number"))),
            None => Ok(default),
        };
        entry("lr")?;
        let loss = entry("loss")?;
        let classifier = entry("classifier")?;
        // The authors' classes are called `CosineClassifier`, `L2NormedClassifier`.
        let short = classifier.trim_end_matches("Classifier");
        let short = short.strip_suffix("ed").unwrap_or(short);
        let tuned_params = run.file.metadata.get("tuned_params");
        Ok(Self {
            lr: number("lr", 0.0)?,
            loss: LossKind::from_str(loss, true)
                .map_err(|_| run.bad(format!("metadata loss: {loss:?} is not known")))?,
            classifier: ClassifierKind::from_str(short, true).map_err(|_| {
                run.bad(format!("metadata classifier: {classifier:?} is not known"))
            })?,
            tuned_params: tuned_params.and_then(|n| n.parse().ok()),
            scale: number("scale", 25.0)?,
            tau: number("tau", 1.0)?,
            momentum: number("momentum", 0.9)?,
            weight_decay: number("weight_decay", 5e-4)?,
        })
    }
}

/// A file of reference tensors.
pub(super) struct Reference {
    pub path: PathBuf,
    pub file: TensorFile,
}

impl Reference {
    pub fn read(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.into(),
            file: TensorFile::read(path)?,
        })
    }

    pub fn bad(&self, reason: String) -> Error {
        Error::BadRun {
            path: self.path.clone(),
            reason,
        }
    }

    /// A tensor that must be there, with these lengths where they are given, none of them zero.
    pub fn tensor(&self, name: &str, shape: &[Option<i64>]) -> Result<Tensor> {
        let tensor = self.file.tensors.get(name);
        let tensor = tensor.ok_or_else(|| self.bad(format!("no tensor named {name}")))?;
        let size = tensor.size();
        let fits = |(&length, wanted): (&i64, &Option<i64>)| {
            length > 0 && wanted.is_none_or(|wanted| wanted == length)
        };
        if size.len() == shape.len() && size.iter().zip(shape).all(fits) {
            return Ok(tensor.shallow_clone());
        }
        let wanted: Vec<String> = shape
            .iter()
            .map(|length| length.map_or("any".into(), |n| n.to_string()))
            .collect();
        Err(self.bad(format!(
            "{name} has shape {size:?}, expected [{}]",
            wanted.join(", ")
        )))
    }

    pub fn optional(&self, name: &str, shape: &[Option<i64>]) -> Result<Option<Tensor>> {
        if self.file.tensors.contains_key(name) {
            self.tensor(name, shape).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The tensors whose names start so, by the rest of their names.
    pub fn starting_with(&self, prefix: &str) -> BTreeMap<String, Tensor> {
        let tensors = self.file.tensors.iter();
        tensors
            .filter_map(|(name, t)| {
                Some((name.strip_prefix(prefix)?.to_owned(), t.shallow_clone()))
            })
            .collect()
    }
}
