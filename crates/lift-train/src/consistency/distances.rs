//! Distances within a class, and how far two samples of them lie apart. No tensors.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};
use serde::{Deserialize, Serialize};

/// Random splits of a class's images that give the distance by chance.
pub const PERMUTATIONS: usize = 50;

/// The quantiles of [`Gap::train_quantiles`] and [`Gap::test_quantiles`].
pub const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

/// How the distances within a class differ between its training and its test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// Mean distance of two training images: 0 the same direction, 1 at a right angle, 2 opposite.
    pub train_mean: f64,
    /// Mean distance of two test images.
    pub test_mean: f64,
    /// Wasserstein-1 distance of the two distributions.
    pub distance: f64,
    /// What it is on average when the same images are dealt to training and test at random, as many to each: small
    /// classes lie apart by chance, so that a figure without this one says little.
    pub by_chance: f64,
    /// Quantiles of the distances of two training images, see [`QUANTILES`].
    pub train_quantiles: [f64; 5],
    /// Of two test images.
    pub test_quantiles: [f64; 5],
}

impl Gap {
    /// The mean of each figure; none of nothing.
    pub fn mean<'a>(gaps: impl Iterator<Item = &'a Self>) -> Option<Self> {
        let gaps: Vec<&Self> = gaps.collect();
        if gaps.is_empty() {
            return None;
        }
        let of = |figure: &dyn Fn(&Self) -> f64| {
            gaps.iter().map(|gap| figure(gap)).sum::<f64>() / gaps.len() as f64
        };
        Some(Self {
            train_mean: of(&|gap| gap.train_mean),
            test_mean: of(&|gap| gap.test_mean),
            distance: of(&|gap| gap.distance),
            by_chance: of(&|gap| gap.by_chance),
            train_quantiles: std::array::from_fn(|i| of(&|gap| gap.train_quantiles[i])),
            test_quantiles: std::array::from_fn(|i| of(&|gap| gap.test_quantiles[i])),
        })
    }
}

