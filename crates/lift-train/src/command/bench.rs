//! `lift-train bench`: the loader alone, beside the limit that its machine has.
//!
//! It loads batches as training gets them and drops them. Invariant: a round counts only images whose work began and ended
//! in it.

use std::{hint::black_box, path::PathBuf, sync::Arc, time::Instant};

use lift_files::process::{cpu_seconds, peak_memory_bytes};
use lift_page::terminal::aligned;
use lift_shards::{Split, layout::split_dir, manifest::Encoding, shard::ShardReader};
use serde::Serialize;

use super::{print_json, print_text};
use crate::error::{Error, Result};
use lift_loader::{Augmentation, Bare, Draws, Loader, View};

/// How much of the rows the bare loop holds in memory.
const BARE_IMAGES: usize = 1024;
const BARE_BYTES: usize = 256 << 20;
const SEED: u64 = 0;

/// What is measured.
#[derive(Clone, Debug)]
pub struct BenchSettings {
    /// The folder that holds the split's folder.
    pub shards: PathBuf,
    /// Which split.
    pub split: Split,
    /// Side of the crops in pixels.
    pub resolution: u32,
    /// Images a batch.
    pub batch_size: usize,
    /// Which part of an image is taken.
    pub augment: Augmentation,
    /// Of a round.
    pub length: Length,
    /// Rounds of the loader, and as many of the bare loop.
    pub rounds: usize,
    /// 0: one a core.
    pub threads: usize,
    /// Batches ahead; `None`: the loader chooses.
    pub depth: Option<usize>,
}

/// How long a round lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// Passes over the images.
    Epochs(usize),
    /// About so long by the clock.
    Seconds(f64),
}

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An aligned table.
    Table,
    /// One JSON document.
    Json,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BenchReport {
    /// `lift-bench/1`.
    pub format: String,
    /// How the rows are stored.
    pub encoding: Encoding,
    /// Images of the split.
    pub rows: usize,
    /// Side of the crops in pixels.
    pub resolution: u32,
    /// Images a batch.
    pub batch_size: usize,
    /// Which part of an image was taken.
    pub augment: Augmentation,
    /// Threads that prepared batches.
    pub threads: usize,
    /// Batches prepared ahead.
    pub depth: usize,
    /// Rounds of each kind.
    pub rounds: usize,
    /// The loader.
    pub loader: Speed,
    /// The plain loop on one thread.
    pub bare: Speed,
    /// Images per CPU-second of the loader over those of the bare loop: the median of the rounds.
    pub ratio_to_bare: f64,
    /// The most memory of the process while it only loaded; `None` where the system does not say.
    pub peak_memory_bytes: Option<u64>,
}

/// Medians of some rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// Images of all rounds together.
    pub images: usize,
    /// By the clock.
    pub images_per_second: f64,
    /// By the time that the process had on cores, in user and system mode.
    pub images_per_cpu_second: f64,
}

/// Measures.
///
/// # Errors
/// When the shards cannot be opened, have no image, or a row is damaged.
pub fn bench(settings: &BenchSettings) -> Result<BenchReport> {
    let dir = split_dir(&settings.shards, settings.split)?;
    let reader = ShardReader::open(&dir)?;
    if reader.is_empty() {
        return Err(Error::Config(format!("{}: has no images", dir.display())));
    }
    let (rows, encoding) = (reader.len(), reader.manifest().encoding);
    let reader = Arc::new(reader);
    let (side, batch) = (settings.resolution, settings.batch_size);
    let mut loader = Loader::new(Arc::clone(&reader), side, batch, settings.threads)?;
    if let Some(depth) = settings.depth {
        loader.set_depth(depth);
    }
    let images = match settings.length {
        // The first pass fills the system's cache of the files and starts the threads.
        Length::Epochs(epochs) => {
            load(&loader, settings.augment, rows)?;
            rows * epochs
        }
        Length::Seconds(seconds) => warm_up(&loader, settings.augment, seconds)?,
    };
    // Later the bare loop's images are in memory too.
    let peak_memory_bytes = peak_memory_bytes();
    let mut bare = Bare::sample(&reader, BARE_IMAGES, BARE_BYTES)?;
    let (mut loaded, mut cut) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        cut.push(cut_for(&mut bare, settings)?);
        let start = Clock::start();
        load(&loader, settings.augment, images)?;
        loaded.push(start.stop(images));
    }
    let ratios = loaded
        .iter()
        .zip(&cut)
        .map(|(loader, bare)| loader.images_per_cpu_second() / bare.images_per_cpu_second());
    Ok(BenchReport {
        format: "lift-bench/1".into(),
        encoding,
        rows,
        resolution: side,
        batch_size: batch,
        augment: settings.augment,
        threads: loader.threads(),
        depth: loader.depth(),
        rounds: settings.rounds,
        loader: Speed::of(&loaded),
        bare: Speed::of(&cut),
        ratio_to_bare: median(ratios.collect()),
        peak_memory_bytes,
    })
}

/// Prints the result on standard output.
///
/// # Errors
/// When it cannot be written.
pub fn print_bench(report: &BenchReport, form: Form) -> Result<()> {
    match form {
        Form::Table => print_text(&table(report)),
        Form::Json => print_json(report),
    }
}

fn view(augment: Augmentation, epoch: usize) -> View {
    match augment {
        Augmentation::Mda => View::Random {
            smallest_area: 0.08,
            seed: SEED,
            epoch,
        },
        Augmentation::Classic => View::Classic { seed: SEED, epoch },
        Augmentation::Plain => View::Center,
    }
}

