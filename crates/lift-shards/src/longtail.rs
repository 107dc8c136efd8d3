//! Long-tailed subsets of a balanced dataset: how many images each class keeps, and which ones.
//!
//! It knows labels only, no images. Invariant: for the same labels, imbalance ratio and seed the
//! choice equals that of LIFT's reference code, which uses NumPy's legacy generator (MT19937 and the
//! legacy Fisher-Yates shuffle), bit for bit.

use rand_mt::Mt;

use crate::error::{Error, Result};

/// The images each of `num_classes` classes keeps for imbalance ratio `ratio` (largest class over
/// smallest): class c of C keeps `floor(max_count * (1/ratio)^(c/(C-1)))`.
///
/// A ratio below 1 or not finite is an error.
pub fn exponential_counts(max_count: u64, num_classes: usize, ratio: f64) -> Result<Vec<u64>> {
    if !(ratio.is_finite() && ratio >= 1.0) {
        return Err(Error::ImbalanceRatio { ratio });
    }
    let last = num_classes.saturating_sub(1).max(1) as f64;
    Ok((0..num_classes)
        .map(|class| (max_count as f64 * (1.0 / ratio).powf(class as f64 / last)) as u64)
        .collect())
}

/// The positions in `labels` that the long-tailed subset keeps: class after class in label order,
/// within a class in the order in which the shuffle put them.
///
/// `counts[c]` is how many of class c are kept (all of them where fewer are there); labels beyond
/// `counts` are never chosen.
pub fn select(labels: &[u32], counts: &[u64], seed: u32) -> Vec<usize> {
    let mut of_class = vec![Vec::new(); counts.len()];
    for (index, &label) in labels.iter().enumerate() {
        if let Some(indices) = of_class.get_mut(label as usize) {
            indices.push(index);
        }
    }
    let mut generator = Mt::new(seed);
    let mut kept = Vec::new();
    for (indices, &count) in of_class.iter_mut().zip(counts) {
        shuffle(&mut generator, indices);
        let count = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .min(indices.len());
        kept.extend_from_slice(&indices[..count]);
    }
    kept
}

/// NumPy's `RandomState.shuffle`: from the end, each draw over `0..=i`.
fn shuffle(generator: &mut Mt, items: &mut [usize]) {
    for i in (1..items.len()).rev() {
        let j = draw_up_to(generator, i as u32);
        items.swap(i, j as usize);
    }
}

/// NumPy's `random_interval`: masked 32-bit words, drawn again while above `max`.
fn draw_up_to(generator: &mut Mt, max: u32) -> u32 {
    let mask = u32::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
    loop {
        let value = generator.next_u32() & mask;
        if value <= max {
            return value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::shared;

    #[derive(serde::Deserialize)]
    struct Golden {
        classes: u64,
        images: u64,
        imbalance_ratio: f64,
        seed: u32,
        total: usize,
        counts: Vec<u64>,
        first_class_indices: Vec<usize>,
        last_class_indices: Vec<usize>,
        sum_of_indices: usize,
        order_hash: u64,
    }

    /// The golden's labels: `(i*7+3) mod 100` for 100 classes, `(i*3+1) mod 10` for 10.
    fn golden_label(i: u64, classes: u64) -> u32 {
        let label = if classes == 100 { i * 7 + 3 } else { i * 3 + 1 };
        (label % classes) as u32
    }

    #[test]
    fn equals_numpys_legacy_choice() {
        let Some(path) = shared("golden/splits/cifar-lt.json") else {
            return;
        };
        let goldens: Vec<Golden> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        for golden in goldens {
            let labels: Vec<u32> = (0..golden.images)
                .map(|i| golden_label(i, golden.classes))
                .collect();
            let max = golden.images / golden.classes;
            let counts =
                exponential_counts(max, golden.classes as usize, golden.imbalance_ratio).unwrap();
            assert_eq!(counts, golden.counts);
            let kept = select(&labels, &counts, golden.seed);
            assert_eq!(kept.len(), golden.total);
            assert_eq!(kept[..20], golden.first_class_indices);
            assert!(kept.ends_with(&golden.last_class_indices));
            assert_eq!(kept.iter().sum::<usize>(), golden.sum_of_indices);
            let modulus = (1_u128 << 61) - 1;
            let hash = kept
                .iter()
                .fold(0_u128, |h, &i| (h * 1_000_003 + i as u128) % modulus);
            assert_eq!(hash, u128::from(golden.order_hash));
        }
    }

    #[test]
    fn counts_of_the_paper() {
        for (ratio, total) in [
            (100.0, 10_847),
            (50.0, 12_608),
            (10.0, 19_573),
            (1.0, 50_000),
        ] {
            let counts = exponential_counts(500, 100, ratio).unwrap();
            assert_eq!(counts.iter().sum::<u64>(), total, "imbalance ratio {ratio}");
        }
        assert_eq!(exponential_counts(7, 1, 100.0).unwrap(), [7]);
        assert!(exponential_counts(500, 100, 0.5).is_err());
        assert!(exponential_counts(500, 100, f64::NAN).is_err());
    }
}
