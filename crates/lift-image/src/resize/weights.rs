//! What each output pixel of a pass takes from which inputs: Catmull-Rom, widened when shrinking.
//!
//! Invariant: weights, order of summation and rounding are `fast_image_resize`'s, so that both give the same bytes.

/// The weights of one pass, in fixed point.
#[derive(Debug)]
pub(super) struct Weights {
    /// Bits behind the point.
    pub(super) precision: u32,
    /// The first input of each output.
    pub(super) starts: Vec<u32>,
    /// Weights of an output, an even number; those beyond its last input are 0.
    pub(super) taps: usize,
    /// `taps` for each output.
    pub(super) values: Vec<i16>,
}

impl Weights {
    /// For `from` inputs and `to` outputs, both at least 1.
    pub(super) fn new(from: u32, to: u32) -> Self {
        let scale = f64::from(from) / f64::from(to);
        let widened = scale.max(1.0);
        let (radius, narrowed) = (2.0 * widened, 1.0 / widened);
        let (mut starts, mut rows) = (Vec::new(), Vec::new());
        for output in 0..to {
            let center = (f64::from(output) + 0.5) * scale;
            let start = (center - radius).floor().max(0.0) as u32;
            let end = ((center + radius).ceil() as u32).min(from);
            let weight = |x: u32| catmull_rom((f64::from(x) - (center - 0.5)) * narrowed);
            let first = (start..end).find(|&x| weight(x) != 0.0).unwrap_or(start);
            let mut row: Vec<f64> = (first..end).map(weight).collect();
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|weight| *weight /= sum);
            starts.push(first);
            rows.push(row);
        }
        let precision = precision(rows.iter().flatten().copied().fold(0.0, f64::max));
        let unit = f64::from(1 << precision);
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        let taps = longest.next_multiple_of(2);
        let mut values = Vec::with_capacity(taps * rows.len());
        for row in rows {
            values.extend(row.iter().map(|weight| (weight * unit).round() as i16));
            values.resize(values.len().next_multiple_of(taps), 0);
        }
        Self {
            precision,
            starts,
            taps,
            values,
        }
    }
}

/// As many bits as leave the largest weight below 2^15; two of 32 are for sums beyond 0..=255.
fn precision(largest: f64) -> u32 {
    let fits = |bits: &u32| (largest * f64::from(1 << (bits + 1))).round() < f64::from(1 << 15);
    (0..21).find(|bits| !fits(bits)).unwrap_or(21)
}

fn catmull_rom(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}
