//! What `metrics.jsonl` says of training, thinned for a chart.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

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
}

/// Reads the log of a run; empty where there is none.
///
/// # Errors
/// When a line is no line of metrics; a last line that was cut off, by a kill, is left out.
pub fn read(run: &Path) -> Result<Vec<CurvePoint>> {
    let path = run.join("metrics.jsonl");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| Error::BadRun {
            path: path.clone(),
            reason: format!(
                "line {}: {e}\nhint: lift-train writes this file, no one else should",
                number + 1
            ),
        })
    };
    whole.lines().enumerate().map(parse).collect()
}

/// At most [`MOST_POINTS`] points: each the mean of as many that follow each other.
pub fn thin(points: &[CurvePoint]) -> Vec<CurvePoint> {
    let group = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |points: &[CurvePoint]| {
        let of = |value: &dyn Fn(&CurvePoint) -> f64| {
            points.iter().map(value).sum::<f64>() / points.len() as f64
        };
        let last = points[points.len() - 1];
        CurvePoint {
            loss: of(&|p| p.loss),
            lr: of(&|p| p.lr),
            images_per_second: of(&|p| p.images_per_second),
            data_wait_share: of(&|p| p.data_wait_share),
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
        assert!(read(dir.path()).unwrap().is_empty());
        let line = r#"{"step":10,"epoch":0,"loss":3.5,"lr":0.02,"images_per_second":500.0,"data_wait_share":0.25,"loss_scale":2.0}"#;
        fs::write(dir.path().join("metrics.jsonl"), format!("{line}\n{{\"st")).unwrap();
        let read_back = read(dir.path()).unwrap();
        assert_eq!(
            (read_back.len(), read_back[0].step, read_back[0].loss),
            (1, 10, 3.5)
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
        assert!(thin(&[]).is_empty());
    }
}
