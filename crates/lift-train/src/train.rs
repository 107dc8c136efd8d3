//! The training loop, from top to bottom.

mod log;

use std::{collections::BTreeMap, time::Duration};

use lift_models::{Precision, is_finite, libtorch};
use lift_page::{number::plain, progress::Reporting};
use lift_shards::ShardReader;
use tch::Tensor;

use log::{Log, LogLine, ValidationLine, Window};

use crate::{
    checkpoint::{Checkpoint, CheckpointWriter, Position, States},
    config::TrainConfig,
    error::{Error, Result},
    features::{Features, KeptFeed},
    figures::Figures,
    model::TunedModel,
    optim::LossScaler,
    report::Training,
    run_report::curves::ValidationFigures,
    step::Step,
    stop::Stop,
    tensorboard::EventFile,
    transfer::{self, Input, Transfer},
    validation::{Kept, Validated, Validation, copied},
};
use lift_loader::{Augmentation, Draws, Loader, View};

/// What training looks at.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// The training images.
    pub reader: &'a ShardReader,
    /// Loads them.
    pub loader: &'a Loader,
    /// Brings them to the device.
    pub transfer: &'a Transfer,
    /// Looks at others, where there are any.
    pub validation: Option<&'a Validation>,
    /// What the tower gives for them, where no step changes it.
    pub features: Option<&'a Features>,
}

/// Where an epoch's batches come from.
enum Feed<'a> {
    Loaded(transfer::Feed),
    Kept(KeptFeed<'a>),
}

impl Feed<'_> {
    fn next(&mut self) -> Option<Result<Input>> {
        match self {
            Self::Loaded(feed) => feed.next(),
            Self::Kept(feed) => feed.next(),
        }
    }

    /// How long the device waited for batches since this was asked last.
    fn take_waited(&mut self) -> Duration {
        match self {
            Self::Loaded(feed) => feed.take_waited(),
            Self::Kept(_) => Duration::ZERO,
        }
    }
}

/// What training ends with, besides the model.
pub struct Trained {
    /// How it went.
    pub training: Training,
    /// What validation has found.
    pub validated: Validated,
    /// The state that was the best on `val`, where the run keeps it.
    pub best: BTreeMap<String, Tensor>,
}

