//! Accuracy by slices of the test images: a camera, a site, a year, from columns that the shards keep or another table.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use lift_page::terminal::aligned;
use lift_shards::table_file;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    metrics::{Prediction, wilson},
};

/// The slices by one column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slices {
    /// The column.
    pub column: String,
    /// The most images first.
    pub rows: Vec<Slice>,
}

/// The images of one value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Slice {
    /// The value; none for images that have none.
    pub value: Option<String>,
    /// Its images.
    pub images: u64,
    /// The share that is right, 0 to 1.
    pub accuracy: f64,
    /// Its 95 % interval (Wilson).
    pub interval: Option<[f64; 2]>,
    /// Mean of the accuracies of the classes that the slice has.
    pub mean_class_accuracy: f64,
    /// How many these are.
    pub classes: usize,
}

/// The slices of a run's plain evaluation by `column`: of `table`, by the images' paths, or else of the run's own
/// predictions, which have the columns that the shards keep.
///
/// # Errors
/// When a file cannot be read, has no such column, or names no image of the run.
pub fn slices(
    predictions: &Path,
    judged: &[Prediction],
    column: &str,
    table: Option<&Path>,
) -> Result<Slices> {
    let values: Vec<Option<String>> = match table {
        None => {
            let own = table_file::read_pairs(predictions, "path", column)?;
            own.into_iter().map(|(_, value)| value).collect()
        }
        Some(table) => {
            let pairs = table_file::read_pairs(table, "path", column)?;
            let mut of: HashMap<String, Option<String>> = HashMap::new();
            for (path, value) in pairs {
                let Some(path) = path else { continue };
                if let Some(other) = of.insert(path.clone(), value.clone())
                    && other != value
                {
                    return Err(Error::BadRun {
                        path: table.into(),
                        reason: format!(
                            "`{path}` has two values of `{column}`\nhint: a table of slices has one row an image"
                        ),
                    });
                }
            }
            let own = table_file::read_pairs(predictions, "path", "path")?;
            let paths: Vec<String> = own.into_iter().filter_map(|(path, _)| path).collect();
            if !paths.iter().any(|path| of.contains_key(path)) {
                let example = paths.first().cloned().unwrap_or_default();
                return Err(Error::BadRun {
                    path: table.into(),
                    reason: format!(
                        "no row of it is of a test image\nhint: its column `path` names images as the shards do, such as `{example}`"
                    ),
                });
            }
            paths
                .iter()
                .map(|path| of.get(path).cloned().flatten())
                .collect()
        }
    };
    let mut groups: BTreeMap<Option<String>, BTreeMap<u32, [u64; 2]>> = BTreeMap::new();
    for (value, one) in values.into_iter().zip(judged) {
        let [right, all] = groups
            .entry(value)
            .or_default()
            .entry(one.label)
            .or_default();
        *right += u64::from(one.label == one.predicted);
        *all += 1;
    }
    let slice = |(value, classes): (Option<String>, BTreeMap<u32, [u64; 2]>)| {
        let right: u64 = classes.values().map(|[right, _]| right).sum();
        let images: u64 = classes.values().map(|[_, all]| all).sum();
        let shares = classes
            .values()
            .map(|[right, all]| *right as f64 / *all as f64);
        Slice {
            value,
            images,
            accuracy: right as f64 / images as f64,
            interval: wilson(right, images),
            mean_class_accuracy: shares.sum::<f64>() / classes.len() as f64,
            classes: classes.len(),
        }
    };
    let mut rows: Vec<Slice> = groups.into_iter().map(slice).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.images));
    Ok(Slices {
        column: column.into(),
        rows,
    })
}

/// The slices as text.
pub fn table(slices: &Slices) -> String {
    let heading = [
        slices.column.as_str(),
        "images",
        "accuracy",
        "95 %",
        "mean class",
        "classes",
    ];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(slices.rows.iter().map(|row| {
        let interval = row.interval.map_or("-".into(), |[low, high]| {
            format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high)
        });
        vec![
            row.value.clone().unwrap_or_else(|| "-".into()),
            row.images.to_string(),
            format!("{:.1}", 100.0 * row.accuracy),
            interval,
            format!("{:.1}", 100.0 * row.mean_class_accuracy),
            row.classes.to_string(),
        ]
    }));
    aligned(&rows, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_follow_the_paths() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let judged: Vec<Prediction> = [(0, 0), (0, 1), (1, 1), (1, 1), (2, 0)]
            .into_iter()
            .map(|(label, predicted)| Prediction {
                label,
                predicted,
                confidence: 1.0,
                rank: 0,
            })
            .collect();
        let own = file("own.csv", "path,site\na,x\nb,x\nc,y\nd,x\ne,\n");
        let by_site = slices(&own, &judged, "site", None).unwrap();
        let found: Vec<_> = by_site
            .rows
            .iter()
            .map(|row| {
                (
                    row.value.as_deref(),
                    row.images,
                    row.accuracy,
                    row.mean_class_accuracy,
                    row.classes,
                )
            })
            .collect();
        // Of x: class 0 has one of two right, class 1 one of one.
        let expected = [
            (Some("x"), 3, 2.0 / 3.0, 0.75, 2),
            (None, 1, 0.0, 0.0, 1),
            (Some("y"), 1, 1.0, 1.0, 1),
        ];
        assert_eq!(found, expected);
        let meta = file("meta.csv", "year,path\n2024,d\n2023,a\n2024,c\n");
        let by_year = slices(&own, &judged, "year", Some(&meta)).unwrap();
        let found: Vec<_> = by_year
            .rows
            .iter()
            .map(|row| (row.value.as_deref(), row.images))
            .collect();
        assert_eq!(found, [(None, 2), (Some("2024"), 2), (Some("2023"), 1)]);
        let other = file("other.csv", "year,path\n2024,D\n");
        let err = slices(&own, &judged, "year", Some(&other))
            .unwrap_err()
            .to_string();
        assert!(err.contains("no row of it is of a test image"), "{err}");
    }
}
