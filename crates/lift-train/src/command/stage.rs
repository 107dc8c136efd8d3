//! `lift-train bench --stage`: a step of training, or an evaluation's forward pass, on images that are on the device already.
//!
//! What they compute takes as long with any pixels and labels, so both are drawn. Invariant: a figure is a median over runs
//! that each end with the device at rest.

use std::{path::PathBuf, time::Instant};

use lift_clip::{Precision, VisionTower, device_name, hub, libtorch};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::{bench::median, load_tower, write_stdout};
use crate::{
    classifier::Classifier,
    config::{TrainArgs, TrainConfig},
    error::Result,
    head_init::HeadInit,
    memory::MemorySize,
    model::TunedModel,
    report::aligned,
    step::Step,
    tuner::{Tuner, Tuners},
};

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
    pub gigaflop_per_image: f64,
    /// Matrix work done a second.
    pub teraflop_per_second: f64,
    /// The most memory of the device that was taken; none on the CPU.
    pub peak_device_bytes: Option<u64>,
}

/// Measures.
///
/// # Errors
/// When the model cannot be used, or memory does not suffice.
pub fn stage(settings: &StageSettings) -> Result<StageReport> {
    let (device, images) = (settings.device, settings.batch_size);
    let config = config(settings)?;
    let mut model = model(&config, settings)?;
    let kind = model.visual.kind();
    let tower = model.visual.config();
    let (side, patch) = (tower.resolution / tower.patch_size, tower.patch_size);
    let shape = [images as i64, side * side, 3 * patch * patch];
    let pixels = Tensor::randn(shape, (Kind::Float, device)).to_kind(kind);
    let classes = settings.num_classes as i64;
    let labels = Tensor::randint(classes, [images as i64], (Kind::Int64, device));
    let counts = vec![1; settings.num_classes];
    let mut step = Step::new(&model, &config, &counts, usize::MAX);
    let gigaflop = gigaflop(&model.visual, settings.stage, model.tuner.first_block());
    let mut work = || -> Result<()> {
        match settings.stage {
            Stage::Step => drop(step.run(&mut model, &pixels, &labels, 0, 0)?),
            Stage::Evaluation => drop(tch::no_grad(|| model.forward(&pixels))),
        }
        Ok(())
    };
    for _ in 0..WARM_UP {
        work()?;
    }
    libtorch::synchronize(device)?;
    // A GPU gets some batches at once, as in training: it would rest while it is waited for.
    let in_a_row = if device == Device::Cpu { 1 } else { 10 };
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || start.elapsed().as_secs_f64() < settings.seconds {
        let row = Instant::now();
        for _ in 0..in_a_row {
            work()?;
        }
        libtorch::synchronize(device)?;
        times.push(row.elapsed().as_secs_f64() / in_a_row as f64);
    }
    let batches = times.len() * in_a_row;
    let seconds = median(times);
    let images_per_second = images as f64 / seconds;
    Ok(StageReport {
        format: "lift-stage/1".into(),
        stage: settings.stage,
        device: device_name(device),
        precision: config.precision(),
        batch_size: images,
        resolution: side * patch,
        batches,
        milliseconds: seconds * 1e3,
        images_per_second,
        gigaflop_per_image: gigaflop,
        teraflop_per_second: images_per_second * gigaflop / 1e3,
        peak_device_bytes: libtorch::peak_memory(device)?.map(|peak| peak.reserved),
    })
}

/// The settings of a run, as far as steps look at them.
fn config(settings: &StageSettings) -> Result<TrainConfig> {
    let unused = || Some(PathBuf::from("unused"));
    let args = TrainArgs {
        shards: unused(),
        out: unused(),
        model: Some(settings.model.clone()),
        init: Some(HeadInit::Random),
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
    let classifier = Classifier::new(config.classifier, &rows, config.scale);
    let kind = config.precision().kind();
    Ok(TunedModel::new(
        visual,
        tuner,
        classifier,
        settings.device,
        kind,
    ))
}

/// Matrix products of an image, in 10^9. Backward asks for as much again in each block from the first tuned one on: of
/// frozen weights only the gradients of their inputs are wanted.
fn gigaflop(tower: &VisionTower, stage: Stage, first_tuned: Option<usize>) -> f64 {
    let config = tower.config();
    let (n, d) = (config.tokens() as f64, config.width as f64);
    let patches = 2.0 * (n - 1.0) * 3.0 * (config.patch_size as f64).powi(2) * d;
    let linears = 2.0 * n * d * (4.0 * d + 2.0 * config.mlp_width as f64);
    let attention = 4.0 * n * n * d;
    let tuned = match (stage, first_tuned) {
        (Stage::Step, Some(first)) => config.layers - first,
        _ => 0,
    };
    let blocks = (config.layers + tuned) as f64;
    (patches + blocks * (linears + attention)) / 1e9
}

/// The result as text.
fn table(report: &StageReport) -> String {
    let cell = |text: &str| text.to_owned();
    let number = |value: f64| format!("{value:.1}");
    let peak = report.peak_device_bytes;
    let peak = peak.map_or("-".into(), |bytes| MemorySize { bytes }.to_string());
    let header = ["", "ms", "images/s", "TFLOP/s", "memory"].map(cell);
    let word = serde_json::to_value(report.stage).expect("a word");
    let row = [
        word.as_str().unwrap_or_default().to_owned(),
        number(report.milliseconds),
        number(report.images_per_second),
        format!("{:.3}", report.teraflop_per_second),
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
    let text = match form {
        super::Form::Table => table(report),
        super::Form::Json => serde_json::to_string_pretty(report).expect("plain data") + "\n",
    };
    write_stdout(text.as_bytes())
}
