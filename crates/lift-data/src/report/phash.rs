//! A perceptual hash: 64 bits that stay nearly the same when an image is encoded again, resized or
//! brightened.
//!
//! Method: the 8x8 lowest frequencies but the zeroth of a DCT-II over 32x32 mean lumas; a bit says whether
//! a coefficient lies above the median of the 64. Our own code, after the idea known as pHash. It sees no
//! colour. Invariant: the hash depends on the 32x32 lumas alone.

use std::sync::OnceLock;

/// Lumas a side.
pub const SIDE: usize = 32;
/// Frequencies a side.
const FREQUENCIES: usize = 8;
/// An image whose lumas vary by less (standard deviation, grey levels) has no hash: its bits would be noise.
pub const FLAT_BELOW: f64 = 2.0;

/// The hash of 32x32 lumas, rows from the top; `None` for an image that is nearly one colour.
pub fn phash(luma: &[f32; SIDE * SIDE]) -> Option<u64> {
    let mean = luma.iter().map(|&v| f64::from(v)).sum::<f64>() / luma.len() as f64;
    let variance = luma
        .iter()
        .map(|&v| (f64::from(v) - mean).powi(2))
        .sum::<f64>()
        / luma.len() as f64;
    if variance.sqrt() < FLAT_BELOW {
        return None;
    }
    let basis = basis();
    // Rows first: for each row its frequencies 1 to 8.
    let mut rows = [[0.0_f32; FREQUENCIES]; SIDE];
    for (row, out) in luma.chunks_exact(SIDE).zip(&mut rows) {
        for (out, wave) in out.iter_mut().zip(basis) {
            *out = row.iter().zip(wave).map(|(a, b)| a * b).sum();
        }
    }
    let mut coefficients = [0.0_f32; FREQUENCIES * FREQUENCIES];
    for (v, wave) in basis.iter().enumerate() {
        for u in 0..FREQUENCIES {
            let column = rows.iter().zip(wave).map(|(row, b)| row[u] * b);
            coefficients[v * FREQUENCIES + u] = column.sum();
        }
    }
    let mut sorted = coefficients;
    sorted.sort_unstable_by(f32::total_cmp);
    let median = (sorted[31] + sorted[32]) / 2.0;
    let bits = coefficients.iter().enumerate();
    Some(bits.fold(0, |hash, (i, &value)| {
        hash | (u64::from(value > median) << i)
    }))
}

/// Cosines of frequencies 1 to 8.
fn basis() -> &'static [[f32; SIDE]; FREQUENCIES] {
    static BASIS: OnceLock<[[f32; SIDE]; FREQUENCIES]> = OnceLock::new();
    BASIS.get_or_init(|| {
        let mut basis = [[0.0; SIDE]; FREQUENCIES];
        for (u, wave) in basis.iter_mut().enumerate() {
            for (x, value) in wave.iter_mut().enumerate() {
                let angle = (2 * x + 1) as f64 * (u + 1) as f64 * std::f64::consts::PI;
                *value = (angle / (2 * SIDE) as f64).cos() as f32;
            }
        }
        basis
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(pixel: impl Fn(f32, f32) -> f32) -> Option<u64> {
        let mut luma = [0.0; SIDE * SIDE];
        for (at, value) in luma.iter_mut().enumerate() {
            *value = pixel((at % SIDE) as f32, (at / SIDE) as f32);
        }
        phash(&luma)
    }

    #[test]
    fn brightness_and_contrast_do_not_matter() {
        let picture =
            |x: f32, y: f32| 100.0 + 40.0 * (x * 0.3).sin() + 30.0 * (y * 0.21 + x * 0.1).cos();
        let plain = hash(picture).unwrap();
        assert!((plain ^ hash(|x, y| picture(x, y) + 25.0).unwrap()).count_ones() <= 1);
        assert!((plain ^ hash(|x, y| picture(x, y) * 1.2).unwrap()).count_ones() <= 1);
        // Half of the bits are set, by construction.
        assert_eq!(plain.count_ones(), 32);
        let other = hash(|x, y| 100.0 + 40.0 * (x * 0.7).sin() * (y * 0.5).sin()).unwrap();
        assert!(
            (plain ^ other).count_ones() > 12,
            "{}",
            (plain ^ other).count_ones()
        );
    }

    #[test]
    fn a_pure_wave_sets_its_own_bit_apart() {
        // cos of frequency 3 across and 2 down: one coefficient stands above all others.
        let wave = |n: f32, at: f32| ((2.0 * at + 1.0) * n * std::f32::consts::PI / 64.0).cos();
        let plus = hash(|x, y| 128.0 + 100.0 * wave(3.0, x) * wave(2.0, y)).unwrap();
        let minus = hash(|x, y| 128.0 - 100.0 * wave(3.0, x) * wave(2.0, y)).unwrap();
        let bit = 1 << (8 + 2);
        assert_eq!((plus & bit, minus & bit), (bit, 0));
    }

    #[test]
    fn flat_images_have_none() {
        assert_eq!(hash(|_, _| 77.0), None);
        assert_eq!(hash(|x, _| 77.0 + x / 32.0), None);
    }
}
