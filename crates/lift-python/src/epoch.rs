//! Batches of an epoch, prepared ahead by our threads.
//!
//! Which images, in which order, cut how: all is said when an epoch begins, so that nothing here has a state but the place in it.
//! Numbers are in range: `lift/loader.py`, which calls this, has looked at them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use lift_loader::{AreaSchedule, Batch, Draws, Sampler, View};
use lift_shards::ShardReader;
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    block::{Block, Memory},
    error::lift_error,
    reader::Reader,
};

/// How long Python's signals may wait.
const PATIENCE: Duration = Duration::from_millis(100);

/// Threads that prepare batches of one split.
#[pyclass(frozen, module = "lift._native")]
pub(crate) struct Loader {
    loader: lift_loader::Loader,
    shards: Arc<ShardReader>,
    batch_size: usize,
}

/// What an epoch is.
#[derive(FromPyObject)]
struct Epoch {
    view: String,
    expand: u32,
    area_schedule: String,
    sampler: String,
    shuffle: bool,
    shuffle_window: Option<usize>,
    seed: u64,
    epoch: usize,
    epochs: usize,
    /// Images of all processes together that are over.
    skip: usize,
    drop_last: bool,
    rank: usize,
    world_size: usize,
}

#[pymethods]
impl Loader {
    #[new]
    #[pyo3(signature = (reader, resolution, batch_size, threads, prefetch=None, exact=false))]
    fn new(
        reader: &Reader,
        resolution: u32,
        batch_size: usize,
        threads: usize,
        prefetch: Option<usize>,
        exact: bool,
    ) -> PyResult<Self> {
        let shards = Arc::clone(&reader.shards);
        let loader = lift_loader::Loader::new(Arc::clone(&shards), resolution, batch_size, threads);
        let mut loader = loader.map_err(lift_error)?;
        if let Some(prefetch) = prefetch {
            loader.set_depth(prefetch);
        }
        loader.set_exact(exact);
        Ok(Self {
            loader,
            shards,
            batch_size,
        })
    }

    /// The batches of an epoch from where it is.
    fn batches(&self, py: Python<'_>, epoch: Epoch) -> PyResult<Batches> {
        let (view, draws) = (self.view(&epoch)?, self.draws(&epoch)?);
        let batches = py.detach(|| self.loader.batches(draws, view));
        Ok(Batches {
            batches: Mutex::new(batches),
            crops: view.crops(),
        })
    }
}

impl Loader {
    fn view(&self, of: &Epoch) -> PyResult<View> {
        let (seed, epoch, expand) = (of.seed, of.epoch, of.expand);
        Ok(match of.view.as_str() {
            "mda" => View::Random {
                smallest_area: word(&AreaSchedule::WORDS, "area_schedule", &of.area_schedule)?
                    .smallest_area(epoch, of.epochs),
                seed,
                epoch,
            },
            "classic" => View::Classic { seed, epoch },
            "center" => View::Center,
            "fitted" => View::Fitted,
            "five-crop" => View::FiveCrop { expand },
            "ten-crop" => View::TenCrop { expand },
            other => {
                return Err(PyValueError::new_err(format!(
                    "view {other:?} is none of mda, classic, center, fitted, five-crop, ten-crop"
                )));
            }
        })
    }

    fn draws(&self, of: &Epoch) -> PyResult<Draws> {
        let rows = self.shards.len();
        let sampler = word(&Sampler::WORDS, "sampler", &of.sampler)?;
        let draws = match (of.shuffle, of.shuffle_window) {
            (false, _) | (true, Some(_)) if sampler != Sampler::Instance => {
                let text = format!("sampler {:?} draws by itself", of.sampler);
                return Err(PyValueError::new_err(text));
            }
            (false, _) => Draws::in_order(rows),
            (true, Some(window)) => Draws::windowed(rows, window, of.seed, of.epoch),
            (true, None) => {
                let labels: Vec<u32> = self.shards.rows().iter().map(|row| row.label).collect();
                sampler.draws(&labels, of.seed, of.epoch, of.epochs)
            }
        };
        let draws = match of.drop_last {
            true => draws.take(rows / self.batch_size * self.batch_size),
            false => draws,
        };
        Ok(draws.skip(of.skip).of_rank(of.rank, of.world_size))
    }
}

/// What a word stands for.
fn word<T: Copy>(words: &[(T, &str, &str)], what: &str, typed: &str) -> PyResult<T> {
    let found = words.iter().find(|(_, word, _)| *word == typed);
    found.map(|(value, ..)| *value).ok_or_else(|| {
        let all: Vec<&str> = words.iter().map(|(_, word, _)| *word).collect();
        PyValueError::new_err(format!("{what} {typed:?} is none of {}", all.join(", ")))
    })
}

/// The batches of an epoch, in order.
#[pyclass(frozen, module = "lift._native")]
pub(crate) struct Batches {
    batches: Mutex<lift_loader::Batches>,
    crops: usize,
}

#[pymethods]
impl Batches {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    /// Pixels (images, crops, r, r, 3), or (images, r, r, 3) where an image gives one crop, and labels (images).
    fn __next__(&self, py: Python<'_>) -> PyResult<Option<(Block, Block)>> {
        loop {
            let found = py.detach(|| {
                let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
                batches.poll_next(PATIENCE).map(|next| {
                    let turned = |mut batch: Batch| {
                        turn(&mut batch);
                        batch
                    };
                    next.map(|batch| batch.map(turned))
                })
            });
            py.check_signals()?;
            match found {
                Poll::Pending => {}
                Poll::Ready(None) => return Ok(None),
                Poll::Ready(Some(batch)) => {
                    return batch
                        .map(|batch| Some(self.blocks(batch)))
                        .map_err(lift_error);
                }
            }
        }
    }
}

impl Batches {
    fn blocks(&self, batch: Batch) -> (Block, Block) {
        let (images, side) = (batch.labels.len() as i64, i64::from(batch.resolution));
        let shape = match self.crops {
            1 => vec![images, side, side, 3],
            crops => vec![images, crops as i64, side, side, 3],
        };
        (
            Block::new(Memory::Pixels(batch.pixels), shape),
            Block::new(Memory::Numbers(batch.labels), vec![images]),
        )
    }
}

/// Turns the crops that are meant mirrored; who trains with our own programs leaves that to the device.
fn turn(batch: &mut Batch) {
    let row = batch.resolution as usize * 3;
    let crops = batch.pixels.chunks_exact_mut((row * row / 3).max(1));
    for (crop, _) in crops.zip(&batch.mirrored).filter(|(_, flag)| **flag != 0) {
        for row in crop.chunks_exact_mut(row) {
            let (mut left, mut right) = (0, row.len() - 3);
            while left < right {
                for channel in 0..3 {
                    row.swap(left + channel, right + channel);
                }
                (left, right) = (left + 3, right - 3);
            }
        }
    }
}
