//! What is written of training: lines of `metrics.jsonl`, and the sums they are made from.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
    time::Instant,
};

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    figures::Figures,
    run_report::curves::ValidationFigures,
    step::Seen,
    tensorboard::EventFile,
};

/// A line of `metrics.jsonl`: means over the steps since the line before.
#[derive(Debug, Serialize)]
pub(super) struct LogLine {
    pub(super) step: usize,
    pub(super) epoch: usize,
    pub(super) loss: f64,
    pub(super) lr: f64,
    pub(super) images_per_second: f64,
    pub(super) data_wait_share: f64,
    /// In fp16.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) loss_scale: Option<f64>,
    /// Of the images as they were trained on, in 0..=1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) train_accuracy: Option<f64>,
    /// By band; none where no image of it was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) train_many: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) train_medium: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) train_few: Option<f64>,
}

impl LogLine {
    pub(super) fn write_scalars(&self, events: &mut EventFile) -> Result<()> {
        let scalars = [
            ("train/loss", self.loss),
            ("train/lr", self.lr),
            ("speed/images_per_second", self.images_per_second),
            ("speed/data_wait_share", self.data_wait_share),
        ];
        events.scalars(self.step, &scalars)?;
        let accuracies = [
            ("train/accuracy", self.train_accuracy),
            ("train/many", self.train_many),
            ("train/medium", self.train_medium),
            ("train/few", self.train_few),
        ];
        write_known(events, self.step, &accuracies)
    }
}

/// A line of `metrics.jsonl` that a validation wrote.
#[derive(Debug, Serialize)]
pub(super) struct ValidationLine {
    pub(super) step: usize,
    pub(super) epoch: usize,
    pub(super) validation: ValidationFigures,
}

impl fmt::Display for ValidationLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = &self.validation;
        write!(f, "step {}  val", self.step)?;
        let figures = [
            ("overall", v.overall),
            ("mean class", v.mean_class),
            ("many", v.many),
            ("medium", v.medium),
            ("few", v.few),
        ];
        for (name, value) in figures {
            match value {
                Some(value) => write!(f, "  {name} {:.1}", 100.0 * value)?,
                None => write!(f, "  {name} -")?,
            }
        }
        f.write_str(if v.best { "  (best so far)" } else { "" })
    }
}

impl ValidationLine {
    pub(super) fn write_scalars(&self, events: &mut EventFile) -> Result<()> {
        let v = &self.validation;
        let accuracies = [
            ("val/overall", v.overall),
            ("val/mean_class", v.mean_class),
            ("val/many", v.many),
            ("val/medium", v.medium),
            ("val/few", v.few),
        ];
        write_known(events, self.step, &accuracies)
    }
}

/// Those that are known: a band without images has no accuracy.
fn write_known(events: &mut EventFile, step: usize, values: &[(&str, Option<f64>)]) -> Result<()> {
    let known = values
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value)?)));
    let known: Vec<(&str, f64)> = known.collect();
    if known.is_empty() {
        return Ok(());
    }
    events.scalars(step, &known)
}

/// `metrics.jsonl`, behind its first bytes that a checkpoint knows.
pub(super) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Cuts off what was written after the checkpoint.
    pub(super) fn open(path: PathBuf, bytes: u64) -> Result<Self> {
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let mut file = opened.map_err(Error::io(&path))?;
        let found = file.metadata().map_err(Error::io(&path))?.len();
        if found < bytes {
            return Err(Error::BadRun {
                path,
                reason: format!(
                    "holds {found} bytes, the checkpoint knows {bytes}\nhint: start the run again"
                ),
            });
        }
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(Error::io(&path))?;
        Ok(Self { path, file })
    }

    /// Writes a line and returns its length.
    pub(super) fn write(&mut self, line: &impl Serialize) -> Result<u64> {
        let text = serde_json::to_string(line).expect("a log line is plain data") + "\n";
        // One call: a reader never sees half a line.
        self.file
            .write_all(text.as_bytes())
            .map_err(Error::io(&self.path))?;
        Ok(text.len() as u64)
    }

    /// Makes the lines durable, before a checkpoint counts on them.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}

/// The steps since the last log line; the loss is summed on the device.
pub(super) struct Window {
    pub(super) loss_sum: Tensor,
    /// (2, 3), as a step's.
    hits: Tensor,
    pub(super) images: u64,
    pub(super) waited: f64,
    seconds_before: f64,
    opened: Instant,
}

impl Window {
    /// With what a checkpoint kept of it; its sum came from fp32, so that none of it is lost.
    pub(super) fn open(kept: &Figures, device: Device) -> Self {
        Self {
            loss_sum: Tensor::from(kept.loss_sum as f32).to_device(device),
            hits: Tensor::from_slice2(&[kept.right, kept.of])
                .to_kind(Kind::Float)
                .to_device(device),
            images: kept.images,
            waited: kept.waited,
            seconds_before: kept.seconds,
            opened: Instant::now(),
        }
    }

    /// Adds what a step saw.
    pub(super) fn add(&mut self, seen: &Seen, images: usize) {
        self.loss_sum += &seen.loss_sum;
        self.hits += &seen.hits;
        self.images += images as u64;
    }

    /// Waits for the device, so that the time is that of the work done.
    pub(super) fn figures(&self) -> Figures {
        // One transfer for all six.
        let hits = self.hits.to_device(Device::Cpu);
        let hits = |row: i64| [0, 1, 2].map(|band| hits.double_value(&[row, band]));
        Figures {
            loss_sum: self.loss_sum.double_value(&[]),
            right: hits(0),
            of: hits(1),
            images: self.images,
            waited: self.waited,
            seconds: self.seconds_before + self.opened.elapsed().as_secs_f64(),
        }
    }
}
