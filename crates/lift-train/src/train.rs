//! The training loop, from top to bottom.

mod log;

use lift_models::{Precision, is_finite, libtorch};
use lift_page::progress::Reporting;

use log::{Log, LogLine, Window};

use crate::{
    checkpoint::{Checkpoint, CheckpointWriter, Position},
    config::TrainConfig,
    error::{Error, Result},
    figures::Figures,
    model::TunedModel,
    optim::LossScaler,
    report::Training,
    step::Step,
    stop::Stop,
    tensorboard::EventFile,
    transfer::{Input, Transfer},
};
use lift_loader::{Augmentation, Draws, Loader, View};

/// Tunes `model` on the rows of `loader`, which come to it by `transfer`, and writes `metrics.jsonl` and checkpoints into
/// the run's folder.
///
/// From a checkpoint, whose tensors `model` already has, it goes on as if it had never stopped: on a CPU losses and
/// weights are the same to the last bit.
///
/// # Errors
/// When a row cannot be loaded, the loss is no number any more, a file cannot be written, or `stop` wants it.
pub fn train(
    model: &mut TunedModel,
    loader: &Loader,
    config: &TrainConfig,
    transfer: &Transfer,
    mut keeper: CheckpointWriter,
    from: Option<Checkpoint>,
    stop: &Stop,
) -> Result<Training> {
    let device = model.visual.device();
    let rows = loader.reader().len();
    let counts = &loader.reader().manifest().class_counts;
    let steps = rows.div_ceil(config.batch_size) * config.epochs;
    let mut step = Step::new(model, config, counts, steps);
    let labels: Vec<u32> = loader.reader().rows().iter().map(|row| row.label).collect();
    let mut at = Position::default();
    let is_new = from.is_none();
    if let Some(checkpoint) = from {
        step.optimiser.restore(checkpoint.optimiser)?;
        at = checkpoint.position;
    }
    let mut log = Log::open(config.out.join("metrics.jsonl"), at.log_bytes)?;
    let mut events = if config.tensorboard {
        Some(EventFile::create(&config.out)?)
    } else {
        None
    };
    if let Some(events) = events.as_mut().filter(|_| !is_new) {
        events.goes_on(at.step + 1)?;
    }
    let progress = Reporting::Stderr.start("train", (rows * config.epochs) as u64);
    progress.advance((rows * at.epoch + at.rows_done) as u64);
    if is_new {
        keeper.save(&at, &model.state(), &step.optimiser.state())?;
    }

    while at.epoch < config.epochs {
        let (epoch, seed) = (at.epoch, config.seed);
        let mut lr = step.lr(config.lr, epoch, at.step);
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
        let draws = match config.shuffle_window {
            Some(window) => Draws::windowed(rows, window, seed, epoch),
            None => config.sampler.draws(&labels, seed, epoch, config.epochs),
        };
        let mut feed = transfer.feed(loader, draws.skip(at.rows_done), view)?;
        let mut window = Window::open(&at.window, device);
        while at.rows_done < rows {
            let Input {
                pixels,
                labels,
                host_labels,
            } = feed.next().ok_or(lift_loader::Error::Stopped)??;
            window.waited += feed.take_waited().as_secs_f64();

            let images = host_labels.len();
            window.loss_sum += step.run(model, &pixels, &labels, epoch, at.step)?;
            window.images += images as u64;
            lr = step.lr(config.lr, epoch, at.step);

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
            let scaler = step.optimiser.scaler();
            if !seen.loss_sum.is_finite() || scaler.is_some_and(LossScaler::has_failed) {
                return Err(diverged(seen.loss(), model, config, at.step, epoch, lr));
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
                    loss_scale: scaler.map(LossScaler::value),
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
                keeper.save(&at, &model.state(), &step.optimiser.state())?;
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
            require_finite(model, config, &at, lr)?;
        }
        if stops || is_last || keeper.is_due(at.step) {
            log.sync()?;
            keeper.save(&at, &model.state(), &step.optimiser.state())?;
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
        peak_memory_bytes: None,
        peak_device_bytes: libtorch::peak_memory(device)?,
    })
}

fn stopped(config: &TrainConfig, at: &Position) -> Error {
    Error::Stopped {
        run: config.out.clone(),
        step: at.step,
    }
}

/// The last step's loss was looked at before its update: what that left is looked at here.
fn require_finite(model: &TunedModel, config: &TrainConfig, at: &Position, lr: f64) -> Result<()> {
    if model.tuned().values().all(is_finite) {
        Ok(())
    } else {
        Err(diverged(f64::NAN, model, config, at.step, at.epoch - 1, lr))
    }
}

/// A loss that is no number, with the cause that is likeliest.
fn diverged(
    loss: f64,
    model: &TunedModel,
    config: &TrainConfig,
    step: usize,
    epoch: usize,
    lr: f64,
) -> Error {
    let frozen = model.visual.named_tensors();
    let broken = frozen.iter().find(|(_, tensor)| !is_finite(tensor));
    let usual = config.preset.values(None).lr;
    let cause = if let Some((name, _)) = broken {
        format!(
            "the model's {name} holds values that are not finite: fetch {} again, or use --precision bf16 or fp32",
            config.model.display()
        )
    } else if config.lr > 5.0 * usual {
        format!(
            "--lr {} is {:.0} times the {usual} of the preset; use a lower one",
            config.lr,
            config.lr / usual
        )
    } else if config.precision() == Precision::Fp16 {
        "fp16 ends at 65,504; use --precision bf16 or fp32".into()
    } else {
        "a lower --lr, --warmup 100 or --clip-grad 1 is the usual cure".into()
    };
    Error::Diverged {
        loss,
        step,
        epoch,
        lr,
        cause,
    }
}
