//! What `metrics.jsonl` says of training, thinned for a chart.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Result},
    metrics::Metrics,
};

/// The most points that a curve keeps.
pub const MOST_POINTS: usize = 400;

/// Means over the steps since the point before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// The last of the steps.
    pub step: usize,
    /// Its epoch, from 0.
    pub epoch: usize,
    /// Training loss.
    pub loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Images seen in a second.
    pub images_per_second: f64,
    /// Share of the time in which the step waited for data.
    pub data_wait_share: f64,
    /// Share of the images that were right as they were trained on; none in logs of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// Of classes of the band `many`; none where no image of it was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_many: Option<f64>,
    /// Of the band `medium`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_medium: Option<f64>,
    /// Of the band `few`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_few: Option<f64>,
}

/// Accuracies on the `val` split after a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationPoint {
    /// Steps done.
    pub step: usize,
    /// The epoch of the last of them, from 0.
    pub epoch: usize,
    /// What was found.
    pub validation: ValidationFigures,
}

/// Accuracies in 0..=1 in the plain centre crop; none where no image was judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationFigures {
    /// Right images over all.
    pub overall: Option<f64>,
    /// Mean of the per-class accuracies.
    pub mean_class: Option<f64>,
    /// That mean over the band `many`.
    pub many: Option<f64>,
    /// Over `medium`.
    pub medium: Option<f64>,
    /// Over `few`.
    pub few: Option<f64>,
    /// Whether no validation before it was as good, by the monitored figure.
    pub best: bool,
}

impl ValidationFigures {
    /// Of these metrics.
    pub fn of(metrics: &Metrics, best: bool) -> Self {
        Self {
            overall: metrics.overall,
            mean_class: metrics.mean_class,
            many: metrics.many,
            medium: metrics.medium,
            few: metrics.few,
            best,
        }
    }
}

/// What a run's log holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Of the training.
    pub points: Vec<CurvePoint>,
    /// Of its validations.
    pub validations: Vec<ValidationPoint>,
}

/// Reads the log of a run; empty where there is none.
///
/// # Errors
/// When a line is no line of metrics; a last line that was cut off, by a kill, is left out.
pub fn read(run: &Path) -> Result<Curves> {
    let path = run.join("metrics.jsonl");
    if !path.exists() {
        return Ok(Curves::default());
    }
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut curves = Curves::default();
    for (number, line) in whole.lines().enumerate() {
        let bad = |e: serde_json::Error| Error::BadRun {
            path: path.clone(),
            reason: format!(
                "line {}: {e}\nhint: lift-train writes this file, no one else should",
                number + 1
            ),
        };
        let value: serde_json::Value = serde_json::from_str(line).map_err(bad)?;
        if value.get("validation").is_some() {
            curves
                .validations
                .push(serde_json::from_value(value).map_err(bad)?);
        } else {
            curves
                .points
                .push(serde_json::from_value(value).map_err(bad)?);
        }
    }
    Ok(curves)
}

/// At most [`MOST_POINTS`] points: each the mean of as many that follow each other.
pub fn thin(points: &[CurvePoint]) -> Vec<CurvePoint> {
    let group = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |points: &[CurvePoint]| {
        let of = |value: &dyn Fn(&CurvePoint) -> f64| {
            points.iter().map(value).sum::<f64>() / points.len() as f64
        };
        let of_known = |value: &dyn Fn(&CurvePoint) -> Option<f64>| {
            let known: Vec<f64> = points.iter().filter_map(value).collect();
            (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
        };
        let last = points[points.len() - 1];
        CurvePoint {
            loss: of(&|p| p.loss),
            lr: of(&|p| p.lr),
            images_per_second: of(&|p| p.images_per_second),
            data_wait_share: of(&|p| p.data_wait_share),
            train_accuracy: of_known(&|p| p.train_accuracy),
            train_many: of_known(&|p| p.train_many),
            train_medium: of_known(&|p| p.train_medium),
            train_few: of_known(&|p| p.train_few),
            ..last
        }
    };
    points.chunks(group).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_a_cut_off_one_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Curves::default());
        let line = r#"{"step":10,"epoch":0,"loss":3.5,"lr":0.02,"images_per_second":500.0,"data_wait_share":0.25,"loss_scale":2.0}"#;
        fs::write(dir.path().join("metrics.jsonl"), format!("{line}\n{{\"st")).unwrap();
        let validation = r#"{"step":13,"epoch":0,"validation":{"overall":0.5,"mean_class":0.25,"many":null,"medium":0.25,"few":null,"best":true}}"#;
        let read_back = read(dir.path()).unwrap().points;
        assert_eq!(
            (read_back.len(), read_back[0].step, read_back[0].loss),
            (1, 10, 3.5)
        );
        fs::write(
            dir.path().join("metrics.jsonl"),
            format!("{line}\n{validation}\n{line}\n"),
        )
        .unwrap();
        let both = read(dir.path()).unwrap();
        assert_eq!((both.points.len(), both.validations.len()), (2, 1));
        let found = both.validations[0].validation;
        assert_eq!(
            (found.mean_class, found.few, found.best),
            (Some(0.25), None, true)
        );
        fs::write(dir.path().join("metrics.jsonl"), format!("{line}\nno\n")).unwrap();
        let message = read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("metrics.jsonl: line 2: "), "{message}");
    }

    #[test]
    fn thinning_keeps_means_and_the_last_step() {
        let point = |step: usize| CurvePoint {
            step,
            epoch: 0,
            loss: step as f64,
            lr: 0.5,
            images_per_second: 1.0,
            data_wait_share: 0.0,
            train_accuracy: step.is_multiple_of(2).then_some(step as f64),
            train_many: None,
            train_medium: None,
            train_few: None,
        };
        let few: Vec<CurvePoint> = (1..=MOST_POINTS).map(point).collect();
        assert_eq!(thin(&few), few);
        let many: Vec<CurvePoint> = (1..=MOST_POINTS * 2).map(point).collect();
        let thinned = thin(&many);
        assert_eq!(thinned.len(), MOST_POINTS);
        assert_eq!(
            (thinned[0].step, thinned[0].loss, thinned[0].lr),
            (2, 1.5, 0.5)
        );
        assert_eq!(
            (thinned[0].train_accuracy, thinned[0].train_few),
            (Some(2.0), None)
        );
        assert!(thin(&[]).is_empty());
    }
}
