//! What a build would do, without doing it: images, shards, bytes.
//!
//! It reads the source's lists and prepares a small sample of the images. Invariant: nothing is written.

use std::path::PathBuf;

use serde::Serialize;

use super::plan::Plan;
use super::sample::Sample;
use super::{BuildOptions, check_output, pipeline, read_source};
use crate::error::Result;
use lift_image::decode::Budget;
use lift_page::progress::Reporting;
use lift_shards::split::Split;

/// What the build of one split would do; `--dry-run --json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Which split.
    pub split: Split,
    /// Its shard folder.
    pub dir: PathBuf,
    /// Images in its list.
    pub images: u64,
    /// Classes that it can have.
    pub classes: usize,
    /// Shard files.
    pub shards: u64,
    /// About how many bytes they will have, from the sample's mean.
    pub expected_bytes: u64,
    /// Images that were looked at.
    pub sampled: usize,
    /// How many of them cannot be read or decoded.
    pub bad_in_sample: usize,
}

/// Says what [`super::build`] would do with the same options.
///
/// # Errors
/// As a build's before its first shard: a folder that holds something else, a bad source.
pub fn forecast(options: &BuildOptions, reporting: Reporting) -> Result<Vec<Forecast>> {
    check_output(options)?;
    let source = read_source(options, reporting)?;
    let chosen = options.choice.chosen()?;
    let pool = pipeline::thread_pool(options)?;
    let of_split = |list| -> Result<Forecast> {
        let list: &crate::source::SplitList = list;
        list.check_not_empty(&options.source, &source.class_names)?;
        let budget = Budget::of_machine(pool.current_num_threads());
        let sample = Sample::take(&pool, options.preprocess, list, &budget);
        let images = list.items.len() as u64;
        let plan = Plan::new(options, &source.class_names, list, &sample, chosen.as_ref());
        sample.check(plan.manifest(), list)?;
        Ok(Forecast {
            split: list.split,
            dir: options.out.join(list.split.as_str()),
            images,
            classes: source.class_names.len(),
            shards: plan.num_shards(),
            expected_bytes: sample.expected_bytes(images),
            sampled: sample.images,
            bad_in_sample: sample.num_bad(),
        })
    };
    source.splits.iter().map(of_split).collect()
}
