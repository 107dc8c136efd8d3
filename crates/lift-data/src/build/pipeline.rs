//! The parallel part of a build: threads prepare images, the calling thread writes them in order.
//!
//! It knows no source format and writes no manifest. Invariant: memory is bounded by the queue's budget
//! and one image a thread, and what a shard holds depends on its plan and number alone, not on which
//! other shards are built in the same run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::BuildOptions;
use super::ahead::ReadAhead;
use super::effort::{Effort, timed};
use super::folder::BuildFolder;
use super::left::Left;
use super::plan::Plan;
use super::prepare::{BadImage, Prepared, Preparer};
use super::queue::OrderedQueue;
use super::record::Finished;
use crate::error::{Error, Result};
use crate::source::{Item, SplitList};
use lift_image::decode::Budget;
use lift_page::progress::Progress;
use lift_shards::order::{Order, Positions};
use lift_shards::quarantine::Quarantined;
use lift_shards::shard::{NewRow, ShardSchema, ShardWriter};

/// Prepared images that may wait for the writer.
const QUEUE_BYTES: usize = 64 << 20;

/// How a build goes on after a file was mended: the shard that it is in has no record.
pub(super) const GO_ON: &str =
    "mend the file and run the same command again, which keeps the finished shards";

/// The name of the threads that prepare images.
pub const THREAD_NAME: &str = "prepare-image";

/// What is to be done: some shards of a plan.
pub(super) struct Work<'a> {
    pub(super) options: &'a BuildOptions,
    pub(super) plan: &'a Plan,
    pub(super) list: &'a SplitList,
    pub(super) folder: &'a BuildFolder,
    /// The shards' numbers, ascending.
    pub(super) shards: Vec<u64>,
    /// Bad images in shards that were finished before.
    pub(super) bad_before: u64,
    /// What has become of some images before, by their position in the list.
    pub(super) ready: Mutex<HashMap<usize, std::result::Result<Prepared, BadImage>>>,
    /// For huge images.
    pub(super) budget: Arc<Budget>,
}

/// The threads that prepare images.
pub(super) fn thread_pool(options: &BuildOptions) -> Result<ThreadPool> {
    let threads = options.threads.get();
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|_| THREAD_NAME.to_owned())
        .build()
        .map_err(|err| Error::Setting {
            reason: format!("cannot start {threads} threads: {err}"),
            hint: "ask for fewer with --threads".to_owned(),
        })
}