/// Loads `images` images, epoch after epoch.
fn load(loader: &Loader, augment: Augmentation, images: usize) -> Result<()> {
    let rows = loader.images().len();
    for (epoch, done) in (0..images).step_by(rows).enumerate() {
        let draws = Draws::shuffled(rows, SEED, epoch).take(images - done);
        for batch in loader.batches(draws, view(augment, epoch)) {
            black_box(&batch?.pixels);
        }
    }
    Ok(())
}

/// Loads for `seconds`, and returns how many images that is: whole batches.
fn warm_up(loader: &Loader, augment: Augmentation, seconds: f64) -> Result<usize> {
    let rows = loader.images().len();
    let (start, mut images) = (Instant::now(), 0);
    for epoch in 0.. {
        let draws = Draws::shuffled(rows, SEED, epoch);
        for batch in loader.batches(draws, view(augment, epoch)) {
            images += batch?.labels.len();
            if start.elapsed().as_secs_f64() >= seconds {
                return Ok(images);
            }
        }
    }
    unreachable!("epochs do not end")
}

/// Passes of the bare loop for as long as a round of the loader lasts.
fn cut_for(bare: &mut Bare, settings: &BenchSettings) -> Result<Round> {
    let start = Clock::start();
    let mut passes = 0;
    loop {
        black_box(bare.pass(view(settings.augment, passes), settings.resolution)?);
        passes += 1;
        let over = match settings.length {
            Length::Epochs(epochs) => passes == epochs,
            Length::Seconds(seconds) => start.wall.elapsed().as_secs_f64() >= seconds,
        };
        if over {
            return Ok(start.stop(passes * bare.images()));
        }
    }
}

/// When a round began.
struct Clock {
    wall: Instant,
    cpu: f64,
}

impl Clock {
    fn start() -> Self {
        Self {
            wall: Instant::now(),
            cpu: cpu_seconds(),
        }
    }

    fn stop(&self, images: usize) -> Round {
        Round {
            images,
            seconds: self.wall.elapsed().as_secs_f64(),
            cpu_seconds: cpu_seconds() - self.cpu,
        }
    }
}

struct Round {
    images: usize,
    seconds: f64,
    cpu_seconds: f64,
}

impl Round {
    fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds
    }

    /// The system may count a very short round as no time at all.
    fn images_per_cpu_second(&self) -> f64 {
        self.images as f64 / self.cpu_seconds.max(1e-6)
    }
}

impl Speed {
    fn of(rounds: &[Round]) -> Self {
        let over = |rate: fn(&Round) -> f64| median(rounds.iter().map(rate).collect());
        Self {
            images: rounds.iter().map(|round| round.images).sum(),
            images_per_second: over(Round::images_per_second),
            images_per_cpu_second: over(Round::images_per_cpu_second),
        }
    }
}

/// The middle value, or the mean of the middle two; there is at least one.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

fn table(report: &BenchReport) -> String {
    let line = |name: &str, speed: Speed, ratio: String| {
        let rates = [speed.images_per_second, speed.images_per_cpu_second];
        let [wall, cpu] = rates.map(|rate| format!("{rate:.0}"));
        vec![name.into(), speed.images.to_string(), wall, cpu, ratio]
    };
    let header = ["", "images", "images/s", "images/CPU-s", "of bare"];
    let of_bare = format!("{:.1} %", report.ratio_to_bare * 100.0);
    let rows = [
        header.map(str::to_owned).to_vec(),
        line("loader", report.loader, of_bare),
        line("bare", report.bare, "-".into()),
    ];
    let peak = match report.peak_memory_bytes {
        Some(bytes) => format!("{:.0} MB", bytes as f64 / 1e6),
        None => "not known".into(),
    };
    format!(
        "{}{} rows of {}, crops of {} pixels ({}), batches of {}, {} threads, {} ahead; medians of {} rounds\n\
         peak memory: {peak}\n",
        aligned(&rows, 1),
        report.rows,
        word(&report.encoding),
        report.resolution,
        word(&report.augment),
        report.batch_size,
        report.threads,
        report.depth,
        report.rounds,
    )
}

/// A setting as the command line and JSON spell it.
fn word(setting: &impl Serialize) -> String {
    match serde_json::to_value(setting) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("settings are words"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(images: usize, seconds: f64, cpu_seconds: f64) -> Round {
        Round {
            images,
            seconds,
            cpu_seconds,
        }
    }

    #[test]
    fn speeds_are_medians_of_rounds() {
        let rounds = [
            round(100, 1.0, 2.0),
            round(100, 0.5, 1.0),
            round(100, 4.0, 4.0),
        ];
        let speed = Speed::of(&rounds);
        assert_eq!(speed.images, 300);
        assert_eq!(speed.images_per_second, 100.0);
        assert_eq!(speed.images_per_cpu_second, 50.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 8.0]), 3.0);
    }

    #[test]
    fn the_table_aligns() {
        let speed = |images, wall, cpu| Speed {
            images,
            images_per_second: wall,
            images_per_cpu_second: cpu,
        };
        let report = BenchReport {
            format: "lift-bench/1".into(),
            encoding: Encoding::Rgb8,
            rows: 437,
            resolution: 224,
            batch_size: 64,
            augment: Augmentation::Mda,
            threads: 2,
            depth: 2,
            rounds: 5,
            loader: speed(20480, 11000.4, 5850.6),
            bare: speed(9000, 6500.0, 6500.0),
            ratio_to_bare: 0.9001,
            peak_memory_bytes: Some(123_400_000),
        };
        let expected = "        images  images/s  images/CPU-s  of bare\n\
                        loader   20480     11000          5851   90.0 %\n\
                        bare      9000      6500          6500        -\n\
                        437 rows of rgb8, crops of 224 pixels (mda), batches of 64, 2 threads, 2 ahead; medians of 5 rounds\n\
                        peak memory: 123 MB\n";
        assert_eq!(table(&report), expected);
    }
}
