//! Reports as aligned text: a line an evaluation, or a line a class.
//!
//! Invariant: figures are percent with one digit, and `-` stands where there is nothing to measure.

use lift_page::terminal::{self, aligned};
use lift_shards::{Split, classes::told_apart};

use super::Report;
use crate::eval::Evaluation;

/// Which figures a table shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Overall, mean class, and the bands.
    Accuracies,
    /// These, and the figures that papers give besides, with the interval of the overall accuracy.
    All,
}

/// A line an evaluation.
pub fn table<'a>(reports: impl IntoIterator<Item = &'a Report>, columns: Columns) -> String {
    let mut header = vec![
        "",
        "test-time",
        "overall",
        "mean class",
        "many",
        "medium",
        "few",
    ];
    if columns == Columns::All {
        header.extend([
            "95 % of overall",
            "top-5",
            "macro F1",
            "worst",
            "harmonic",
            "geometric",
            "ECE",
        ]);
    }
    let mut rows = vec![header.into_iter().map(str::to_owned).collect::<Vec<_>>()];
    for report in reports {
        if report.evaluations.is_empty() {
            let mut row = vec![report.name.clone(), "not judged".into()];
            row.resize(rows[0].len(), "-".into());
            rows.push(row);
        }
        for evaluation in &report.evaluations {
            let m = &evaluation.metrics;
            let mut row = vec![report.name.clone(), how(evaluation)];
            let accuracies = [m.overall, m.mean_class, m.many, m.medium, m.few];
            row.extend(accuracies.map(percent));
            if columns == Columns::All {
                row.push(m.intervals.overall.map_or("-".to_owned(), |[low, high]| {
                    format!("{:.1} to {:.1}", low * 100.0, high * 100.0)
                }));
                row.extend(
                    [
                        m.top5,
                        m.macro_f1,
                        m.worst_class,
                        m.harmonic_mean,
                        m.geometric_mean,
                        m.calibration_error,
                    ]
                    .map(percent),
                );
            }
            rows.push(row);
        }
    }
    match terminal::columns() {
        Some(columns) => terminal::folded(&rows, 2, columns),
        None => aligned(&rows, 2),
    }
}

/// A line a class: training images, and the accuracy of each evaluation.
pub fn class_table(report: &Report) -> String {
    let mut header = vec![String::new(), "train".into()];
    let of_split = report.evaluations.iter().map(how);
    header.extend(of_split);
    let mut rows = vec![header];
    for (label, name) in told_apart(&report.class_names).iter().enumerate() {
        let count = report.train_counts.as_ref().and_then(|n| n.get(label));
        let mut row = vec![name.clone(), count.map_or("-".into(), u64::to_string)];
        let accuracy = report.evaluations.iter().map(|evaluation| {
            let accuracy = evaluation.metrics.per_class.get(label);
            percent(accuracy.copied().flatten())
        });
        row.extend(accuracy);
        rows.push(row);
    }
    aligned(&rows, 1)
}

/// The ensembling; the split where it is not the test split, the rank of the classes where it is not their own, and whether
/// logits were adjusted.
fn how(evaluation: &Evaluation) -> String {
    let mut text = evaluation.tte.as_str().to_owned();
    if evaluation.split != Split::Test {
        text += &format!(", {}", evaluation.split);
    }
    if let Some(level) = &evaluation.level {
        text += &format!(", {level}");
    }
    if evaluation.adjusted.is_some() {
        text += ", adjusted";
    }
    text
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{:.1}", v * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        eval::Tte,
        metrics::{Intervals, Metrics},
    };
    use lift_models::Precision;

    fn report() -> Report {
        let metrics = Metrics {
            images: 3,
            overall: Some(0.5),
            mean_class: Some(1.0),
            many: None,
            medium: Some(0.0625),
            few: Some(0.0),
            top5: None,
            macro_f1: Some(0.25),
            worst_class: Some(0.0),
            harmonic_mean: Some(0.0),
            geometric_mean: Some(0.0),
            calibration_error: Some(0.125),
            intervals: Intervals {
                overall: Some([0.4, 0.6]),
                mean_class: None,
                many: None,
                medium: Some([0.0, 0.1]),
                few: Some([0.0, 0.0]),
            },
            per_class: vec![Some(0.5), None],
        };
        let evaluation = Evaluation {
            split: Split::Test,
            tte: Tte::FiveCrop,
            crops: 5,
            expand: Some(24),
            level: None,
            adjusted: None,
            metrics,
            seconds: 1.0,
        };
        Report {
            format: "lift-report/1".into(),
            tool_version: "0".into(),
            name: "lift+".into(),
            dataset: "shapes-lt".into(),
            num_classes: 2,
            class_hash: String::new(),
            class_names: vec!["red star".into(), "ring".into()],
            train_counts: Some(vec![500, 5]),
            bands: None,
            model: String::new(),
            template: String::new(),
            precision: Precision::Fp32,
            device: "cpu".into(),
            parameters: None,
            training: None,
            config: None,
            selection: None,
            evaluations: vec![evaluation],
        }
    }

    #[test]
    fn the_table_aligns_and_an_empty_band_is_a_dash() {
        let expected = "       test-time  overall  mean class  many  medium  few\n\
                        lift+  five-crop     50.0       100.0     -     6.2  0.0\n";
        assert_eq!(table([&report()], Columns::Accuracies), expected);
        let all = table([&report()], Columns::All);
        assert!(
            all.lines()
                .next()
                .unwrap()
                .ends_with("harmonic  geometric   ECE"),
            "{all}"
        );
        assert!(all.contains("40.0 to 60.0"), "{all}");
        let lengths: Vec<_> = all.lines().map(str::len).collect();
        assert_eq!(lengths[0], lengths[1]);
    }

    #[test]
    fn classes_have_a_line_each() {
        let expected = "          train  five-crop\n\
                        red star    500       50.0\n\
                        ring          5          -\n";
        assert_eq!(class_table(&report()), expected);
        let mut twins = report();
        twins.class_names = vec!["crane".into(), "crane".into()];
        let expected = "           train  five-crop\n\
                        crane (0)    500       50.0\n\
                        crane (1)      5          -\n";
        assert_eq!(class_table(&twins), expected);
    }
}
