//! A smoothed line through accuracies: LOESS (Cleveland 1979), local lines with tricube weights and no robustness steps.
//!
//! Invariant: where all neighbours of a point lie at one place, the line goes through their mean there.

/// Share of the points that each local line is fitted to.
pub const SPAN: f64 = 0.5;

/// The smoothed value at each of `places`, from points (x, y) in any order; empty without points.
///
/// A local line is fitted to the `SPAN` nearest points, at least two of them where there are two.
pub fn loess(points: &[(f64, f64)], places: &[f64], span: f64) -> Vec<f64> {
    if points.is_empty() {
        return Vec::new();
    }
    let near = ((span * points.len() as f64 + 1e-10) as usize).clamp(2, points.len().max(2));
    places
        .iter()
        .map(|&place| local_line(points, place, near))
        .collect()
}

fn local_line(points: &[(f64, f64)], place: f64, near: usize) -> f64 {
    let mut distances: Vec<f64> = points.iter().map(|(x, _)| (x - place).abs()).collect();
    distances.sort_unstable_by(f64::total_cmp);
    let reach = distances[near.min(points.len()) - 1];
    let weight = |x: f64| {
        let distance = (x - place).abs();
        match reach > 0.0 {
            true => (1.0 - (distance / reach).min(1.0).powi(3)).powi(3),
            // All neighbours lie here.
            false => f64::from(u8::from(distance == 0.0)),
        }
    };
    let sum = |value: &dyn Fn(f64, f64) -> f64| -> f64 {
        points.iter().map(|&(x, y)| weight(x) * value(x, y)).sum()
    };
    let total = sum(&|_, _| 1.0);
    let (mean_x, mean_y) = (sum(&|x, _| x) / total, sum(&|_, y| y) / total);
    let spread = sum(&|x, _| (x - mean_x).powi(2)) / total;
    let width = distances[distances.len() - 1].max(1e-300);
    if spread <= (1e-3 * width).powi(2) {
        return mean_y;
    }
    let slope = sum(&|x, y| (x - mean_x) * (y - mean_y)) / total / spread;
    mean_y + slope * (place - mean_x)
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 10] = [1.0, 2.0, 3.0, 4.5, 5.0, 7.0, 8.0, 9.5, 10.0, 12.0];
    const Y: [f64; 10] = [0.1, 0.3, 0.2, 0.5, 0.4, 0.8, 0.6, 0.9, 0.7, 1.0];

    #[test]
    fn the_line_is_that_of_statsmodels() {
        // statsmodels 0.15.0: lowess(y, x, frac=SPAN, it=0, delta=0.0)
        let half = [
            0.14038133412980772,
            0.2074077541117395,
            0.27609633879187223,
            0.41207072468955397,
            0.48768861144597464,
            0.6932512083430494,
            0.7363176094374005,
            0.7681060870343308,
            0.8137945266259061,
            0.9843075681799978,
        ];
        let wide = [
            0.1247789450072867,
            0.20919396297811416,
            0.2965953896294296,
            0.428997528915049,
            0.4821760004692258,
            0.6429890113050234,
            0.7155836321306082,
            0.7986741409684944,
            0.8297488087923212,
            0.9585473350704431,
        ];
        let points: Vec<(f64, f64)> = X.into_iter().zip(Y).collect();
        for (span, expected) in [(0.5, half), (0.75, wide)] {
            let found = loess(&points, &X, span);
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{span}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_line_stays_a_line_and_ties_are_means() {
        let line: Vec<(f64, f64)> = X.iter().map(|&x| (x, 0.25 + 0.5 * x)).collect();
        for (place, found) in X.iter().zip(loess(&line, &X, SPAN)) {
            assert!((found - (0.25 + 0.5 * place)).abs() < 1e-9);
        }
        let ties = [(2.0, 0.0), (2.0, 1.0), (2.0, 0.5), (2.0, 0.5)];
        assert_eq!(loess(&ties, &[2.0], SPAN), [0.5]);
        assert_eq!(loess(&[(1.0, 0.25)], &[1.0], SPAN), [0.25]);
        assert!(loess(&[], &[1.0], SPAN).is_empty());
    }
}
