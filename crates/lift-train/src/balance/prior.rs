//! How often classes come: in training, alike, as a file says; and what an image of a split weighs where they come so.
//!
//! Invariant: shares are positive and sum to 1.

use std::{collections::BTreeMap, path::Path};

use lift_page::escape::visible;
use lift_shards::table_file::read_pairs;

use crate::error::{Error, Result};

/// The smallest share of a class: of one that never comes nothing would be left to say so.
const SMALLEST: f64 = 1e-6;

/// The columns that frequencies may stand in.
const COLUMNS: [&str; 3] = ["frequency", "count", "images"];

/// Every class alike.
pub fn uniform(classes: usize) -> Vec<f64> {
    vec![1.0 / classes as f64; classes]
}

/// The shares of these images a class; of a class without images, as if it had half an image.
pub fn of_counts(counts: &[u64]) -> Vec<f64> {
    let some: Vec<f64> = counts.iter().map(|&n| (n as f64).max(0.5)).collect();
    normalised(&some)
}

/// Shares of numbers that are not negative, each at least [`SMALLEST`].
pub fn normalised(values: &[f64]) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    let held: Vec<f64> = values.iter().map(|v| (v / sum).max(SMALLEST)).collect();
    let sum: f64 = held.iter().sum();
    held.iter().map(|share| share / sum).collect()
}

/// The shares that a table (CSV, Parquet) with the columns `class` and `frequency`, `count` or `images` says.
///
/// # Errors
/// When it cannot be read, or does not name each class once with a number that is not negative.
pub fn of_file(path: &Path, classes: &[String]) -> Result<Vec<f64>> {
    let bad = |reason: String| Error::BadRun {
        path: path.into(),
        reason: format!(
            "{reason}\nhint: a table with a column class and one of {}, a row each class",
            COLUMNS.join(", ")
        ),
    };
    let read = |column: &&str| read_pairs(path, "class", column);
    let mut tried: Vec<_> = COLUMNS.iter().map(read).collect();
    let pairs = match tried.iter().position(|read| read.is_ok()) {
        Some(place) => tried.swap_remove(place)?,
        None => {
            let reason = tried.swap_remove(0).expect_err("none was read");
            return Err(Error::Config(format!(
                "{reason}\nhint: --prior uniform, train, estimate, or a table with a column class and one of {}",
                COLUMNS.join(", ")
            )));
        }
    };
    let mut found = BTreeMap::new();
    for (row, (class, value)) in pairs.into_iter().enumerate() {
        let row = row + 1;
        let class = class.ok_or_else(|| bad(format!("row {row} names no class")))?;
        let number = value.as_deref().and_then(|text| text.parse::<f64>().ok());
        let number = number.filter(|n| n.is_finite() && *n >= 0.0);
        let said = visible(value.as_deref().unwrap_or_default());
        let number = number.ok_or_else(|| {
            bad(format!(
                "row {row} (class {:?}): {said:?} is no frequency",
                visible(&class)
            ))
        })?;
        if !classes.contains(&class) {
            return Err(bad(format!(
                "row {row}: the run has no class {:?}",
                visible(&class)
            )));
        }
        if found.insert(class.clone(), number).is_some() {
            return Err(bad(format!(
                "row {row}: class {:?} is there twice",
                visible(&class)
            )));
        }
    }
    let of = |class: &String| {
        let number = found.get(class).copied();
        number.ok_or_else(|| bad(format!("no row of class {:?}", visible(class))))
    };
    let values = classes.iter().map(of).collect::<Result<Vec<f64>>>()?;
    if values.iter().sum::<f64>() <= 0.0 {
        return Err(bad("no class has a frequency above 0".into()));
    }
    Ok(normalised(&values))
}

/// What an image of each class weighs so that the classes of `images` come as `shares` says: the weights of all images sum
/// to 1. Classes without images have no say.
pub fn weights(shares: &[f64], images: &[u64]) -> Vec<f64> {
    let there = shares.iter().zip(images);
    let all: f64 = there.clone().filter(|&(_, &n)| n > 0).map(|(s, _)| s).sum();
    there
        .map(|(share, &n)| if n > 0 { share / all / n as f64 } else { 0.0 })
        .collect()
}

/// `log p`, with mean 0.
pub fn centred_log(shares: &[f64]) -> Vec<f64> {
    let logs: Vec<f64> = shares.iter().map(|share| share.ln()).collect();
    let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
    logs.iter().map(|log| log - mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{found:?}");
        }
    }

    #[test]
    fn shares_and_weights_by_hand() {
        close(&of_counts(&[6, 3, 1]), &[0.6, 0.3, 0.1]);
        close(&of_counts(&[2, 0, 0]), &[4.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0]);
        // Classes of 4, 1 and no images, each to come alike: half each of the two that are there.
        close(&weights(&uniform(3), &[4, 1, 0]), &[0.125, 0.5, 0.0]);
        let e = std::f64::consts::E;
        close(
            &centred_log(&[1.0 / (1.0 + e), e / (1.0 + e)]),
            &[-0.5, 0.5],
        );
        let floor = normalised(&[1.0, 0.0]);
        assert!(floor[1] > 9e-7 && floor[1] < 1.1e-6, "{floor:?}");
    }

    #[test]
    fn a_file_names_each_class_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prior.csv");
        let classes = ["cat", "dog"].map(str::to_owned);
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            of_file(&path, &classes)
        };
        close(
            &read("class,frequency\ndog,0.75\ncat,0.25\n").unwrap(),
            &[0.25, 0.75],
        );
        close(&read("count,class\n3,dog\n1,cat\n").unwrap(), &[0.25, 0.75]);
        for (text, message) in [
            ("class,frequency\ndog,1\n", "no row of class \"cat\""),
            (
                "class,frequency\ndog,1\ncat,1\ncow,1\n",
                "row 3: the run has no class \"cow\"",
            ),
            (
                "class,frequency\ndog,1\ndog,1\n",
                "row 2: class \"dog\" is there twice",
            ),
            (
                "class,frequency\ndog,-1\n",
                "row 1 (class \"dog\"): \"-1\" is no frequency",
            ),
            (
                "class,frequency\ndog,0\ncat,0\n",
                "no class has a frequency above 0",
            ),
            ("class,rate\ndog,1\n", "there is no column `frequency`"),
        ] {
            let found = read(text).unwrap_err().to_string();
            assert!(found.contains(message), "{found}");
        }
    }
}