/// Compares the vectors, all of length one, of a class's training and test images; none with fewer than two of a split.
/// `seed` and `class` are those of the splits by chance.
pub fn gap(train: &[&[f32]], test: &[&[f32]], seed: u64, class: u64) -> Option<Gap> {
    if train.len() < 2 || test.len() < 2 {
        return None;
    }
    let all: Vec<&[f32]> = train.iter().chain(test).copied().collect();
    let matrix = Matrix::new(&all);
    let mut order: Vec<usize> = (0..all.len()).collect();
    let split = |order: &[usize]| {
        let (train, test) = order.split_at(train.len());
        [matrix.within(train), matrix.within(test)]
    };
    let [train, test] = split(&order);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(class);
    let mut by_chance = 0.0;
    for _ in 0..PERMUTATIONS {
        for i in (1..order.len()).rev() {
            let other = (u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64;
            order.swap(i, other as usize);
        }
        let [a, b] = split(&order);
        by_chance += wasserstein_1(&a, &b);
    }
    Some(Gap {
        train_mean: mean(&train),
        test_mean: mean(&test),
        distance: wasserstein_1(&train, &test),
        by_chance: by_chance / PERMUTATIONS as f64,
        train_quantiles: QUANTILES.map(|share| quantile(&train, share)),
        test_quantiles: QUANTILES.map(|share| quantile(&test, share)),
    })
}

/// Cosine distances `1 - <a, b>` of all pairs of vectors of length one, ascending.
pub fn pair_distances(vectors: &[&[f32]]) -> Vec<f64> {
    let all: Vec<usize> = (0..vectors.len()).collect();
    Matrix::new(vectors).within(&all)
}

/// The Wasserstein-1 distance of two samples in ascending order, neither of them empty: the area between their
/// distribution functions.
pub fn wasserstein_1(a: &[f64], b: &[f64]) -> f64 {
    let (mut i, mut j, mut at, mut area) = (0, 0, f64::NEG_INFINITY, 0.0);
    while i < a.len() || j < b.len() {
        let next = match (a.get(i), b.get(j)) {
            (Some(&a), Some(&b)) => a.min(b),
            (Some(&only), None) | (None, Some(&only)) => only,
            (None, None) => unreachable!("one of them has values left"),
        };
        let apart = i as f64 / a.len() as f64 - j as f64 / b.len() as f64;
        if apart != 0.0 {
            area += apart.abs() * (next - at);
        }
        at = next;
        i += a[i..].iter().take_while(|&&value| value == next).count();
        j += b[j..].iter().take_while(|&&value| value == next).count();
    }
    area
}

/// The distances of all pairs of vectors.
struct Matrix {
    side: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn new(vectors: &[&[f32]]) -> Self {
        let side = vectors.len();
        let mut values = vec![0.0; side * side];
        for i in 0..side {
            for j in i + 1..side {
                let products = vectors[i].iter().zip(vectors[j]);
                let cosine: f64 = products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                // Rounding may put a cosine above 1.
                let distance = (1.0 - cosine).max(0.0);
                values[i * side + j] = distance;
                values[j * side + i] = distance;
            }
        }
        Self { side, values }
    }

    /// Distances of all pairs of these, ascending.
    fn within(&self, chosen: &[usize]) -> Vec<f64> {
        let mut distances = Vec::with_capacity(chosen.len() * chosen.len().saturating_sub(1) / 2);
        for (i, &a) in chosen.iter().enumerate() {
            distances.extend(
                chosen[i + 1..]
                    .iter()
                    .map(|&b| self.values[a * self.side + b]),
            );
        }
        distances.sort_unstable_by(f64::total_cmp);
        distances
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// With linear interpolation between ascending values, as NumPy takes it.
fn quantile(values: &[f64], share: f64) -> f64 {
    let position = share * (values.len() - 1) as f64;
    let (low, rest) = (position as usize, position.fract());
    let high = values[(low + 1).min(values.len() - 1)];
    values[low] + rest * (high - values[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn distances_of_samples_are_scipys() {
        // scipy 1.17.1: scipy.stats.wasserstein_distance
        let w = wasserstein_1(&[0.1, 0.2, 0.4], &[0.1, 0.3, 0.3, 0.9]);
        assert!((w - 0.18333333333333332).abs() < 1e-15, "{w}");
        assert_eq!(wasserstein_1(&[0.0, 1.0, 3.0], &[5.0, 6.0, 8.0]), 5.0);
        assert_eq!(wasserstein_1(&[0.5, 0.5, 0.5], &[0.5]), 0.0);
        assert_eq!(wasserstein_1(&[1.0, 2.0, 2.0, 3.0], &[2.0]), 0.5);
    }

    /// Three training and four test vectors in the plane.
    fn vectors() -> ([[f32; 2]; 3], [[f32; 2]; 4]) {
        (
            [[0.6, 0.8], [1.0, 0.0], [0.8, 0.6]],
            [[0.0, 1.0], [-1.0, 0.0], [0.6, -0.8], [1.0, 0.0]],
        )
    }

    #[test]
    fn a_class_is_compared_as_scipy_and_numpy_would() {
        let (train, test) = vectors();
        let train: Vec<&[f32]> = train.iter().map(|v| v.as_slice()).collect();
        let test: Vec<&[f32]> = test.iter().map(|v| v.as_slice()).collect();
        // scipy 1.17.1, numpy: pdist(..., "cosine"), wasserstein_distance, mean, quantile
        let found = gap(&train, &test, 0, 0).unwrap();
        assert!(near(found.distance, 1.0866666666666667), "{found:?}");
        assert!(near(found.train_mean, 0.21333333333333335));
        assert!(near(found.test_mean, 1.3));
        for (a, b) in found
            .train_quantiles
            .iter()
            .zip([0.056, 0.12, 0.2, 0.3, 0.38])
        {
            assert!(near(*a, b), "{found:?}");
        }
        for (a, b) in found
            .test_quantiles
            .iter()
            .zip([0.55, 1.0, 1.3, 1.75, 1.95])
        {
            assert!(near(*a, b), "{found:?}");
        }
        // The mean over all 35 splits is 0.6781, a split's deviation 0.2540: three deviations of a mean of 50.
        let of_50 = 3.0 * 0.2540 / f64::from(PERMUTATIONS as u32).sqrt();
        assert!((found.by_chance - 0.6781).abs() < of_50, "{found:?}");
        assert_eq!(gap(&train, &test, 0, 0).unwrap(), found);
        assert_ne!(gap(&train, &test, 1, 0).unwrap().by_chance, found.by_chance);
        assert_ne!(gap(&train, &test, 0, 1).unwrap().by_chance, found.by_chance);
    }

    #[test]
    fn one_image_has_no_distance_and_equal_images_have_none_between_them() {
        let (train, test) = vectors();
        let test: Vec<&[f32]> = test.iter().map(|v| v.as_slice()).collect();
        assert_eq!(gap(&[&train[0]], &test, 0, 0), None);
        assert_eq!(gap(&test, &[&train[0]], 0, 0), None);
        let same = gap(&test, &test, 0, 0).unwrap();
        assert_eq!((same.distance, same.train_mean), (0.0, same.test_mean));
        assert_eq!(pair_distances(&test[..2]), [1.0]);
    }
}
