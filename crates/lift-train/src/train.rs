//! The training loop, from top to bottom.

use std::{
    fs::File,
    io::{BufWriter, Write},
    time::Instant,
};

use lift_clip::Normalisation;
use lift_data::progress::Reporting;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::{
    config::TrainConfig,
    error::{Error, Result},
    loader::{Loader, View, epoch_order},
    loss::LogitAdjusted,
    model::TunedModel,
    optim::{Sgd, cosine_lr},
    report::Training,
};

/// A line of `metrics.jsonl`: means over the steps since the line before.
#[derive(Debug, Serialize)]
struct LogLine {
    step: usize,
    epoch: usize,
    loss: f64,
    lr: f64,
    images_per_second: f64,
    data_wait_share: f64,
}

/// Tunes `model` on the rows of `loader`, and writes `metrics.jsonl` into the run's folder.
///
/// # Errors
/// When a row cannot be loaded, the loss is no number any more, or the log cannot be written.
pub fn train(
    model: &TunedModel,
    loader: &Loader,
    config: &TrainConfig,
    normalisation: Normalisation,
) -> Result<Training> {
    let device = model.visual.device();
    let rows = loader.reader().len();
    let loss_function =
        LogitAdjusted::new(&loader.reader().manifest().class_counts, config.tau, device);
    let mut optimiser = Sgd::new(
        model.tuned().into_values().collect(),
        config.momentum,
        config.weight_decay,
    );
    let log_path = config.out.join("metrics.jsonl");
    let mut log = BufWriter::new(File::create(&log_path).map_err(Error::io(&log_path))?);
    let progress = Reporting::Stderr.start("train", (rows * config.epochs) as u64);

    let (mut step, mut images_seen) = (0, 0u64);
    let mut total = Stopwatch::default();
    let mut last_epoch_loss = None;
    for epoch in 0..config.epochs {
        let lr = cosine_lr(config.lr, epoch, config.epochs);
        let smallest_area = config.area_schedule.smallest_area(epoch, config.epochs);
        let mut batches = loader.batches(
            epoch_order(rows, config.seed, epoch),
            View::Random {
                smallest_area,
                seed: config.seed,
                epoch,
            },
        );
        let mut epoch_loss = RunningLoss::new(device);
        let mut window = (RunningLoss::new(device), Stopwatch::default(), 0u64);
        let mut done = 0;
        while done < rows {
            let started = Instant::now();
            let batch = batches.next().ok_or(Error::LoaderStopped)??;
            let waited = started.elapsed().as_secs_f64();

            let labels = Tensor::from_slice(&batch.labels).to_device(device);
            let logits = model.forward(&batch.images(&normalisation, device));
            let loss = loss_function.forward(&logits, &labels);
            optimiser.zero_grad();
            loss.backward();
            optimiser.step(lr);

            let images = batch.labels.len() as u64;
            let loss = loss.detach();
            epoch_loss.add(&loss, images);
            window.0.add(&loss, images);
            let time = Stopwatch {
                seconds: started.elapsed().as_secs_f64(),
                waited,
            };
            window.1.add(&time);
            window.2 += images;
            total.add(&time);
            step += 1;
            done += images as usize;
            images_seen += images;
            progress.advance(images);

            // The only place where the host waits for the device.
            if step % config.log_every == 0 || done == rows {
                let loss = window.0.mean();
                if !loss.is_finite() {
                    return Err(Error::Diverged {
                        loss,
                        step,
                        epoch,
                        lr,
                    });
                }
                let line = LogLine {
                    step,
                    epoch,
                    loss,
                    lr,
                    images_per_second: window.2 as f64 / window.1.seconds,
                    data_wait_share: window.1.waited / window.1.seconds,
                };
                let text = serde_json::to_string(&line).expect("a log line is plain data");
                writeln!(log, "{text}")
                    .and_then(|()| log.flush())
                    .map_err(Error::io(&log_path))?;
                progress.note(format!(
                    "epoch {}/{}  loss {loss:.3}",
                    epoch + 1,
                    config.epochs
                ));
                window = (RunningLoss::new(device), Stopwatch::default(), 0);
            }
        }
        let loss = epoch_loss.mean();
        last_epoch_loss = Some(loss);
        progress.say(&format!(
            "epoch {}/{}  loss {loss:.4}  lr {lr:.5}  {:.0} images/s  {:.0} % of the time waiting for data",
            epoch + 1,
            config.epochs,
            images_seen as f64 / total.seconds,
            100.0 * total.waited / total.seconds
        ));
    }
    progress.finish();
    Ok(Training {
        images: rows as u64,
        steps: step,
        last_epoch_loss,
        seconds: total.seconds,
        images_per_second: if step > 0 {
            images_seen as f64 / total.seconds
        } else {
            0.0
        },
        data_wait_share: if step > 0 {
            total.waited / total.seconds
        } else {
            0.0
        },
    })
}

/// A mean loss that is summed on the device.
struct RunningLoss {
    sum: Tensor,
    images: u64,
}

impl RunningLoss {
    fn new(device: Device) -> Self {
        Self {
            sum: Tensor::zeros([], (Kind::Float, device)),
            images: 0,
        }
    }

    fn add(&mut self, loss: &Tensor, images: u64) {
        self.sum += loss * images as f64;
        self.images += images;
    }

    fn mean(&self) -> f64 {
        self.sum.double_value(&[]) / self.images as f64
    }
}

/// Wall time, and the part of it spent waiting for data.
#[derive(Default)]
struct Stopwatch {
    seconds: f64,
    waited: f64,
}

impl Stopwatch {
    fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.waited += other.waited;
    }
}
