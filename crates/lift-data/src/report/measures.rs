//! Every image's values as one frame: for `measures.parquet`, for questions in SQL, and by groups.
//!
//! Invariant: a row an image that could be measured, in the order of splits and rows; no pixel is held.

use std::collections::BTreeMap;

use polars::prelude::{Column, DataFrame};
use serde::Serialize;

use super::quality::{Flag, SplitQuality};
use crate::choice::stacked;
use crate::error::{Error, Result};
use crate::query::{list_table, shard_table};
use crate::source::{Source, renamed};
use crate::sql;
use crate::stats::Stats;
use lift_shards::shard::ShardReader;
use lift_shards::split::BandEdges;

/// The images of one group in one split.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupRow {
    /// The column's value; `None` where it has none.
    pub value: Option<String>,
    /// The split.
    pub split: String,
    /// Its images.
    pub images: u64,
    /// Classes that it has images of.
    pub classes: usize,
    /// Images of its largest class.
    pub largest: u64,
    /// Images of the smallest of its classes.
    pub smallest: u64,
    /// Largest over smallest.
    pub imbalance_ratio: Option<f64>,
    /// Gini coefficient of the counts of its classes.
    pub gini: Option<f64>,
    /// Mean luma, 0 to 255; `None` without pixels, as what follows.
    pub mean_luma: Option<f64>,
    /// Median of the Laplacian's variance.
    pub median_sharpness: Option<f64>,
    /// Images with each flag.
    pub flags: BTreeMap<&'static str, u64>,
}

/// The tail and the quality of a column's values.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Groups {
    /// The column.
    pub column: String,
    /// By split, the largest groups first.
    pub rows: Vec<GroupRow>,
}

/// The frame of shards: the columns of each shard, what was measured, and a column a flag.
///
/// # Errors
/// When kept columns cannot be read.
pub(super) fn of_shards(
    readers: &[(std::path::PathBuf, ShardReader)],
    quality: &[SplitQuality],
) -> Result<DataFrame> {
    let mut frames = Vec::new();
    for ((dir, reader), split) in readers.iter().zip(quality) {
        let rows: Vec<u32> = split.measured.iter().map(|image| image.row).collect();
        let stored = crate::table::take(&shard_table(dir, reader)?, &rows);
        let images = &split.measured;
        let number = |name: &str, of: &dyn Fn(&super::quality::ImageMeasures) -> f64| {
            Column::new(name.into(), images.iter().map(of).collect::<Vec<f64>>())
        };
        let splits = vec![split.split.as_str(); rows.len()];
        let mut columns = vec![
            Column::new("split".into(), splits),
            Column::new(
                "row".into(),
                rows.iter().map(|&row| row.into()).collect::<Vec<i64>>(),
            ),
        ];
        let measured = [
            number("luma", &|image| image.luma.into()),
            number("luma_p5", &|image| image.dark_end.into()),
            number("luma_p95", &|image| image.bright_end.into()),
            number("entropy", &|image| image.entropy.into()),
            number("sharpness", &|image| image.sharpness.into()),
        ];
        let flags = Flag::ALL.map(|flag| {
            let known = split.count(flag).is_some();
            let values = images.iter().map(|image| known.then(|| image.has(flag)));
            Column::new(flag.as_str().into(), values.collect::<Vec<Option<bool>>>())
        });
        let ours: Vec<Column> = measured.into_iter().chain(flags).collect();
        let mut taken = vec!["split", "row"];
        taken.extend(ours.iter().map(|column| column.name().as_str()));
        columns.extend(renamed(stored.columns().to_vec(), &taken));
        columns.extend(ours);
        frames.push(DataFrame::new(rows.len(), columns).expect("columns of one length"));
    }
    below(&frames)
}

/// The frame of lists, which have no pixels.
pub(super) fn of_lists(source: &Source, names_splits: bool) -> Result<DataFrame> {
    let frames = source.splits.iter().map(|list| {
        let mut frame = list_table(list, &source.class_names);
        let split = if names_splits {
            list.split.as_str()
        } else {
            "all"
        };
        let split = Column::new("split".into(), vec![split; list.items.len()]);
        frame.with_column(split).expect("a row an image");
        frame
    });
    below(&frames.collect::<Vec<_>>())
}

fn below(frames: &[DataFrame]) -> Result<DataFrame> {
    let parts: Vec<_> = frames.iter().map(|frame| (frame, frame.height())).collect();
    let rows = frames.iter().map(DataFrame::height).sum();
    Ok(DataFrame::new(rows, stacked(&parts)?).expect("columns of one length"))
}

