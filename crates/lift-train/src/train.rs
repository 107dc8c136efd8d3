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
    loader::{Augmentation, Loader, View},
    loss::Loss,
    model::TunedModel,
    optim::{Sgd, cosine_lr},
    report::Training,
    tensorboard::EventFile,
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

impl LogLine {
    fn write_scalars(&self, events: &mut EventFile) -> Result<()> {
        let scalars = [
            ("train/loss", self.loss),
            ("train/lr", self.lr),
            ("speed/images_per_second", self.images_per_second),
            ("speed/data_wait_share", self.data_wait_share),
        ];
        events.scalars(self.step, &scalars)
    }
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
    let counts = &loader.reader().manifest().class_counts;
    let loss_function = Loss::new(config.loss, counts, config.tau, config.scale, device);
    let mut optimiser = Sgd::new(
        model.tuned().into_values().collect(),
        config.momentum,
        config.weight_decay,
    );
    let labels: Vec<u32> = loader.reader().rows().iter().map(|row| row.label).collect();
    let log_path = config.out.join("metrics.jsonl");
    let mut log = BufWriter::new(File::create(&log_path).map_err(Error::io(&log_path))?);
    let mut events = match config.tensorboard {
        true => Some(EventFile::create(&config.out)?),
        false => None,
    };
    let progress = Reporting::Stderr.start("train", (rows * config.epochs) as u64);

    let mut step = 0;
    let mut total = Figures::default();
    let mut last_epoch = None;
    for epoch in 0..config.epochs {
        let lr = cosine_lr(config.lr, epoch, config.epochs);
        let smallest_area = config.area_schedule.smallest_area(epoch, config.epochs);
        let seed = config.seed;
        let view = match config.augment {
            Augmentation::Mda => View::Random {
                smallest_area,
                seed,
                epoch,
            },
            Augmentation::Classic => View::Classic { seed, epoch },
            Augmentation::Plain => View::Center,
        };
        let draws = config.sampler.draws(&labels, seed, epoch, config.epochs);
        let mut batches = loader.batches(draws, view);
        let mut figures = Figures::default();
        let mut window = Window::open(device);
        let mut done = 0;
        while done < rows {
            let waiting = Instant::now();
            let batch = batches.next().ok_or(Error::LoaderStopped)??;
            window.waited += waiting.elapsed().as_secs_f64();

            let labels = Tensor::from_slice(&batch.labels).to_device(device);
            let logits = model.forward(&batch.images(&normalisation, device));
            let loss = loss_function.forward(&logits, &labels);
            optimiser.zero_grad();
            loss.backward();
            optimiser.step(lr);

            let images = batch.labels.len();
            window.add(&loss.detach(), images as u64);
            step += 1;
            done += images;
            progress.advance(images as u64);

            if step % config.log_every == 0 || done == rows {
                let seen = window.close();
                if !seen.loss().is_finite() {
                    return Err(Error::Diverged {
                        loss: seen.loss(),
                        step,
                        epoch,
                        lr,
                    });
                }
                let line = LogLine {
                    step,
                    epoch,
                    loss: seen.loss(),
                    lr,
                    images_per_second: seen.images_per_second(),
                    data_wait_share: seen.data_wait_share(),
                };
                let text = serde_json::to_string(&line).expect("a log line is plain data");
                writeln!(log, "{text}")
                    .and_then(|()| log.flush())
                    .map_err(Error::io(&log_path))?;
                if let Some(events) = &mut events {
                    line.write_scalars(events)?;
                }
                let loss = seen.loss();
                progress.note(format!(
                    "epoch {}/{}  loss {loss:.3}",
                    epoch + 1,
                    config.epochs
                ));
                figures.add(&seen);
                window = Window::open(device);
            }
        }
        progress.say(&format!(
            "epoch {}/{}  loss {:.4}  lr {lr:.5}  {:.0} images/s  {:.0} % of the time waiting for data",
            epoch + 1,
            config.epochs,
            figures.loss(),
            figures.images_per_second(),
            100.0 * figures.data_wait_share()
        ));
        total.add(&figures);
        last_epoch = Some(figures);
    }
    progress.finish();
    Ok(Training {
        images: rows as u64,
        steps: step,
        last_epoch_loss: last_epoch.map(|figures| figures.loss()),
        seconds: total.seconds,
        images_per_second: total.images_per_second(),
        data_wait_share: total.data_wait_share(),
    })
}

/// The steps since the last log line; the loss is summed on the device.
struct Window {
    loss_sum: Tensor,
    images: u64,
    waited: f64,
    opened: Instant,
}

impl Window {
    fn open(device: Device) -> Self {
        Self {
            loss_sum: Tensor::zeros([], (Kind::Float, device)),
            images: 0,
            waited: 0.0,
            opened: Instant::now(),
        }
    }

    fn add(&mut self, loss: &Tensor, images: u64) {
        self.loss_sum += loss * images as f64;
        self.images += images;
    }

    /// Waits for the device, so that the time is that of the work done.
    fn close(self) -> Figures {
        Figures {
            loss_sum: self.loss_sum.double_value(&[]),
            images: self.images,
            waited: self.waited,
            seconds: self.opened.elapsed().as_secs_f64(),
        }
    }
}

/// Sums over some steps.
#[derive(Default)]
struct Figures {
    loss_sum: f64,
    images: u64,
    waited: f64,
    seconds: f64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.loss_sum += other.loss_sum;
        self.images += other.images;
        self.waited += other.waited;
        self.seconds += other.seconds;
    }

    fn loss(&self) -> f64 {
        self.loss_sum / self.images as f64
    }

    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    fn data_wait_share(&self) -> f64 {
        self.waited / self.seconds.max(f64::MIN_POSITIVE)
    }
}
