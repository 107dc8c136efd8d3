//! Batches prepared ahead of use by a pool of threads, handed over in order.
//!
//! A few batches are in work at a time, so that a thread which finds its batch's last images taken goes on with the next
//! batch. Pixels go from the mapped shard through the resizer into the batch, whose buffer is used again; what a thread
//! needs lives as long as the loader. Invariant: at most `depth` batches are prepared or wait; which bytes they hold
//! depends on no thread.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use lift_files::memory;
use lift_image::decode::{Budget, Decoder};
use rayon::prelude::*;

use super::{
    batch::{Batch, Batches},
    buffers::Buffers,
    epoch::{Draw, Draws},
    images::Images,
    layout::Layout,
    view::{Cutter, View},
};
use crate::error::{Error, Result};

/// The most batches that are prepared ahead unless more are asked for.
const MOST_AHEAD: usize = 8;

/// Turns rows of shards, or image files, into batches.
#[derive(Clone)]
pub struct Loader {
    images: Images,
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
struct Scratch {
    decoder: Decoder,
    cutter: Cutter,
    /// Of an image file.
    bytes: Vec<u8>,
}

/// One for each thread, with one budget for huge images.
fn scratch(threads: usize) -> Arc<[Mutex<Scratch>]> {
    let budget = Budget::of_machine(threads);
    let new = |_| {
        Mutex::new(Scratch {
            decoder: Decoder::sharing(&budget),
            cutter: Cutter::default(),
            bytes: Vec::new(),
        })
    };
    (0..threads).map(new).collect()
}

impl Loader {
    /// A loader with `threads` workers (0: one a core) for square crops of `resolution` pixels.
    ///
    /// # Errors
    /// When the threads cannot be started.
    pub fn new(
        images: impl Into<Images>,
        resolution: u32,
        batch_size: usize,
        threads: usize,
    ) -> Result<Self> {
        let images = images.into();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("loader-{i}"))
            .build();
        let pool = pool.map_err(|e| Error::Threads { threads, source: e })?;
        let threads = pool.current_num_threads();
        // Two, so that one is prepared while one waits; more where batches are small beside the machine.
        let depth = (4 * threads).div_ceil(batch_size.max(1));
        let depth = depth.clamp(2, MOST_AHEAD);
        // What is in memory is not read again, and telling the system takes 3 us a row.
        let reads_ahead = memory::total_bytes().is_some_and(|total| images.num_bytes() > total / 2);
        Ok(Self {
            images,
            pool: Arc::new(pool),
            scratch: scratch(threads),
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

    /// What is loaded.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The batches of these draws, in order; the last one may be smaller. Where several processes share a batch, it is
    /// their part of it.
    pub fn batches(&self, draws: Draws, view: View) -> Batches {
        self.batches_in(&self.buffers, draws, view)
    }

    /// As [`Loader::batches`], in buffers of another's.
    pub fn batches_in(&self, buffers: &Arc<Buffers>, draws: Draws, view: View) -> Batches {
        let lane = |first: usize| {
            // A batch that is ready waits in its thread's hands, so that `depth` is all there is.
            let (sender, receiver) = sync_channel(0);
            let (mut loader, draws) = (self.clone(), draws.clone());
            loader.buffers = Arc::clone(buffers);
            thread::spawn(move || loader.prepare(&draws, view, first, &sender));
            receiver
        };
        let batches = draws.len().div_ceil(self.batch_size);
        Batches::of((0..self.depth).map(lane).collect(), batches)
    }

    /// Sends every `depth`th batch from `first` on.
    fn prepare(&self, draws: &Draws, view: View, first: usize, to: &SyncSender<Result<Batch>>) {
        let batches = draws.len().div_ceil(self.batch_size);
        let mut of_batch = Vec::with_capacity(self.batch_size.min(draws.len()));
        for number in (first..batches).step_by(self.depth) {
            if self.reads_ahead {
                let next = draws.batch(number + self.depth, self.batch_size);
                next.for_each(|draw| self.images.will_need(draw.row));
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
        let crops = view.crops();
        let layout = Layout {
            images: draws.len(),
            crops: draws.len() * crops,
            side: self.resolution,
        };
        let bytes = crops * layout.crop_bytes();
        let mut pixels = self.buffers.take(layout)?;
        let mut mirrored = vec![0; layout.crops];
        let failure = self.pool.install(|| {
            let images = pixels.par_chunks_exact_mut(bytes);
            let images = images.zip(mirrored.par_chunks_exact_mut(crops));
            let failures = images.zip(draws).enumerate();
            let failures = failures.filter_map(|(place, ((out, mirrored), &draw))| {
                let failure = self.image(draw, view, out, mirrored).err()?;
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
            .map(|draw| self.images.label(draw.row))
            .collect();
        Ok(Batch {
            pixels,
            mirrored,
            labels,
            resolution: self.resolution,
        })
    }

    fn image(&self, draw: Draw, view: View, out: &mut [u8], mirrored: &mut [u8]) -> Result<()> {
        let Draw { row, repeat } = draw;
        let thread = rayon::current_thread_index().expect("a thread of the pool");
        let scratch = self.scratch[thread].lock();
        // After a panic its buffers hold some image's bytes, as they always do.
        let mut scratch = scratch.unwrap_or_else(PoisonError::into_inner);
        let Scratch {
            decoder,
            cutter,
            bytes,
        } = &mut *scratch;
        let how = (view, self.resolution, self.exact);
        let cut = match &self.images {
            Images::Shards(reader) => cutter.cut(
                reader.row(row),
                repeat,
                how,
                |wanted| Ok(reader.part(row, wanted, decoder)?),
                (out, mirrored),
            ),
            Images::Files(files) => {
                files.cut(row, how, (decoder, cutter, bytes), (out, mirrored));
                Ok(())
            }
        };
        decoder.release();
        cut
    }
}