/// The groups of a frame by one of its columns.
///
/// # Errors
/// When it has no such column.
pub(super) fn groups(frame: &DataFrame, column: &str, edges: BandEdges) -> Result<Groups> {
    if frame.column(column).is_err() {
        let there = frame.get_column_names();
        let there: Vec<&str> = there.iter().map(|name| name.as_str()).collect();
        return Err(Error::Setting {
            reason: format!("--group-by: the images have no column `{column}`"),
            hint: format!("there are {}", there.join(", ")),
        });
    }
    let flags: Vec<Flag> = Flag::ALL
        .into_iter()
        .filter(|flag| {
            frame
                .column(flag.as_str())
                .is_ok_and(|found| found.null_count() < found.len())
        })
        .collect();
    let name = column.replace('"', "\"\"");
    let mut selected = format!(
        "split, cast(\"{name}\" as varchar) as \"lift value\", count(*) as \"lift images\""
    );
    let has_pixels = frame.column("sharpness").is_ok();
    if has_pixels {
        selected += ", avg(luma) as \"lift luma\", median(sharpness) as \"lift sharpness\"";
        for flag in &flags {
            selected += &format!(", sum(cast(\"{0}\" as int)) as \"lift {0}\"", flag.as_str());
        }
    }
    let ask = |question: &str| {
        let tables = vec![("images".to_owned(), frame.clone())];
        sql::ask(tables, question).map_err(|reason| Error::Setting {
            reason: format!("--group-by {column}: {reason}"),
            hint: "group by a column of text or whole numbers".to_owned(),
        })
    };
    let of_groups = ask(&format!(
        "select {selected} from images group by split, \"lift value\""
    ))?;
    let of_classes = ask(&format!(
        "select split, cast(\"{name}\" as varchar) as \"lift value\", count(*) as \"lift images\" from images group by split, \"lift value\", label"
    ))?;
    let mut counts: BTreeMap<(String, Option<String>), Vec<u64>> = BTreeMap::new();
    for row in 0..of_classes.height() {
        let images = whole(&of_classes, "lift images", row).unwrap_or_default();
        counts
            .entry(key(&of_classes, row))
            .or_default()
            .push(images);
    }
    let mut rows = Vec::new();
    for row in 0..of_groups.height() {
        let (split, value) = key(&of_groups, row);
        let counts = &counts[&(split.clone(), value.clone())];
        let stats = Stats::new(None, "".as_ref(), counts, counts, edges);
        let flags = flags.iter().map(|flag| {
            let name = flag.as_str();
            (
                name,
                whole(&of_groups, &format!("lift {name}"), row).unwrap_or_default(),
            )
        });
        rows.push(GroupRow {
            value,
            split,
            images: stats.images,
            classes: stats.classes,
            largest: stats.largest,
            smallest: stats.smallest,
            imbalance_ratio: stats.imbalance_ratio,
            gini: stats.gini,
            mean_luma: float(&of_groups, "lift luma", row),
            median_sharpness: float(&of_groups, "lift sharpness", row),
            flags: flags.collect(),
        });
    }
    // In the splits' order, which is that of the frame.
    let splits = frame
        .column("split")
        .expect("it is there")
        .as_materialized_series()
        .clone();
    let splits: Vec<String> = splits
        .str()
        .expect("it is text")
        .iter()
        .flatten()
        .map(str::to_owned)
        .collect();
    let place = |row: &GroupRow| splits.iter().position(|split| *split == row.split);
    rows.sort_by_cached_key(|row| (place(row), std::cmp::Reverse(row.images), row.value.clone()));
    Ok(Groups {
        column: column.to_owned(),
        rows,
    })
}

fn key(frame: &DataFrame, row: usize) -> (String, Option<String>) {
    let text = |name: &str| {
        let column = frame.column(name).ok()?.as_materialized_series().clone();
        column.str().ok()?.get(row).map(str::to_owned)
    };
    (text("split").unwrap_or_default(), text("lift value"))
}

fn whole(frame: &DataFrame, name: &str, row: usize) -> Option<u64> {
    frame.column(name).ok()?.get(row).ok()?.extract()
}

fn float(frame: &DataFrame, name: &str, row: usize) -> Option<f64> {
    frame.column(name).ok()?.get(row).ok()?.extract()
}
