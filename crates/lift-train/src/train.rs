//! The training loop, from top to bottom.

use std::{
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::PathBuf,
    time::Instant,
};

use lift_clip::Normalisation;
use lift_data::progress::Reporting;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

use crate::{
    checkpoint::{Checkpoint, Keeper, Position},
    config::TrainConfig,
    error::{Error, Result},
    loader::{Augmentation, Loader, View},
    loss::Loss,
    model::TunedModel,
    optim::{Optimiser, Schedule},
    report::Training,
    stop::Stop,
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

/// Tunes `model` on the rows of `loader`, and writes `metrics.jsonl` and checkpoints into the run's folder.
///
/// From a checkpoint, whose tensors `model` already has, it goes on as if it had never stopped: on a CPU losses and
/// weights are the same to the last bit.
///
/// # Errors
/// When a row cannot be loaded, the loss is no number any more, a file cannot be written, or `stop` wants it.
pub fn train(
    model: &TunedModel,
    loader: &Loader,
    config: &TrainConfig,
    normalisation: Normalisation,
    mut keeper: Keeper,
    from: Option<Checkpoint>,
    stop: &Stop,
) -> Result<Training> {
    let device = model.visual.device();
    let rows = loader.reader().len();
    let counts = &loader.reader().manifest().class_counts;
    let loss_function = Loss::new(config.loss, counts, config.tau, config.scale, device);
    let mut optimiser = Optimiser::new(model, config);
    let schedule = Schedule {
        kind: config.schedule,
        warmup: config.warmup,
        epochs: config.epochs,
        steps: rows.div_ceil(config.batch_size) * config.epochs,
    };
    let labels: Vec<u32> = loader.reader().rows().iter().map(|row| row.label).collect();
    let mut at = Position::default();
    let is_new = from.is_none();
    if let Some(checkpoint) = from {
        optimiser.restore(checkpoint.optimiser)?;
        at = checkpoint.position;
    }
    let mut log = Log::open(config.out.join("metrics.jsonl"), at.log_bytes)?;
    let mut events = match config.tensorboard {
        true => Some(EventFile::create(&config.out)?),
        false => None,
    };
    let progress = Reporting::Stderr.start("train", (rows * config.epochs) as u64);
    progress.advance((rows * at.epoch + at.rows_done) as u64);
    if is_new {
        keeper.save(&at, &model.state(), &optimiser.state())?;
    }

    while at.epoch < config.epochs {
        let (epoch, seed) = (at.epoch, config.seed);
        let mut lr = schedule.lr(config.lr, epoch, at.step);
        let smallest_area = config.area_schedule.smallest_area(epoch, config.epochs);
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
        let mut batches = loader.batches(draws.skip(at.rows_done), view);
        let mut window = Window::open(&at.window, device);
        while at.rows_done < rows {
            let waiting = Instant::now();
            let batch = batches.next().ok_or(Error::LoaderStopped)??;
            window.waited += waiting.elapsed().as_secs_f64();

            let images = batch.labels.len();
            let labels = Tensor::from_slice(&batch.labels).to_device(device);
            let pixels = batch.images(&normalisation, device);
            optimiser.zero_grad();
            let whole = (config.accumulate > 1).then(|| loss_function.weight(&labels));
            let part = images.div_ceil(config.accumulate) as i64;
            for (pixels, labels) in pixels.split(part, 0).iter().zip(labels.split(part, 0)) {
                let logits = model.forward(pixels);
                let loss = loss_function.forward_smoothed(&logits, &labels, config.label_smoothing);
                // Parts of a step: their losses' weighted mean is the step's.
                let loss = match &whole {
                    Some(whole) => loss * (loss_function.weight(&labels) / whole),
                    None => loss,
                };
                loss.backward();
                window.loss_sum += loss.detach() * images as f64;
            }
            window.images += images as u64;
            if let Some(norm) = config.clip_grad {
                optimiser.clip_gradients(norm);
            }
            lr = schedule.lr(config.lr, epoch, at.step);
            optimiser.step(&schedule, epoch, at.step);

            at.step += 1;
            at.rows_done += images;
            progress.advance(images as u64);

            let stops = stop.is_wanted(at.step);
            let saves = stops || keeper.is_due(at.step);
            let logs = at.step.is_multiple_of(config.log_every) || at.rows_done == rows;
            if !(saves || logs) {
                continue;
            }
            let seen = window.figures();
            if !seen.loss_sum.is_finite() {
                return Err(Error::Diverged {
                    loss: seen.loss(),
                    step: at.step,
                    epoch,
                    lr,
                });
            }
            at.window = seen;
            if logs {
                let line = LogLine {
                    step: at.step,
                    epoch,
                    loss: at.window.loss(),
                    lr,
                    images_per_second: at.window.images_per_second(),
                    data_wait_share: at.window.data_wait_share(),
                };
                at.log_bytes += log.write(&line)?;
                if let Some(events) = &mut events {
                    line.write_scalars(events)?;
                }
                let loss = at.window.loss();
                progress.note(format!(
                    "epoch {}/{}  loss {loss:.3}",
                    epoch + 1,
                    config.epochs
                ));
                at.epoch_so_far.add(&at.window);
                at.window = Figures::default();
                window = Window::open(&at.window, device);
            }
            if saves && at.rows_done < rows {
                log.sync()?;
                keeper.save(&at, &model.state(), &optimiser.state())?;
            }
            if stops && at.rows_done < rows {
                return Err(stopped(config, &at));
            }
        }
        let figures = std::mem::take(&mut at.epoch_so_far);
        progress.say(&format!(
            "epoch {}/{}  loss {:.4}  lr {lr:.5}  {:.0} images/s  {:.0} % of the time waiting for data",
            epoch + 1,
            config.epochs,
            figures.loss(),
            figures.images_per_second(),
            100.0 * figures.data_wait_share()
        ));
        at.total.add(&figures);
        at.last_epoch_loss = Some(figures.loss());
        (at.epoch, at.rows_done) = (epoch + 1, 0);
        let (stops, is_last) = (stop.is_wanted(at.step), at.epoch == config.epochs);
        if is_last {
            require_finite(model, &at, lr)?;
        }
        if stops || is_last || keeper.is_due(at.step) {
            log.sync()?;
            keeper.save(&at, &model.state(), &optimiser.state())?;
        }
        if stops {
            return Err(stopped(config, &at));
        }
    }
    progress.finish();
    Ok(Training {
        images: rows as u64,
        steps: at.step,
        last_epoch_loss: at.last_epoch_loss,
        seconds: at.total.seconds,
        images_per_second: at.total.images_per_second(),
        data_wait_share: at.total.data_wait_share(),
    })
}

fn stopped(config: &TrainConfig, at: &Position) -> Error {
    Error::Stopped {
        run: config.out.clone(),
        step: at.step,
    }
}

/// The last step's loss was looked at before its update: what that left is looked at here.
fn require_finite(model: &TunedModel, at: &Position, lr: f64) -> Result<()> {
    let is_finite = |tensor: &Tensor| tensor.isfinite().all().int64_value(&[]) == 1;
    match model.tuned().values().all(is_finite) {
        true => Ok(()),
        false => Err(Error::Diverged {
            loss: f64::NAN,
            step: at.step,
            epoch: at.epoch - 1,
            lr,
        }),
    }
}

/// `metrics.jsonl`, behind its first bytes that a checkpoint knows.
struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Cuts off what was written after the checkpoint.
    fn open(path: PathBuf, bytes: u64) -> Result<Self> {
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
    fn write(&mut self, line: &LogLine) -> Result<u64> {
        let text = serde_json::to_string(line).expect("a log line is plain data") + "\n";
        // One call: a reader never sees half a line.
        self.file
            .write_all(text.as_bytes())
            .map_err(Error::io(&self.path))?;
        Ok(text.len() as u64)
    }

    /// Makes the lines durable, before a checkpoint counts on them.
    fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }
}

/// The steps since the last log line; the loss is summed on the device.
struct Window {
    loss_sum: Tensor,
    images: u64,
    waited: f64,
    seconds_before: f64,
    opened: Instant,
}

impl Window {
    /// With what a checkpoint kept of it; its sum came from fp32, so that none of it is lost.
    fn open(kept: &Figures, device: Device) -> Self {
        Self {
            loss_sum: Tensor::from(kept.loss_sum as f32).to_device(device),
            images: kept.images,
            waited: kept.waited,
            seconds_before: kept.seconds,
            opened: Instant::now(),
        }
    }

    /// Waits for the device, so that the time is that of the work done.
    fn figures(&self) -> Figures {
        Figures {
            loss_sum: self.loss_sum.double_value(&[]),
            images: self.images,
            waited: self.waited,
            seconds: self.seconds_before + self.opened.elapsed().as_secs_f64(),
        }
    }
}

/// Sums over some steps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Of the images' losses.
    pub loss_sum: f64,
    /// Images seen.
    pub images: u64,
    /// Seconds spent waiting for data.
    pub waited: f64,
    /// Wall time.
    pub seconds: f64,
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
