//! Which images an epoch draws, and how often: instance, class-balanced, square-root and progressive sampling (Kang et
//! al. 2020, arXiv 1910.09217).
//!
//! An epoch has as many draws as there are images. Instance sampling visits each image once; the others draw a class,
//! then one of its images, with replacement. Invariant: draws are a function of (seed, epoch) and the labels. The loss
//! still knows the training counts: a sampler changes what is seen, not the prior.

use serde::{Deserialize, Serialize};

use super::{
    epoch::{Draw, Draws},
    streams::{below, draw_stream, sample_stream, unit},
};

/// How training images are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Each image once an epoch.
    #[default]
    Instance,
    /// Every class as often as every other.
    ClassBalanced,
    /// A class by the square root of its images.
    SquareRoot,
    /// From the classes' own shares in the first epoch to class-balanced in the last.
    Progressive,
}

impl Sampler {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 4] = [
        (Self::Instance, "instance", "Each image once an epoch"),
        (
            Self::ClassBalanced,
            "class-balanced",
            "Every class as often as every other",
        ),
        (
            Self::SquareRoot,
            "square-root",
            "A class by the square root of its images",
        ),
        (
            Self::Progressive,
            "progressive",
            "From the classes' own shares in the first epoch to class-balanced in the last",
        ),
    ];
}

impl Sampler {
    /// `instance`, `class-balanced`, `square-root` or `progressive`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::ClassBalanced => "class-balanced",
            Self::SquareRoot => "square-root",
            Self::Progressive => "progressive",
        }
    }

    /// The draws of `epoch` of `epochs` over rows with these labels, in order; as many as rows.
    ///
    /// Progressive sampling is at `epoch / (epochs - 1)` of its way; a single epoch counts as the beginning.
    pub fn draws(self, labels: &[u32], seed: u64, epoch: usize, epochs: usize) -> Draws {
        let rows = labels.len();
        if self == Self::Instance {
            return Draws::shuffled(rows, seed, epoch);
        }
        let by_class = rows_by_class(labels);
        let counts: Vec<f64> = by_class.iter().map(|rows| rows.len() as f64).collect();
        let present = counts.iter().filter(|&&n| n > 0.0).count() as f64;
        let balanced = |n: f64| if n > 0.0 { 1.0 / present } else { 0.0 };
        let progress = epoch as f64 / epochs.saturating_sub(1).max(1) as f64;
        let weights: Vec<f64> = match self {
            Self::Instance => counts.clone(),
            Self::ClassBalanced => counts.iter().map(|&n| balanced(n)).collect(),
            Self::SquareRoot => counts.iter().map(|n| n.sqrt()).collect(),
            Self::Progressive => counts
                .iter()
                .map(|&n| (1.0 - progress) * n / rows as f64 + progress * balanced(n))
                .collect(),
        };
        let upper = cumulative(&weights);
        let mut rng = draw_stream(seed, epoch);
        let mut seen = vec![0u32; rows];
        let draws = (0..rows).map(|_| {
            let point = unit(&mut rng) * upper.last().copied().unwrap_or(0.0);
            // The first class whose share ends beyond the point; it has images, for a share of nothing ends where
            // it begins. Rounding may put the point on the end of all.
            let class = upper.partition_point(|&end| end <= point);
            let of_class = match by_class.get(class) {
                Some(rows) => rows,
                None => by_class
                    .iter()
                    .rfind(|rows| !rows.is_empty())
                    .expect("a row"),
            };
            let row = of_class[below(&mut rng, of_class.len() as u64) as usize];
            let repeat = seen[row];
            seen[row] += 1;
            Draw { row, repeat }
        });
        Draws::listed(draws.collect())
    }
}

/// The rows of each label, in order.
pub fn rows_by_class(labels: &[u32]) -> Vec<Vec<usize>> {
    let classes = labels.iter().max().map_or(0, |&last| last as usize + 1);
    let mut by_class = vec![Vec::new(); classes];
    for (row, &label) in labels.iter().enumerate() {
        by_class[label as usize].push(row);
    }
    by_class
}

/// At most `limit` rows of each class, chosen by the seed, in the rows' order.
pub fn sample(by_class: &[Vec<usize>], limit: usize, seed: u64) -> Vec<usize> {
    let mut chosen = Vec::new();
    for (class, rows) in by_class.iter().enumerate() {
        let mut rows = rows.clone();
        let mut rng = sample_stream(seed, class as u64);
        for i in 0..limit.min(rows.len()) {
            let other = i + below(&mut rng, (rows.len() - i) as u64) as usize;
            rows.swap(i, other);
        }
        rows.truncate(limit);
        chosen.extend(rows);
    }
    chosen.sort_unstable();
    chosen
}

