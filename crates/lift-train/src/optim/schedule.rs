//! The learning rate over time: cosine by epoch as in the papers, cosine by step, or constant, after a warm-up.

use std::{f64::consts::PI, fmt};

use serde::{Deserialize, Serialize};

/// The schedules that can be chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Half a cosine down to 0, stepped once an epoch.
    #[default]
    CosineEpoch,
    /// Half a cosine down to 0 over the steps after the warm-up.
    CosineStep,
    /// The same all the time.
    Constant,
}

impl fmt::Display for ScheduleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CosineEpoch => "cosine-epoch",
            Self::CosineStep => "cosine-step",
            Self::Constant => "constant",
        })
    }
}

/// A schedule for a run of this length.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Which.
    pub kind: ScheduleKind,
    /// Steps in which the rate grows linearly: step s, from 0, has (s + 1) / (warmup + 1) of it.
    pub warmup: usize,
    /// Epochs of the run.
    pub epochs: usize,
    /// Steps of the run.
    pub steps: usize,
}

impl Schedule {
    /// The rate of a step, counted from 0 over the whole run, in this epoch.
    pub fn lr(&self, lr: f64, epoch: usize, step: usize) -> f64 {
        let scheduled = match self.kind {
            ScheduleKind::CosineEpoch => cosine_lr(lr, epoch, self.epochs),
            ScheduleKind::CosineStep => {
                let length = self.steps.saturating_sub(self.warmup).max(1);
                cosine_lr(lr, step.saturating_sub(self.warmup), length)
            }
            ScheduleKind::Constant => lr,
        };
        if step < self.warmup {
            scheduled * (step + 1) as f64 / (self.warmup + 1) as f64
        } else {
            scheduled
        }
    }
}

/// Cosine from `lr` to 0: `lr / 2 (1 + cos(pi t / length))`.
pub fn cosine_lr(lr: f64, time: usize, length: usize) -> f64 {
    lr / 2.0 * (1.0 + (PI * time as f64 / length as f64).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_starts_at_lr_and_halves_in_the_middle() {
        assert_eq!(cosine_lr(0.02, 0, 2), 0.02);
        assert!((cosine_lr(0.02, 1, 2) - 0.01).abs() < 1e-12);
        assert!((cosine_lr(0.02, 3, 5) - 0.01 * (1.0 + (PI * 0.6).cos())).abs() < 1e-12);
    }

    #[test]
    fn schedules_warm_up_and_go_down() {
        let rates = |kind, warmup| {
            let schedule = Schedule {
                kind,
                warmup,
                epochs: 2,
                steps: 8,
            };
            let rates = (0..8).map(|step| schedule.lr(1.0, step / 4, step));
            rates
                .map(|rate| (rate * 1e4).round() / 1e4)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            rates(ScheduleKind::CosineEpoch, 0),
            [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5]
        );
        assert_eq!(
            rates(ScheduleKind::Constant, 3),
            [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0]
        );
        // (1 + cos(pi t / 4)) / 2 for t = 0, 1, 2, 3.
        assert_eq!(
            rates(ScheduleKind::CosineStep, 4),
            [0.2, 0.4, 0.6, 0.8, 1.0, 0.8536, 0.5, 0.1464]
        );
    }
}
