//! Batches prepared ahead of use by a pool of threads, handed over in order.
//!
//! A few batches are in work at a time, so that a thread which finds its batch's last images taken goes on with the next
//! batch. Pixels go from the mapped shard through the resizer into the batch, whose buffer is used again; what a thread
//! needs lives as long as the loader. Invariant: at most `depth` batches are prepared or wait; which bytes they hold
//! depends on no thread.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use lift_clip::Normalisation;
use lift_data::{decode::Decoder, shard::ShardReader};
use rayon::prelude::*;
use tch::{Device, Tensor};

use super::{
    buffers::{Buffers, Pixels},
    epoch::{Draw, Draws},
    view::{Cutter, View},
};
use crate::{
    error::{Error, Result},
    memory,
};

/// The most batches that are prepared ahead unless more are asked for.
const MOST_AHEAD: usize = 8;

/// Pixels and labels of some images.
#[derive(Debug)]
pub struct Batch {
    /// (images, crops, resolution, resolution, 3), row-major; dropped, they make room for a later batch.
    pub pixels: Pixels,
    /// One label an image.
    pub labels: Vec<i64>,
    /// Side of a crop in pixels.
    pub resolution: u32,
}

impl Batch {
    /// The pixels of all crops as normalised images (images x crops, 3, r, r) on `device`.
    pub fn images(&self, normalisation: &Normalisation, device: Device) -> Tensor {
        let resolution = self.resolution as i64;
        let pixels = Tensor::from_slice(&self.pixels).view([-1, resolution, resolution, 3]);
        normalisation.apply(&pixels, device)
    }
}

/// Turns rows of shards into batches.
#[derive(Clone)]
pub struct Loader {
    reader: Arc<ShardReader>,
    pool: Arc<rayon::ThreadPool>,
    /// One for each thread of the pool, locked by that thread alone.
    scratch: Arc<[Mutex<Scratch>]>,
    buffers: Arc<Buffers>,
    resolution: u32,
    /// Of all processes that share it.
    batch_size: usize,
    depth: usize,
    exact: bool,
    reads_ahead: bool,
}

/// What a thread keeps from image to image.
#[derive(Default)]
struct Scratch {
    decoder: Decoder,
    cutter: Cutter,
}

