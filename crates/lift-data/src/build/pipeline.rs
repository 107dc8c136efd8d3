//! The parallel part of a build: threads prepare images, the calling thread writes them in order.
//!
//! It knows no source format and writes no manifest. Invariant: memory is bounded by the queue's budget
//! and one image a thread, and what is written depends on the order of the list alone.

use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::ThreadPoolBuilder;
use serde::Serialize;

use super::BuildOptions;
use super::prepare::{BadImage, Prepared, Preparer};
use super::queue::OrderedQueue;
use crate::error::{Error, Result};
use crate::manifest::ShardEntry;
use crate::progress::Progress;
use crate::shard::{NewRow, ShardWriter};
use crate::source::{Item, SplitList};

/// Prepared images that may wait for the writer.
const QUEUE_BYTES: usize = 64 << 20;

/// The name of the threads that prepare images.
pub const THREAD_NAME: &str = "prepare-image";

/// A bad image that was left out: a line of `quarantine.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// Its position in the list; no row has this id.
    pub id: u64,
    /// Its path, relative to the source.
    pub path: String,
    /// Its class.
    pub label: u32,
    /// What is wrong with it.
    pub reason: String,
}

/// What came of a list.
pub(crate) struct Outcome {
    pub(crate) shards: Vec<ShardEntry>,
    pub(crate) class_counts: Vec<u64>,
    pub(crate) quarantined: Vec<Quarantined>,
}

/// Prepares and writes every image of `list`.
pub(crate) fn run(
    options: &BuildOptions,
    num_classes: usize,
    list: &SplitList,
    writer: ShardWriter,
    progress: &Progress,
) -> Result<Outcome> {
    let threads = options.threads.get();
    let pool = ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|_| THREAD_NAME.to_owned())
        .build()
        .map_err(|err| Error::Setting {
            reason: format!("cannot start {threads} threads: {err}"),
            hint: "ask for fewer with --threads".to_owned(),
        })?;
    let queue = OrderedQueue::new(QUEUE_BYTES);
    let next = AtomicUsize::new(0);
    pool.in_place_scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|_| prepare_images(options, list, &next, &queue));
        }
        let outcome = write_images(options, num_classes, list, writer, &queue, progress);
        queue.close();
        outcome
    })
}

type Finished = std::result::Result<Prepared, BadImage>;

fn prepare_images(
    options: &BuildOptions,
    list: &SplitList,
    next: &AtomicUsize,
    queue: &OrderedQueue<Finished>,
) {
    let mut preparer = Preparer::new(&list.root, options.preprocess);
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = list.items.get(index) else {
            return;
        };
        let finished = preparer.prepare(item);
        let bytes = finished.as_ref().map_or(0, |prepared| prepared.bytes.len());
        if !queue.push(index, finished, bytes) {
            return;
        }
    }
}

fn write_images(
    options: &BuildOptions,
    num_classes: usize,
    list: &SplitList,
    mut writer: ShardWriter,
    queue: &OrderedQueue<Finished>,
    progress: &Progress,
) -> Result<Outcome> {
    let mut class_counts = vec![0; num_classes];
    let mut quarantined = Vec::new();
    for (id, item) in (0_u64..).zip(&list.items) {
        match queue.pop() {
            Ok(image) => {
                let row = NewRow {
                    id,
                    path: &item.path,
                    label: item.label,
                    width: image.width,
                    height: image.height,
                };
                writer.push(row, &image.bytes)?;
                class_counts[item.label as usize] += 1;
            }
            Err(bad) => {
                let reason = bad.to_string();
                if quarantined.len() as u64 >= options.max_bad {
                    return Err(too_many(options, list, item, reason));
                }
                let (path, label) = (item.path.clone(), item.label);
                quarantined.push(Quarantined {
                    id,
                    path,
                    label,
                    reason,
                });
            }
        }
        progress.advance(1);
    }
    Ok(Outcome {
        shards: writer.finish()?,
        class_counts,
        quarantined,
    })
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