impl Work<'_> {
    /// How many images there are in all.
    pub(super) fn images(&self) -> u64 {
        let rows = self.shards.iter().map(|&shard| self.plan.rows(shard));
        rows.map(|rows| rows.end - rows.start).sum()
    }

    /// Prepares and writes every image of the shards, and records each shard when it is finished.
    /// What it took is added to `effort`; bad images are taken from `left`.
    pub(super) fn run(
        &self,
        pool: &ThreadPool,
        progress: &Progress,
        effort: &mut Effort,
        left: &mut Left<'_>,
    ) -> Result<Vec<Finished>> {
        let manifest = self.plan.manifest();
        let positions = Positions::new(manifest.order, manifest.seed, self.list.items.len());
        let queue = OrderedQueue::new(QUEUE_BYTES);
        let next = AtomicUsize::new(0);
        let threads = Mutex::new(Effort::default());
        // In the list's order a store of rows reads ahead by itself.
        let ahead = ReadAhead::new(|job| match manifest.order {
            Order::List => None,
            Order::Shuffled => {
                let row = self.row(job as u64)?;
                Some(&self.list.items[positions.image(row as usize)])
            }
        });
        let reach = |job: usize| ahead.reach(job);
        let finished = pool.in_place_scope(|scope| {
            for _ in 0..pool.current_num_threads() {
                scope.spawn(|_| {
                    let spent = self.prepare_images(&positions, &next, &queue, &reach);
                    *threads.lock().expect("no holder of the lock panics") += spent;
                });
            }
            let spent = &mut effort.write;
            let finished = self.write_shards(&positions, &queue, progress, spent, left);
            queue.close();
            finished
        });
        *effort += threads.into_inner().expect("no holder of the lock panics");
        finished
    }

    fn prepare_images(
        &self,
        positions: &Positions,
        next: &AtomicUsize,
        queue: &OrderedQueue<Outcome>,
        reach: &(dyn Fn(usize) + Sync),
    ) -> Effort {
        let mut preparer = Preparer::new(self.list, self.options.preprocess, &self.budget);
        loop {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let Some(row) = self.row(job as u64) else {
                return preparer.effort;
            };
            let position = positions.image(row as usize);
            let item = &self.list.items[position];
            let ready = self
                .ready
                .lock()
                .expect("no holder of the lock panics")
                .remove(&position);
            timed(&mut preparer.effort.read, || reach(job));
            let outcome = ready
                .unwrap_or_else(|| preparer.prepare(item))
                .map(|image| {
                    let checksum = new_row(position, item, &image).checksum(&image.bytes);
                    (image, checksum)
                });
            let bytes = outcome.as_ref().map_or(0, |(image, _)| image.bytes.len());
            if !queue.push(job, outcome, bytes) {
                return preparer.effort;
            }
        }
    }

    /// The row of the plan that is `job`th to be done: only the plan's last shard, which comes last
    /// here as well, has fewer rows than the others.
    fn row(&self, job: u64) -> Option<u64> {
        let rows_per_shard = self.plan.manifest().rows_per_shard.max(1);
        let shard = *self.shards.get((job / rows_per_shard) as usize)?;
        let rows = self.plan.rows(shard);
        let row = rows.start + job % rows_per_shard;
        rows.contains(&row).then_some(row)
    }

    fn write_shards(
        &self,
        positions: &Positions,
        queue: &OrderedQueue<Outcome>,
        progress: &Progress,
        spent: &mut Duration,
        left: &mut Left<'_>,
    ) -> Result<Vec<Finished>> {
        let manifest = self.plan.manifest();
        let schema = ShardSchema::new(manifest.encoding, &manifest.class_names, &manifest.columns);
        let mut bad = self.bad_before;
        let mut finished = Vec::new();
        for &shard in &self.shards {
            let task = ShardTask {
                shard,
                schema: &schema,
                bad_before: bad,
                left,
            };
            let shard = self.write_shard(task, positions, queue, progress, spent)?;
            self.folder.record(&shard)?;
            bad += shard.quarantined.len() as u64;
            finished.push(shard);
        }
        Ok(finished)
    }

    fn write_shard(
        &self,
        task: ShardTask<'_, '_>,
        positions: &Positions,
        queue: &OrderedQueue<Outcome>,
        progress: &Progress,
        spent: &mut Duration,
    ) -> Result<Finished> {
        let ShardTask {
            shard,
            schema,
            bad_before,
            left,
        } = task;
        let rows = self.plan.rows(shard);
        let mut writer: Option<ShardWriter> = None;
        let (mut quarantined, mut damaged) = (Vec::new(), Vec::new());
        for row in rows.clone() {
            let position = positions.image(row as usize);
            let item = &self.list.items[position];
            let marked = |reason| Quarantined {
                id: position as u64,
                path: item.path.clone(),
                label: item.label,
                reason,
            };
            match queue.pop() {
                Ok((image, checksum)) => {
                    let writer = match &mut writer {
                        Some(writer) => writer,
                        // Not before there is an image for it: a shard file has at least one.
                        None => {
                            let (path, temporary) = self.folder.shard_paths(self.plan, shard);
                            let kept = self.plan.kept();
                            writer.insert(ShardWriter::create(path, temporary, schema, kept)?)
                        }
                    };
                    let row = new_row(position, item, &image);
                    timed(spent, || writer.push_hashed(row, image.bytes, checksum))?;
                    damaged.extend(image.damage.map(marked));
                }
                Err(fault) => {
                    let reason = fault.to_string();
                    if let Some(emptied) = left.take(item.label) {
                        let path = self.list.root.join(&item.path).display().to_string();
                        return Err(left.error(emptied, path, &reason, GO_ON));
                    }
                    if bad_before + quarantined.len() as u64 >= self.options.max_bad {
                        return Err(too_many(self.options, self.list, item, reason));
                    }
                    quarantined.push(marked(reason));
                }
            }
            progress.advance(1);
        }
        let entry = timed(spent, || writer.map(ShardWriter::finish).transpose())?;
        Ok(Finished {
            plan: self.plan.hash(),
            shard,
            first: rows.start,
            end: rows.end,
            max_bad: self.options.max_bad,
            entry,
            quarantined,
            damaged,
        })
    }
}

/// One shard to be written.
struct ShardTask<'a, 'b> {
    shard: u64,
    schema: &'a ShardSchema,
    /// Bad images in the shards before it.
    bad_before: u64,
    left: &'a mut Left<'b>,
}

/// An image and its row's checksum, which the thread that prepared it works out.
type Outcome = std::result::Result<(Prepared, u64), BadImage>;

fn new_row<'a>(position: usize, item: &'a Item, image: &Prepared) -> NewRow<'a> {
    NewRow {
        id: position as u64,
        path: &item.path,
        label: item.label,
        width: image.width,
        height: image.height,
    }
}

fn too_many(options: &BuildOptions, list: &SplitList, item: &Item, reason: String) -> Error {
    let path = list.root.join(&item.path).display().to_string();
    match options.max_bad {
        0 => Error::BadImage { path, reason },
        allowed => Error::TooManyBad {
            path,
            reason,
            count: allowed + 1,
            allowed,
        },
    }
}
