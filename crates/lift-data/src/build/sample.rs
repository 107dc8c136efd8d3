//! A look at some images before a build: how large they will be, and what becomes of them.
//!
//! Shards get a fixed number of images, so that each knows its images before the others are built; the
//! number comes from the mean size of the sample. Its hash tells apart builds whose settings agree and
//! whose images or decoders do not. Invariant: it depends on the list and the preprocessing alone.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::ThreadPool;
use rayon::prelude::*;
use twox_hash::XxHash3_64;

use super::ahead;
use super::effort::Effort;
use super::left::Left;
use super::prepare::{BadImage, Prepared, Preparer, Preprocess};
use crate::source::SplitList;
use lift_image::decode::Budget;
use lift_shards::manifest::Manifest;

/// Bytes of prepared images that are kept for the build, so that it need not prepare them again: a huge image takes
/// long to decode.
const BYTES_KEPT: usize = 64 << 20;

/// Images that are looked at, evenly spread over the list. The mean of 64 photos' JPEG sizes is within
/// a tenth of the list's, and preparing them takes less than a second.
const IMAGES: usize = 64;

/// Other columns, page headers and index of a row, about.
const ROW_BYTES: u64 = 130;

/// What the sample says.
pub(super) struct Sample {
    /// The hash over what is stored for the images.
    pub(super) xxh3: String,
    /// Mean size of what is stored; `None` when all of them are bad.
    mean_bytes: Option<u64>,
    /// Images that were looked at.
    pub(super) images: usize,
    /// Those of them that are bad: their positions in the list, and why.
    bad: Vec<(usize, String)>,
    /// What became of some of the images, by their position in the list; and the time that took.
    pub(super) ready: HashMap<usize, Result<Prepared, BadImage>>,
    pub(super) effort: Effort,
}

impl Sample {
    pub(super) fn take(
        pool: &ThreadPool,
        preprocess: Preprocess,
        list: &SplitList,
        budget: &Arc<Budget>,
    ) -> Self {
        let total = list.items.len();
        let images = total.min(IMAGES);
        let item = |nth: usize| &list.items[nth * total / images];
        ahead::fetch((0..images).map(item));
        let kept = AtomicUsize::new(0);
        let prepare = |preparer: &mut Preparer<'_>, nth: usize| {
            let position = nth * total / images;
            let outcome = preparer.prepare(item(nth));
            let stored = match &outcome {
                Ok(image) => Ok((image.bytes.len() as u64, XxHash3_64::oneshot(&image.bytes))),
                Err(fault) => Err((position, fault.to_string())),
            };
            let bytes = stored.as_ref().map_or(0, |(bytes, _)| *bytes as usize);
            let fits = kept.fetch_add(bytes, Ordering::Relaxed) + bytes <= BYTES_KEPT;
            let effort = std::mem::take(&mut preparer.effort);
            (stored, fits.then_some((position, outcome, effort)))
        };
        let (stored, ready): (Vec<_>, Vec<_>) = pool.install(|| {
            let start = || Preparer::new(list, preprocess, budget);
            let images = (0..images).into_par_iter();
            images.map_init(start, prepare).unzip()
        });
        let mut hash = XxHash3_64::new();
        for image in &stored {
            let (bytes, xxh3) = *image.as_ref().unwrap_or(&(0, 0));
            hash.write(&bytes.to_le_bytes());
            hash.write(&xxh3.to_le_bytes());
        }
        let (mut kept, mut effort) = (HashMap::new(), Effort::default());
        for (position, outcome, spent) in ready.into_iter().flatten() {
            kept.insert(position, outcome);
            effort += spent;
        }
        let good = stored.iter().flatten().count() as u64;
        let bytes: u64 = stored.iter().flatten().map(|(bytes, _)| bytes).sum();
        Self {
            xxh3: format!("{:016x}", hash.finish()),
            mean_bytes: (good > 0).then(|| bytes.div_ceil(good.max(1))),
            images,
            bad: stored.into_iter().filter_map(Result::err).collect(),
            ready: kept,
            effort,
        }
    }

    /// How many of the images that were looked at are bad.
    pub(super) fn num_bad(&self) -> usize {
        self.bad.len()
    }

    /// Fails where the bad images alone leave nothing of a class or of the split, which is then known before the first
    /// shard.
    pub(super) fn check(&self, plan: &Manifest, list: &SplitList) -> crate::error::Result<()> {
        let mut left = Left::of(plan);
        for (position, reason) in &self.bad {
            let item = &list.items[*position];
            if let Some(emptied) = left.take(item.label) {
                let path = list.root.join(&item.path).display().to_string();
                let hint = if reason.contains("No such file") {
                    "check that this is where the images are: a list's paths start at its folder, or at --root"
                } else {
                    "mend the file"
                };
                return Err(left.error(emptied, path, reason, hint));
            }
        }
        Ok(())
    }

    /// About what `images` of the list take in shards, with what Parquet adds to each.
    pub(super) fn expected_bytes(&self, images: u64) -> u64 {
        (self.mean_bytes.unwrap_or(0) + ROW_BYTES) * images
    }

    /// How many images of the list make a shard of about `bytes_per_shard`.
    pub(super) fn rows_per_shard(&self, bytes_per_shard: u64) -> u64 {
        // Without a good image any number will do: the build ends at the first bad one, or is empty.
        let mean = self.mean_bytes.unwrap_or(1 << 20).max(1);
        (bytes_per_shard / mean).max(1)
    }
}
