//! How long the demo's steps will take on this machine: by the first batches of training and of an evaluation, measured here.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Training images of `shapes-lt`, and its test images.
const TRAIN: f64 = 10_847.0;
const TEST: f64 = 2_000.0;
const EPOCHS: f64 = 5.0;
const CROPS: f64 = 5.0;

/// Images a second.
#[derive(Debug, Clone, Copy)]
pub struct Forecast {
    /// In a training step with AdaptFormer.
    tuned: f64,
    /// In a training step of the classifier alone.
    classifier: f64,
    /// Forward.
    forward: f64,
}

impl Forecast {
    /// Measures with `lift-train bench`, about two seconds each; `program` starts `lift-train`.
    pub fn measure(program: impl Fn() -> Command) -> Result<Self> {
        let rate = |words: &str| {
            let shared = "--model models/shapes-clip --num-classes 100 --seconds 2 --json";
            let mut command = program();
            command
                .arg("bench")
                .args(words.split(' '))
                .args(shared.split(' '));
            let output = command.output().context("lift-train: cannot be started")?;
            ensure!(
                output.status.success(),
                "lift-train bench: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            let report: Value = serde_json::from_slice(&output.stdout)?;
            let rate = report["images_per_second"].as_f64();
            rate.context("lift-train bench says no images_per_second")
        };
        Ok(Self {
            tuned: rate("--stage step --tuner adaptformer")?,
            classifier: rate("--stage step --tuner none")?,
            forward: rate("--stage evaluation")?,
        })
    }

    /// What will take how long, as text.
    pub fn said(self) -> String {
        let time = |seconds: f64| match seconds.ceil() as u64 {
            seconds @ 0..60 => format!("{seconds} s"),
            seconds => format!("{} min {} s", seconds / 60, seconds % 60),
        };
        format!(
            "on this machine, by its first batches, about: zero-shot {}, classifier-only {}, lift-plus {}",
            time(TEST / self.forward),
            time(EPOCHS * TRAIN / self.classifier + TEST / self.forward),
            time(EPOCHS * TRAIN / self.tuned + CROPS * TEST / self.forward)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_epochs_and_five_crops_are_foreseen() {
        let forecast = Forecast {
            tuned: 800.0,
            classifier: 2000.0,
            forward: 2500.0,
        };
        // 5 * 10,847 images / 800 a second + 5 * 2,000 / 2,500
        assert_eq!(
            forecast.said(),
            "on this machine, by its first batches, about: zero-shot 1 s, classifier-only 28 s, lift-plus 1 min 12 s"
        );
    }
}
