//! What is written of training: lines of `metrics.jsonl`, and the sums they are made from.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
    time::Instant,
};

use serde::Serialize;
use tch::{Device, Tensor};

use crate::{
    error::{Error, Result},
    figures::Figures,
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
}

impl LogLine {
    pub(super) fn write_scalars(&self, events: &mut EventFile) -> Result<()> {
        let scalars = [
            ("train/loss", self.loss),
            ("train/lr", self.lr),
            ("speed/images_per_second", self.images_per_second),
            ("speed/data_wait_share", self.data_wait_share),
        ];
        events.scalars(self.step, &scalars)
    }
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
    pub(super) fn write(&mut self, line: &LogLine) -> Result<u64> {
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
            images: kept.images,
            waited: kept.waited,
            seconds_before: kept.seconds,
            opened: Instant::now(),
        }
    }

    /// Waits for the device, so that the time is that of the work done.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            loss_sum: self.loss_sum.double_value(&[]),
            images: self.images,
            waited: self.waited,
            seconds: self.seconds_before + self.opened.elapsed().as_secs_f64(),
        }
    }
}