/// Tunes `model` on the training images, and writes `metrics.jsonl` and checkpoints into
/// the run's folder.
///
/// From a checkpoint, whose tensors `model` already has, it goes on as if it had never stopped: on a CPU losses and
/// weights are the same to the last bit.
///
/// # Errors
/// When a row cannot be loaded, the loss is no number any more, a file cannot be written, or `stop` wants it.
pub fn train(
    model: &mut TunedModel,
    data: Data<'_>,
    config: &TrainConfig,
    mut keeper: CheckpointWriter,
    from: Option<Checkpoint>,
    stop: &Stop,
) -> Result<Trained> {
    let Data {
        reader,
        loader,
        transfer,
        validation,
        features,
    } = data;
    let device = model.visual.device();
    let rows = reader.len();
    let manifest = reader.manifest();
    let counts = (manifest.class_counts.as_slice(), manifest.bands);
    let steps = rows.div_ceil(config.batch_size) * config.epochs;
    let mut step = Step::new(model, config.step_settings(model, steps), counts);
    let labels: Vec<u32> = reader.rows().iter().map(|row| row.label).collect();
    let mut at = Position::default();
    let is_new = from.is_none();
    let mut best = BTreeMap::new();
    if let Some(checkpoint) = from {
        step.optimiser.restore(checkpoint.optimiser)?;
        at = checkpoint.position;
        best = checkpoint.best;
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
        save(&mut keeper, &at, model, &step, &best)?;
    }
    // The patience of a run that goes on may be another than it was.
    let found = &mut at.validated;
    found.ended_early = config
        .patience
        .is_some_and(|most| found.without_better >= most);

    while at.epoch < config.epochs && !at.validated.ended_early {
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
        let draws = draws.skip(at.rows_done);
        let mut feed = match features {
            Some(features) => Feed::Kept(features.feed(draws, config.batch_size)),
            None => Feed::Loaded(transfer.feed(loader, draws, view)?),
        };
        let mut window = Window::open(&at.window, device);
        while at.rows_done < rows {
            let Input {
                pixels,
                labels,
                host_labels,
            } = feed.next().ok_or(lift_loader::Error::Stopped)??;
            window.waited += feed.take_waited().as_secs_f64();

            let images = host_labels.len();
            let seen = step.run(model, &pixels, &labels, epoch, at.step)?;
            window.add(&seen, images);
            lr = step.lr(config.lr, epoch, at.step);

            at.step += 1;
            at.rows_done += images;
            progress.advance(images as u64);

            let ends_epoch = at.rows_done == rows;
            let ends_training = ends_epoch && epoch + 1 == config.epochs;
            let validates = validation
                .filter(|validation| validation.is_due(at.step, ends_epoch, ends_training));
            let stops = stop.is_wanted(at.step);
            let saves = stops || keeper.is_due(at.step);
            let logs = at.step.is_multiple_of(config.log_every) || ends_epoch;
            if !(saves || logs || validates.is_some()) {
                continue;
            }
            let seen = window.figures();
            let scaler = step.optimiser.scaler();
            if !seen.loss_sum.is_finite() || scaler.is_some_and(LossScaler::has_failed) {
                return Err(diverged(seen.loss(), model, config, at.step, epoch, lr));
            }
            at.window = seen;
            if logs {
                let [train_accuracy, train_many, train_medium, train_few] = at.window.accuracies();
                let line = LogLine {
                    step: at.step,
                    epoch,
                    loss: at.window.loss(),
                    lr,
                    images_per_second: at.window.images_per_second(),
                    data_wait_share: at.window.data_wait_share(),
                    loss_scale: scaler.map(LossScaler::value),
                    train_accuracy,
                    train_many,
                    train_medium,
                    train_few,
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
            if let Some(validation) = validates {
                model.bring_texts_up(config.max_memory)?;
                require_finite(model, config, &at, epoch, lr)?;
                let metrics = validation.judge(model, transfer)?;
                let now = (at.step, epoch);
                let is_best = validation.note(&mut at.validated, &metrics, now);
                if is_best && config.keep.contains(&Kept::Best) {
                    best = copied(&model.state());
                }
                let line = ValidationLine {
                    step: at.step,
                    epoch,
                    validation: ValidationFigures::of(&metrics, is_best),
                };
                at.log_bytes += log.write(&line)?;
                if let Some(events) = &mut events {
                    line.write_scalars(events)?;
                }
                progress.say(&line.to_string());
                // Its time is none of the training's.
                window = Window::open(&at.window, device);
                if at.validated.ended_early {
                    break;
                }
            }
            if saves && !ends_epoch {
                log.sync()?;
                save(&mut keeper, &at, model, &step, &best)?;
            }
            if stops && !ends_epoch {
                return Err(stopped(config, &at));
            }
        }
        if at.validated.ended_early {
            progress.say(&format!(
                "ended at step {}: {} in a row were not better than the best before",
                at.step,
                plain(at.validated.without_better as u64, "validation")
            ));
        }
        let mut figures = std::mem::take(&mut at.epoch_so_far);
        figures.add(&std::mem::take(&mut at.window));
        let accuracy = figures.accuracies().map(|share| match share {
            Some(share) => format!("{:.1}", 100.0 * share),
            None => "-".into(),
        });
        // Two lines, as a terminal of 80 columns has no room for one.
        progress.say(&format!(
            "epoch {}/{}  loss {:.4}  accuracy {} (many {}, medium {}, few {})\n  lr {lr:.5}  {:.0} images/s  {:.0} % of the time waiting for data",
            epoch + 1,
            config.epochs,
            figures.loss(),
            accuracy[0],
            accuracy[1],
            accuracy[2],
            accuracy[3],
            figures.images_per_second(),
            100.0 * figures.data_wait_share()
        ));
        at.total.add(&figures);
        at.last_epoch_loss = Some(figures.loss());
        (at.epoch, at.rows_done) = (epoch + 1, 0);
        let is_last = at.epoch == config.epochs || at.validated.ended_early;
        let stops = stop.is_wanted(at.step);
        if is_last {
            require_finite(model, config, &at, epoch, lr)?;
        }
        if stops || is_last || keeper.is_due(at.step) {
            log.sync()?;
            save(&mut keeper, &at, model, &step, &best)?;
        }
        if stops {
            return Err(stopped(config, &at));
        }
    }
    progress.finish();
    let training = Training {
        images: rows as u64,
        steps: at.step,
        last_epoch_loss: at.last_epoch_loss,
        seconds: at.total.seconds,
        images_per_second: at.total.images_per_second(),
        data_wait_share: at.total.data_wait_share(),
        peak_memory_bytes: None,
        peak_device_bytes: libtorch::peak_memory(device)?,
    };
    Ok(Trained {
        training,
        validated: at.validated,
        best,
    })
}

fn save(
    keeper: &mut CheckpointWriter,
    at: &Position,
    model: &TunedModel,
    step: &Step,
    best: &BTreeMap<String, Tensor>,
) -> Result<()> {
    let states = States {
        model: &model.state(),
        optimiser: &step.optimiser.state(),
        best,
    };
    keeper.save(at, states)
}

fn stopped(config: &TrainConfig, at: &Position) -> Error {
    Error::Stopped {
        run: config.out.clone(),
        step: at.step,
    }
}

/// The last step's loss was looked at before its update: what that left is looked at here.
fn require_finite(
    model: &TunedModel,
    config: &TrainConfig,
    at: &Position,
    epoch: usize,
    lr: f64,
) -> Result<()> {
    if model.tuned().values().all(is_finite) {
        Ok(())
    } else {
        Err(diverged(f64::NAN, model, config, at.step, epoch, lr))
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
