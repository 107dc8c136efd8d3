//! The score interval of a share (Wilson 1927), 95 %.

/// The standard normal distribution's 97.5th percentile.
const Z: f64 = 1.959963984540054;

/// Lower and upper end for `right` of `total`; none of nothing.
pub fn wilson(right: u64, total: u64) -> Option<[f64; 2]> {
    if total == 0 {
        return None;
    }
    let (n, p) = (total as f64, right as f64 / total as f64);
    let scale = 1.0 + Z * Z / n;
    let center = (p + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    Some([(center - half).max(0.0), (center + half).min(1.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_those_of_statsmodels() {
        // statsmodels 0.15.0: proportion_confint(right, total, method="wilson")
        for (right, total, low, high) in [
            (0, 20, 0.0, 0.1611251580528194),
            (7, 20, 0.18119182410108203, 0.5671457233147638),
            (20, 20, 0.8388748419471804, 1.0),
            (1, 3, 0.06149194472039626, 0.7923403991979523),
        ] {
            let found = wilson(right, total).unwrap();
            assert!((found[0] - low).abs() < 1e-12, "{right}/{total}: {found:?}");
            assert!(
                (found[1] - high).abs() < 1e-12,
                "{right}/{total}: {found:?}"
            );
        }
        assert_eq!(wilson(0, 0), None);
    }
}
