//! The limit that no build can beat: the same decoding, resizing and encoding in a plain loop on one thread, of images
//! that are in memory already, without checksums and without shards.
//!
//! It writes nothing. Invariant: an image becomes what the build stores of it.

use std::hint::black_box;
use std::time::Instant;

use serde::Serialize;

use lift_files::process::cpu_seconds;

use super::effort::{Effort, Shares};
use super::prepare::Preparer;
use super::{BuildOptions, read_source};
use crate::error::{Error, Result};
use crate::source::{Content, Item};
use lift_image::decode::Budget;
use lift_page::progress::Reporting;

/// How much of the source the loop holds in memory.
const IMAGES: usize = 512;
const BYTES: usize = 256 << 20;

/// What the loop did; `lift-data bench --json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct BareReport {
    /// `lift-data-bench/1`.
    pub format: String,
    /// Different images, evenly spread over the source.
    pub sampled: usize,
    /// Images of all passes.
    pub images: u64,
    /// By the clock.
    pub images_per_second: f64,
    /// By the time that the process had on a core, in user and system mode.
    pub images_per_cpu_second: f64,
    /// Where the time went.
    pub shares: Option<Shares>,
}

/// Prepares images of the first of `options.splits` for about `seconds`, pass after pass; `options.out` is not used.
///
/// # Errors
/// When the source is bad, or one of the sampled images is.
pub fn bare(options: &BuildOptions, seconds: f64, reporting: Reporting) -> Result<BareReport> {
    let source = read_source(options, reporting)?;
    let list = source.splits.first().ok_or_else(|| Error::Setting {
        reason: "no split was chosen".to_owned(),
        hint: "name one with --split".to_owned(),
    })?;
    list.check_not_empty(&options.source, &source.class_names)?;
    let mut preparer = Preparer::new(list, options.preprocess, &Budget::of_machine(1));
    let sample = sample(&list.items, &mut preparer)?;
    // The first pass makes buffers and weights.
    let mut pass = || -> Result<()> {
        for item in &sample {
            black_box(preparer.prepare(item).map_err(|fault| bad(item, &fault))?);
        }
        Ok(())
    };
    pass()?;
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let mut images = 0;
    while start.elapsed().as_secs_f64() < seconds {
        pass()?;
        images += sample.len() as u64;
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    let effort = Effort {
        read: std::time::Duration::ZERO,
        ..preparer.effort
    };
    Ok(BareReport {
        format: "lift-data-bench/1".to_owned(),
        sampled: sample.len(),
        images,
        images_per_second: images as f64 / wall.max(1e-9),
        images_per_cpu_second: images as f64 / cpu.max(1e-6),
        shares: effort.shares(),
    })
}

/// Some of the images, in memory.
fn sample(items: &[Item], preparer: &mut Preparer<'_>) -> Result<Vec<Item>> {
    let count = items.len().min(IMAGES);
    let mut sample = Vec::with_capacity(count);
    let mut bytes = 0;
    for nth in 0..count {
        let item = &items[nth * items.len() / count];
        let content = preparer.load(item).map_err(|fault| bad(item, &fault))?;
        bytes += content.len();
        sample.push(Item {
            path: item.path.clone(),
            label: item.label,
            content: Content::Memory(content),
        });
        if bytes >= BYTES {
            break;
        }
    }
    Ok(sample)
}

fn bad(item: &Item, fault: &super::prepare::BadImage) -> Error {
    Error::BadImage {
        path: item.path.clone(),
        reason: fault.to_string(),
    }
}
