//! An axis in numbers: values to places on it, its ends, and where its ticks stand.

use super::{Axis, Scale, Ticks};

/// An axis with its ends, in units in which it is even (the logarithm for a logarithmic one).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fitted {
    scale: Scale,
    /// The smallest step between two ticks.
    least_step: f64,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Fitted {
    /// The axis over `values` (and over 0 where `from_zero`); what cannot be shown on it does not count.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>, from_zero: bool) -> Self {
        let scale = axis.scale;
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter_map(|value| place(scale, value)) {
            (from, to) = (from.min(value), to.max(value));
        }
        if from_zero && scale == Scale::Linear {
            (from, to) = (from.min(0.0), to.max(0.0));
        }
        if let Some((start, end)) = axis.range
            && let (Some(start), Some(end)) = (place(scale, start), place(scale, end))
        {
            (from, to) = (start, end);
        }
        if from > to {
            (from, to) = (0.0, 1.0);
        }
        if to - from < 1e-9 * from.abs().max(1e-9) {
            (from, to) = match scale {
                // One value is shown against 0.
                Scale::Linear if from > 0.0 => (0.0, to),
                Scale::Linear if from < 0.0 => (from, 0.0),
                Scale::Linear => (0.0, 1.0),
                Scale::Log => (from - 0.3, to + 0.3),
            };
        }
        Self {
            scale,
            least_step: match axis.ticks {
                Ticks::Whole => 1.0,
                Ticks::Round | Ticks::Named(_) => 0.0,
            },
            from,
            to,
        }
    }

    /// The place of a value; `None` where it has none.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        place(self.scale, value)
    }

    /// The place of a value, moved to the nearest end where it lies beyond.
    pub(super) fn clamped(&self, value: f64) -> Option<f64> {
        Some(self.place(value)?.clamp(self.from, self.to))
    }

    /// Ticks: places, and what is written there. About `most` of them.
    pub(super) fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Linear => self.even_ticks(most),
            Scale::Log => self.log_ticks(most),
        }
    }

    fn even_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let step = nice_step((self.to - self.from) / most.max(1) as f64).max(self.least_step);
        let first = (self.from / step - 1e-9).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last)
            .map(|i| {
                let value = i as f64 * step;
                (value, crate::number::tick(value, step))
            })
            .collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<(f64, String)> {
        let decades = self.to - self.from;
        // Narrow ranges need more than powers of ten.
        let leads: &[f64] = match decades {
            d if d * 3.0 <= most as f64 => &[1.0, 2.0, 5.0],
            d if d * 2.0 <= most as f64 => &[1.0, 3.0],
            _ => &[1.0],
        };
        let every = (decades / most.max(1) as f64).ceil().max(1.0) as i32;
        let mut ticks = Vec::new();
        let powers = self.from.floor() as i32..=self.to.ceil() as i32;
        for power in powers.filter(|power| power.rem_euclid(every) == 0) {
            for lead in leads {
                let value = lead * 10_f64.powi(power);
                let at = value.log10();
                if (self.from - 1e-9..=self.to + 1e-9).contains(&at) {
                    ticks.push((at, crate::number::tick(value, value)));
                }
            }
        }
        // Less than a power of ten: round steps of the values themselves.
        if ticks.len() < 3 {
            let (from, to) = (10_f64.powf(self.from), 10_f64.powf(self.to));
            let even = Self {
                scale: Scale::Linear,
                least_step: 0.0,
                from,
                to,
            };
            ticks = even.even_ticks(most);
            ticks.iter_mut().for_each(|(at, _)| *at = at.log10());
        }
        ticks
    }
}

fn place(scale: Scale, value: f64) -> Option<f64> {
    match scale {
        Scale::Linear => value.is_finite().then_some(value),
        Scale::Log => (value.is_finite() && value > 0.0).then(|| value.log10()),
    }
}

/// The nearest of 1, 2 and 5 times a power of ten that is not below `raw`.
fn nice_step(raw: f64) -> f64 {
    let power = 10_f64.powf(raw.max(1e-300).log10().floor());
    let lead = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|lead| lead * power >= raw * (1.0 - 1e-9))
        .unwrap_or(10.0);
    lead * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: Axis, values: &[f64], most: usize) -> Vec<String> {
        let fitted = Fitted::new(&axis, values.iter().copied(), true);
        fitted
            .ticks(most)
            .into_iter()
            .map(|(_, label)| label)
            .collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            labels(Axis::linear(""), &[0.0, 97.0], 5),
            ["0", "20", "40", "60", "80"]
        );
        assert_eq!(
            labels(Axis::linear(""), &[0.0, 1.0], 4),
            ["0.0", "0.5", "1.0"]
        );
        assert_eq!(
            labels(Axis::log(""), &[1.0, 5000.0], 5),
            ["1", "10", "100", "1,000"]
        );
        assert_eq!(
            labels(Axis::log(""), &[5.0, 500.0], 8),
            ["5", "10", "20", "50", "100", "200", "500"]
        );
    }

    #[test]
    fn what_is_counted_has_no_fractions_and_one_value_stands_against_zero() {
        let at = |axis: Axis, values: &[f64]| {
            let fitted = Fitted::new(&axis, values.iter().copied(), false);
            let labels = fitted.ticks(10).into_iter().map(|(_, label)| label);
            (fitted.from, fitted.to, labels.collect::<Vec<_>>())
        };
        let labels = |labels: &[&str]| labels.iter().map(|&l| l.to_owned()).collect::<Vec<_>>();
        // Between two steps there is none; a hundred of them have round ones.
        assert_eq!(
            at(Axis::whole("").range(0.0, 2.0), &[]),
            (0.0, 2.0, labels(&["0", "1", "2"]))
        );
        assert_eq!(
            at(Axis::whole("").range(0.0, 100.0), &[]).2[..3],
            labels(&["0", "10", "20"])
        );
        assert_eq!(at(Axis::whole(""), &[1.0]), (0.0, 1.0, labels(&["0", "1"])));
        assert_eq!(at(Axis::linear(""), &[7.0, 7.0]).0, 0.0);
        assert_eq!(at(Axis::linear(""), &[-2.0]).1, 0.0);
        assert_eq!(
            (
                at(Axis::linear(""), &[0.0]).0,
                at(Axis::linear(""), &[0.0]).1
            ),
            (0.0, 1.0)
        );
    }

    #[test]
    fn short_logarithmic_axes_have_ticks_too() {
        assert_eq!(
            labels(Axis::log(""), &[0.63, 1.6], 5),
            ["0.8", "1.0", "1.2", "1.4", "1.6"]
        );
    }

    #[test]
    fn what_cannot_be_shown_does_not_count() {
        let fitted = Fitted::new(
            &Axis::log(""),
            [f64::NAN, -1.0, 0.0, 10.0, 100.0].into_iter(),
            true,
        );
        assert_eq!((fitted.from, fitted.to), (1.0, 2.0));
        assert_eq!((fitted.place(0.0), fitted.clamped(1e9)), (None, Some(2.0)));
        // Nothing, or one value, is an axis too.
        for values in [vec![], vec![7.0], vec![f64::INFINITY]] {
            let fitted = Fitted::new(&Axis::linear(""), values.into_iter(), false);
            assert!(fitted.from < fitted.to);
        }
    }
}
