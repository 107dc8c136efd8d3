//! `lift-train bench --stage`: a step of training, or an evaluation's forward pass, on images that are on the device already;
//! or the way of batches to the device.
//!
//! What they compute takes as long with any pixels and labels, so these are drawn. Invariant: a figure is a median over runs
//! that each end with the device at rest.

use std::{path::PathBuf, time::Instant};

use lift_models::{Precision, VisionTower, device_name, hub, libtorch, memory::MemorySize};
use lift_page::terminal::aligned;
use lift_shards::split::BandEdges;
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::{bench::median, load_tower, print_json, print_text};
use crate::{
    classifier::Classifier,
    config::{Start, TrainArgs, TrainConfig},
    error::Result,
    head_init::HeadInit,
    model::TunedModel,
    step::Step,
    transfer::{Target, Transfer},
    tuner::{Tuner, Tuners},
};
use lift_loader::{Batch, Batches, Layout};

/// Steps before the first that is measured: kernels are chosen and memory is taken in them.
const WARM_UP: usize = 3;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Forward, loss, backward and update.
    Step,
    /// The forward pass alone.
    Evaluation,
    /// Batches that are ready on the host, made into patches on the device.
    Transfer,
}

/// How it is measured.
#[derive(Clone, Debug)]
pub struct StageSettings {
    /// What.
    pub stage: Stage,
    /// Model folder, file or name.
    pub model: PathBuf,
    /// Of the classifier.
    pub num_classes: usize,
    /// Modules; none: the usual ones.
    pub tuner: Option<Tuners>,
    /// Images at once.
    pub batch_size: usize,
    /// Side of the crops; none: the model's.
    pub resolution: Option<u32>,
    /// Kind of the frozen weights; none: the device's usual one.
    pub precision: Option<Precision>,
    /// Where.
    pub device: Device,
    /// For about how long, after some steps that are not counted.
    pub seconds: f64,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// `lift-stage/1`.
    pub format: String,
    /// What was measured.
    pub stage: Stage,
    /// Where.
    pub device: String,
    /// Kind of the frozen weights.
    pub precision: Precision,
    /// Images at once.
    pub batch_size: usize,
    /// Side of the crops.
    pub resolution: i64,
    /// Batches that were measured.
    pub batches: usize,
    /// Of a batch, the median.
    pub milliseconds: f64,
    /// By that median.
    pub images_per_second: f64,
    /// Matrix work of an image in the tower, multiplications and additions counted as one each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gigaflop_per_image: Option<f64>,
    /// Matrix work done a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teraflop_per_second: Option<f64>,
    /// Pixels taken from the host a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gigabytes_per_second: Option<f64>,
    /// The most memory of the device that was taken; none on the CPU.
    pub peak_device_bytes: Option<u64>,
}

/// Measures.
///
/// # Errors
/// When the model cannot be used, memory does not suffice, or the device fails.
pub fn stage(settings: &StageSettings) -> Result<StageReport> {
    let device = settings.device;
    let config = config(settings)?;
    let mut model = model(&config, settings)?;
    let tower = model.visual.config();
    let resolution = tower.resolution / tower.patch_size * tower.patch_size;
    let gigaflop = gigaflop(&model.visual, settings.stage, model.tuner.first_block());
    let times = match settings.stage {
        Stage::Step => time_steps(settings, &config, &mut model)?,
        Stage::Evaluation => {
            let pixels = drawn(&model.visual, settings.batch_size);
            let forward = || {
                drop(tch::no_grad(|| model.forward(&pixels)));
                Ok(())
            };
            time(settings, forward)?
        }
        Stage::Transfer => time_transfer(settings, &model.visual)?,
    };
    let (batches, seconds) = (times.len() * in_a_row(device), median(times));
    let images_per_second = settings.batch_size as f64 / seconds;
    Ok(StageReport {
        format: "lift-stage/1".into(),
        stage: settings.stage,
        device: device_name(device),
        precision: config.precision(),
        batch_size: settings.batch_size,
        resolution,
        batches,
        milliseconds: seconds * 1e3,
        images_per_second,
        gigaflop_per_image: gigaflop,
        teraflop_per_second: gigaflop.map(|gigaflop| images_per_second * gigaflop / 1e3),
        gigabytes_per_second: (settings.stage == Stage::Transfer)
            .then(|| images_per_second * (3 * resolution.pow(2)) as f64 / 1e9),
        peak_device_bytes: libtorch::peak_memory(device)?,
    })
}

fn time_steps(
    settings: &StageSettings,
    config: &TrainConfig,
    model: &mut TunedModel,
) -> Result<Vec<f64>> {
    let images = settings.batch_size;
    let pixels = drawn(&model.visual, images);
    let place = (Kind::Int64, settings.device);
    let labels = Tensor::randint(settings.num_classes as i64, [images as i64], place);
    let counts = vec![1; settings.num_classes];
    let steps = config.step_settings(model, usize::MAX);
    let mut step = Step::new(model, steps, (&counts, BandEdges::default()));
    time(settings, || {
        step.run(model, &pixels, &labels, 0, 0).map(drop)
    })
}