fn cumulative(weights: &[f64]) -> Vec<f64> {
    let sums = weights.iter().scan(0.0, |sum, weight| {
        *sum += weight;
        Some(*sum)
    });
    sums.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Shuffle;

    /// 9000, 900 and 100 images of classes 0, 1 and 3; class 2 has none.
    fn labels() -> Vec<u32> {
        [(0, 9000), (1, 900), (3, 100)]
            .into_iter()
            .flat_map(|(label, n)| std::iter::repeat_n(label, n))
            .collect()
    }

    fn shares(draws: &[Draw], labels: &[u32]) -> [f64; 4] {
        let mut shares = [0.0; 4];
        for draw in draws {
            shares[labels[draw.row] as usize] += 1.0 / draws.len() as f64;
        }
        shares
    }

    #[test]
    fn classes_have_their_shares() {
        let labels = labels();
        let third = 1.0 / 3.0;
        // Square roots 94.87, 30 and 10 of 134.87; half-way: the mean of n / 10000 and 1/3.
        for (sampler, epoch, wanted) in [
            (Sampler::Instance, 0, [0.9, 0.09, 0.0, 0.01]),
            (Sampler::ClassBalanced, 0, [third, third, 0.0, third]),
            (Sampler::SquareRoot, 0, [0.7034, 0.2224, 0.0, 0.0741]),
            (Sampler::Progressive, 0, [0.9, 0.09, 0.0, 0.01]),
            (Sampler::Progressive, 2, [0.6167, 0.2117, 0.0, 0.1717]),
            (Sampler::Progressive, 4, [third, third, 0.0, third]),
        ] {
            let draws: Vec<Draw> = sampler.draws(&labels, 3, epoch, 5).iter().collect();
            assert_eq!(draws.len(), labels.len());
            for (share, wanted) in shares(&draws, &labels).into_iter().zip(wanted) {
                // Five standard deviations of a binomial share.
                let bound = 5.0 * (wanted * (1.0 - wanted) / labels.len() as f64).sqrt() + 1e-4;
                assert!(
                    (share - wanted).abs() < bound,
                    "{sampler:?} {share} {wanted}"
                );
            }
        }
    }

    #[test]
    fn images_of_a_class_are_drawn_alike() {
        let labels = labels();
        let draws = Sampler::ClassBalanced.draws(&labels, 0, 0, 1);
        let mut seen = vec![0.0; labels.len()];
        draws.iter().for_each(|draw| seen[draw.row] += 1.0);
        // 3333 draws of 100 images: chi-squared with 99 degrees of freedom, far below 200.
        let mean = seen[9900..].iter().sum::<f64>() / 100.0;
        let chi: f64 = seen[9900..].iter().map(|n| (n - mean).powi(2) / mean).sum();
        assert!(chi < 200.0, "{chi}");
    }

    #[test]
    fn instance_sampling_is_the_epochs_order() {
        let labels = labels();
        let draws = Sampler::Instance.draws(&labels, 5, 2, 3);
        let rows: Vec<usize> = draws.iter().map(|draw| draw.row).collect();
        assert!(Shuffle::new(labels.len(), 5, 2).rows().eq(rows));
        assert!(draws.iter().all(|draw| draw.repeat == 0));
    }

    #[test]
    fn a_sample_has_the_limit_of_each_class_and_follows_the_seed() {
        let labels = labels();
        let by_class = rows_by_class(&labels);
        let chosen = sample(&by_class, 150, 1);
        assert_eq!(chosen.len(), 150 + 150 + 100);
        assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
        let of_class = |class| chosen.iter().filter(|&&row| labels[row] == class).count();
        assert_eq!([0, 1, 2, 3].map(of_class), [150, 150, 0, 100]);
        assert_eq!(chosen, sample(&by_class, 150, 1));
        assert_ne!(chosen, sample(&by_class, 150, 2));
        // Not the first ones: their mean row is that of the class, 4500 with a deviation of 212.
        let mean = chosen[..150].iter().sum::<usize>() as f64 / 150.0;
        assert!((mean - 4500.0).abs() < 5.0 * 212.0, "{mean}");
    }

    #[test]
    fn draws_follow_seed_and_epoch_and_number_their_repeats() {
        let labels = labels();
        let draw = |seed, epoch| -> Vec<Draw> {
            let draws = Sampler::SquareRoot.draws(&labels, seed, epoch, 9);
            draws.iter().collect()
        };
        let draws = draw(0, 0);
        assert_eq!(draws, draw(0, 0));
        assert_ne!(draws, draw(1, 0));
        assert_ne!(draws, draw(0, 1));
        let mut pairs: Vec<_> = draws.iter().map(|d| (d.row, d.repeat)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), draws.len(), "no draw is another one again");
        for pair in pairs.windows(2) {
            let follows = pair[1].1 == pair[0].1 + 1 && pair[1].0 == pair[0].0;
            assert!(follows || pair[1].1 == 0, "{pair:?}");
        }
        assert!(Sampler::ClassBalanced.draws(&[], 0, 0, 1).is_empty());
        let only = Sampler::Progressive.draws(&[2], 0, 0, 1);
        assert!(only.iter().eq([Draw::first(0)]));
    }
}