impl Loader {
    /// A loader with `threads` workers (0: one a core) for square crops of `resolution` pixels.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn new(
        reader: Arc<ShardReader>,
        resolution: u32,
        batch_size: usize,
        threads: usize,
    ) -> Result<Self> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("loader-{i}"))
            .build();
        let pool =
            pool.map_err(|e| Error::Config(format!("cannot start {threads} loader threads: {e}")))?;
        let threads = pool.current_num_threads();
        // Two, so that one is prepared while one waits; more where batches are small beside the machine.
        let depth = (4 * threads).div_ceil(batch_size.max(1));
        let depth = depth.clamp(2, MOST_AHEAD);
        // What is in memory is not read again, and telling the system takes 3 us a row.
        let reads_ahead = memory::total_bytes().is_some_and(|total| reader.num_bytes() > total / 2);
        Ok(Self {
            reader,
            pool: Arc::new(pool),
            scratch: (0..threads).map(|_| Mutex::default()).collect(),
            buffers: Buffers::new(depth + 1),
            resolution,
            batch_size: batch_size.max(1),
            depth,
            exact: false,
            reads_ahead,
        })
    }

    /// Lets `batches` be prepared ahead of the one in use, at least 1; the default follows threads and batch size.
    pub fn set_depth(&mut self, batches: usize) {
        self.depth = batches.max(1);
        self.buffers = Buffers::new(self.depth + 1);
    }

    /// Lets the system read rows ahead of their use; by default where the shards are larger than half of the memory.
    pub fn set_reads_ahead(&mut self, reads_ahead: bool) {
        self.reads_ahead = reads_ahead;
    }

    /// Lets large JPEGs be decoded at their full size before they are shrunk.
    pub fn set_exact(&mut self, exact: bool) {
        self.exact = exact;
    }

    /// How many batches are prepared ahead of the one in use.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// How many threads prepare batches.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// The shards that are read.
    pub fn reader(&self) -> &ShardReader {
        &self.reader
    }

    /// The batches of these draws, in order; the last one may be smaller. Where several processes share a batch, it is
    /// their part of it.
    pub fn batches(&self, draws: Draws, view: View) -> Batches {
        let lane = |first: usize| {
            // A batch that is ready waits in its thread's hands, so that `depth` is all there is.
            let (sender, receiver) = sync_channel(0);
            let (loader, draws) = (self.clone(), draws.clone());
            thread::spawn(move || loader.prepare(&draws, view, first, &sender));
            receiver
        };
        Batches {
            lanes: (0..self.depth).map(lane).collect(),
            next: 0,
            left: draws.len().div_ceil(self.batch_size),
        }
    }

    /// Sends every `depth`th batch from `first` on.
    fn prepare(&self, draws: &Draws, view: View, first: usize, to: &SyncSender<Result<Batch>>) {
        let batches = draws.len().div_ceil(self.batch_size);
        let mut of_batch = Vec::with_capacity(self.batch_size.min(draws.len()));
        for number in (first..batches).step_by(self.depth) {
            if self.reads_ahead {
                let next = draws.batch(number + self.depth, self.batch_size);
                next.for_each(|draw| self.reader.will_need(draw.row));
            }
            of_batch.clear();
            of_batch.extend(draws.batch(number, self.batch_size));
            let batch = self.batch(&of_batch, view);
            let failed = batch.is_err();
            // A closed channel means that nobody wants more.
            if to.send(batch).is_err() || failed {
                return;
            }
        }
    }

    fn batch(&self, draws: &[Draw], view: View) -> Result<Batch> {
        let bytes = view.crops() * (self.resolution as usize).pow(2) * 3;
        let mut pixels = self.buffers.take(draws.len() * bytes);
        let failure = self.pool.install(|| {
            let images = pixels.par_chunks_exact_mut(bytes).zip(draws).enumerate();
            let failures = images.filter_map(|(place, (out, &draw))| {
                let failure = self.image(draw, view, out).err()?;
                Some((place, failure))
            });
            // The first of the batch, whichever thread was faster.
            failures.min_by_key(|(place, _)| *place)
        });
        if let Some((_, failure)) = failure {
            return Err(failure);
        }
        let labels = draws
            .iter()
            .map(|draw| i64::from(self.reader.row(draw.row).label))
            .collect();
        Ok(Batch {
            pixels,
            labels,
            resolution: self.resolution,
        })
    }

    fn image(&self, draw: Draw, view: View, out: &mut [u8]) -> Result<()> {
        let Draw { row, repeat } = draw;
        let thread = rayon::current_thread_index().expect("a thread of the pool");
        let scratch = self.scratch[thread].lock();
        // After a panic its buffers hold some image's bytes, as they always do.
        let mut scratch = scratch.unwrap_or_else(PoisonError::into_inner);
        let Scratch { decoder, cutter } = &mut *scratch;
        let how = (view, self.resolution, self.exact);
        cutter.cut(
            self.reader.row(row),
            repeat,
            how,
            |wanted| Ok(self.reader.part(row, wanted, decoder)?),
            out,
        )
    }
}

/// Batches in order, from the threads that prepare them in turn. An error is the last of them.
pub struct Batches {
    lanes: Vec<Receiver<Result<Batch>>>,
    next: usize,
    left: usize,
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        // A thread that panicked sends nothing more.
        let batch = self.lanes[self.next].recv().ok();
        if !matches!(batch, Some(Ok(_))) {
            self.left = 0;
        }
        self.next = (self.next + 1) % self.lanes.len();
        batch
    }
}
