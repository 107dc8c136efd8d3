//! A smooth line through scattered points.

use super::Scale;

/// Places of the line.
const STEPS: usize = 64;

/// Nadaraya-Watson kernel regression with a Gaussian kernel: the weighted mean of the points' heights at
/// [`STEPS`] places evenly spread over the axis (over its logarithm for [`Scale::Log`]). The kernel's
/// standard deviation is a twelfth of the axis. Empty for fewer than two different places.
pub fn smooth(points: &[(f64, f64)], scale: Scale) -> Vec<(f64, f64)> {
    let at = |x: f64| match scale {
        Scale::Linear => x,
        Scale::Log => x.log10(),
    };
    let placed: Vec<(f64, f64)> = points
        .iter()
        .map(|&(x, y)| (at(x), y))
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let from = placed.iter().map(|p| p.0).fold(f64::INFINITY, f64::min);
    let to = placed.iter().map(|p| p.0).fold(f64::NEG_INFINITY, f64::max);
    // Without any point the ends are infinite, the wrong way round.
    if from >= to {
        return Vec::new();
    }
    let width = (to - from) / 12.0;
    (0..STEPS)
        .map(|i| {
            let x = from + (to - from) * i as f64 / (STEPS - 1) as f64;
            let (mut sum, mut weights) = (0.0, 0.0);
            for &(px, py) in &placed {
                let distance = (px - x) / width;
                let weight = (-0.5 * distance * distance).exp();
                sum += weight * py;
                weights += weight;
            }
            let x = match scale {
                Scale::Linear => x,
                Scale::Log => 10_f64.powf(x),
            };
            (x, sum / weights)
        })
        .filter(|(_, y)| y.is_finite())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_and_a_rise_rises() {
        let flat: Vec<_> = (0..50).map(|i| (f64::from(i), 3.0)).collect();
        assert!(
            smooth(&flat, Scale::Linear)
                .iter()
                .all(|(_, y)| (y - 3.0).abs() < 1e-9)
        );
        let rise: Vec<_> = (0..50)
            .map(|i| (10_f64.powf(f64::from(i) / 20.0), f64::from(i)))
            .collect();
        let line = smooth(&rise, Scale::Log);
        assert_eq!(line.len(), STEPS);
        assert!(line.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1));
        // In the middle, where both sides weigh the same, it is the point itself: 24.5 at 10^1.225.
        let middle = (line[31].1 + line[32].1) / 2.0;
        assert!((middle - 24.5).abs() < 1e-6, "{middle}");
        assert!(smooth(&[(1.0, 2.0)], Scale::Linear).is_empty());
    }
}