fn time_transfer(settings: &StageSettings, tower: &VisionTower) -> Result<Vec<f64>> {
    let normalisation = tower.usual_normalisation();
    let transfer = Transfer::open(Target::of(tower, normalisation))?;
    let (images, side) = (settings.batch_size, tower.config().resolution as u32);
    let pool = transfer.clone();
    // Whatever bytes the buffers hold: a loader's writing is measured by the loader.
    let batch = move |_| {
        Ok(Batch {
            pixels: pool.pixels(Layout::square(images, side))?,
            mirrored: vec![0; images],
            labels: vec![0; images],
            resolution: side,
        })
    };
    let mut feed = transfer.feed_of(Batches::made_by(usize::MAX, batch))?;
    time(settings, || match feed.next() {
        Some(input) => input.map(drop),
        None => Err(lift_loader::Error::Stopped.into()),
    })
}

/// Seconds that `work` takes, by rows of some runs of it, after which the device has rested.
fn time(settings: &StageSettings, mut work: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    let (device, in_a_row) = (settings.device, in_a_row(settings.device));
    for _ in 0..WARM_UP {
        work()?;
    }
    libtorch::synchronize(device)?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed().as_secs_f64() < settings.seconds {
        let row = Instant::now();
        for _ in 0..in_a_row {
            work()?;
        }
        libtorch::synchronize(device)?;
        times.push(row.elapsed().as_secs_f64() / in_a_row as f64);
    }
    Ok(times)
}

/// A GPU gets some batches at once, as in training: it would rest while it is waited for.
fn in_a_row(device: Device) -> usize {
    match device {
        Device::Cpu => 1,
        _ => 10,
    }
}

/// Patches of some images on the tower's device.
fn drawn(tower: &VisionTower, images: usize) -> Tensor {
    let config = tower.config();
    let patches = (config.resolution / config.patch_size).pow(2);
    let shape = [images as i64, patches, 3 * config.patch_size.pow(2)];
    Tensor::randn(shape, (Kind::Float, tower.device())).to_kind(tower.kind())
}

/// The settings of a run, as far as steps look at them.
fn config(settings: &StageSettings) -> Result<TrainConfig> {
    let unused = || Some(PathBuf::from("unused"));
    let args = TrainArgs {
        shards: unused(),
        out: unused(),
        model: Some(settings.model.clone()),
        init: Some(Start::Head(HeadInit::Random)),
        tuner: settings.tuner.clone(),
        batch_size: Some(settings.batch_size),
        precision: settings.precision,
        ..TrainArgs::default()
    };
    Ok(args.resolve()?.on(settings.device))
}

fn model(config: &TrainConfig, settings: &StageSettings) -> Result<TunedModel> {
    let visual = load_tower(&hub::fetch(&config.model)?, settings.resolution)?;
    let tuner = Tuner::new(&config.tuner_options(), &visual, settings.num_classes)?;
    let rows = [settings.num_classes as i64, visual.config().width];
    let rows = Tensor::randn(rows, tch::kind::FLOAT_CPU);
    let classifier = Classifier::new(config.classifier, &rows, config.scale());
    let kind = config.precision().kind();
    Ok(TunedModel::new(
        visual,
        tuner,
        classifier,
        settings.device,
        kind,
    ))
}

/// Matrix products of an image, in 10^9; none where it is only brought to the device. Backward asks for as much again in each
/// block after the first tuned one: of frozen weights only the gradients of their inputs are wanted. Of the last block's output
/// only the class token is. What modules do is not counted.
fn gigaflop(tower: &VisionTower, stage: Stage, first_tuned: Option<usize>) -> Option<f64> {
    let config = tower.config();
    let (n, d) = (config.tokens() as f64, config.width as f64);
    let patches = 2.0 * (n - 1.0) * 3.0 * (config.patch_size as f64).powi(2) * d;
    // A block with so many tokens behind attention.
    let block = |m: f64| {
        let (keys, others) = (
            4.0 * n * d * d,
            2.0 * m * d * (2.0 * d + 2.0 * config.mlp_width as f64),
        );
        keys + others + 4.0 * m * n * d
    };
    let tuned = match (stage, first_tuned) {
        (Stage::Transfer, _) => return None,
        (Stage::Step, Some(first)) => config.layers - first - 1,
        _ => 0,
    };
    let whole = config.layers - 1 + tuned.saturating_sub(1);
    let last = 1 + usize::from(tuned > 0);
    Some((patches + whole as f64 * block(n) + last as f64 * block(1.0)) / 1e9)
}

/// The result as text.
fn table(report: &StageReport) -> String {
    let cell = |text: &str| text.to_owned();
    let number = |value: f64| format!("{value:.1}");
    let peak = report.peak_device_bytes;
    let peak = peak.map_or("-".into(), |bytes| MemorySize { bytes }.to_string());
    let (unit, rate) = match report.gigabytes_per_second {
        Some(rate) => ("GB/s", Some(rate)),
        None => ("TFLOP/s", report.teraflop_per_second),
    };
    let header = ["", "ms", "images/s", unit, "memory"].map(cell);
    let word = serde_json::to_value(report.stage).expect("a word");
    let row = [
        word.as_str().unwrap_or_default().to_owned(),
        number(report.milliseconds),
        number(report.images_per_second),
        rate.map_or("-".into(), |rate| format!("{rate:.3}")),
        peak,
    ];
    format!(
        "{}{} on {}, batches of {}, {} pixels a side; the median of {} batches\n",
        aligned(&[header.to_vec(), row.to_vec()], 1),
        report.precision,
        report.device,
        report.batch_size,
        report.resolution,
        report.batches
    )
}

/// Prints the result on standard output, as a table or as one JSON document.
///
/// # Errors
/// When it cannot be written.
pub fn print_stage(report: &StageReport, form: super::Form) -> Result<()> {
    match form {
        super::Form::Table => print_text(&table(report)),
        super::Form::Json => print_json(report),
    }
}
