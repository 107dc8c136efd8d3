//! `report.json` of a run, and the table that people read.

use std::{fs, path::Path};

use lift_clip::Precision;
use lift_data::atomic;
use serde::{Deserialize, Serialize};

use crate::{
    config::TrainConfig,
    error::{Error, Result},
    eval::{Evaluation, Tte},
    model::ParameterCounts,
};

/// Everything that a run found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// `lift-report/1`.
    pub format: String,
    /// Version of lift-train.
    pub tool_version: String,
    /// The run's folder name, or the method.
    pub name: String,
    /// As the shards' manifest says.
    pub dataset: String,
    /// Number of classes.
    pub num_classes: usize,
    /// Hash of the class list.
    pub class_hash: String,
    /// The model that was judged.
    pub model: String,
    /// The prompt of the classifier file.
    pub template: String,
    /// Kind of the frozen weights.
    pub precision: Precision,
    /// Where it ran.
    pub device: String,
    /// Tuned and frozen parameters; none for zero-shot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<ParameterCounts>,
    /// How training went; none for zero-shot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// The settings; none for zero-shot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<TrainConfig>,
    /// In the order they were made.
    pub evaluations: Vec<Evaluation>,
}

/// How training went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Training {
    /// Training images.
    pub images: u64,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Mean loss over the last epoch.
    pub last_epoch_loss: Option<f64>,
    /// Wall time.
    pub seconds: f64,
    /// Images seen in a second.
    pub images_per_second: f64,
    /// Share of the time in which the step waited for data.
    pub data_wait_share: f64,
}

impl Report {
    /// Writes `report.json` into the run's folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, run: &Path) -> Result<()> {
        let path = run.join("report.json");
        let text = serde_json::to_string_pretty(self).expect("a report is plain data") + "\n";
        Ok(atomic::write(&path, text.as_bytes())?)
    }

    /// Reads `report.json` of a run.
    ///
    /// # Errors
    /// When it is missing or is no report.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join("report.json");
        let text = fs::read_to_string(&path).map_err(|e| Error::BadRun {
            path: path.clone(),
            reason: format!("{e}\nhint: name the folder of a run that has ended"),
        })?;
        serde_json::from_str(&text).map_err(|e| Error::BadRun {
            path,
            reason: format!("not a report: {e}"),
        })
    }
}

/// An aligned table, a line an evaluation: accuracies in percent, `-` for a band without classes.
pub fn table<'a>(reports: impl IntoIterator<Item = &'a Report>) -> String {
    let header = [
        "",
        "test-time",
        "overall",
        "mean class",
        "many",
        "medium",
        "few",
    ]
    .map(str::to_owned);
    let mut rows = vec![header];
    for report in reports {
        for evaluation in &report.evaluations {
            let percent =
                |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{:.1}", v * 100.0));
            let tte = match evaluation.tte {
                Tte::None => "plain".to_owned(),
                Tte::FiveCrop => "five-crop".to_owned(),
            };
            let m = &evaluation.metrics;
            let numbers =
                [Some(m.overall), Some(m.mean_class), m.many, m.medium, m.few].map(percent);
            let [overall, mean_class, many, medium, few] = numbers;
            rows.push([
                report.name.clone(),
                tte,
                overall,
                mean_class,
                many,
                medium,
                few,
            ]);
        }
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|i| {
            rows.iter()
                .map(|row| row[i].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut out = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, &width))| match i {
                0 | 1 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn the_table_aligns_and_an_empty_band_is_a_dash() {
        let metrics = Metrics {
            images: 3,
            overall: 0.5,
            mean_class: 1.0,
            many: None,
            medium: Some(0.0625),
            few: Some(0.0),
            per_class: vec![],
        };
        let evaluation = Evaluation {
            tte: Tte::FiveCrop,
            expand: Some(24),
            metrics,
            seconds: 1.0,
        };
        let report = Report {
            format: "lift-report/1".into(),
            tool_version: "0".into(),
            name: "lift+".into(),
            dataset: "shapes-lt".into(),
            num_classes: 3,
            class_hash: String::new(),
            model: String::new(),
            template: String::new(),
            precision: Precision::Fp32,
            device: "cpu".into(),
            parameters: None,
            training: None,
            config: None,
            evaluations: vec![evaluation],
        };
        let expected = "       test-time  overall  mean class  many  medium  few\n\
                        lift+  five-crop     50.0       100.0     -     6.2  0.0\n";
        assert_eq!(table([&report]), expected);
    }
}
