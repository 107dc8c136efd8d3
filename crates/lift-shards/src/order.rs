//! The order in which a list's images become rows.
//!
//! A row's id stays its image's position in the list, whatever the order. Invariant: the order depends
//! on the seed and the number of images alone; it takes 8 bytes of memory an image, or none.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};

/// How rows follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As the images stand in the list.
    #[default]
    List,
    /// Shuffled once by the seed, so that reading front to back meets classes in random order.
    Shuffled,
}

impl Order {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 2] = [
        (Self::List, "list", "As the images stand in the list"),
        (
            Self::Shuffled,
            "shuffled",
            "Shuffled once by the seed, so that reading front to back meets classes in random order",
        ),
    ];
}

/// Which image becomes which row.
#[derive(Debug)]
pub struct Positions {
    /// `None`: row n is image n.
    shuffled: Option<Vec<usize>>,
}

impl Positions {
    /// The order of so many images.
    pub fn new(order: Order, seed: u64, images: usize) -> Self {
        let shuffled = match order {
            Order::List => None,
            Order::Shuffled => Some(shuffled(seed, images)),
        };
        Self { shuffled }
    }

    /// The position in the list of the image that comes `nth`.
    pub fn image(&self, nth: usize) -> usize {
        self.shuffled.as_ref().map_or(nth, |order| order[nth])
    }
}

/// Fisher and Yates' shuffle. The draws are written out because a release of `rand` may map words to
/// ranges in another way.
fn shuffled(seed: u64, images: usize) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[24..].copy_from_slice(b"roworder");
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<_> = (0..images).collect();
    for last in (1..images).rev() {
        // 64 random bits times n, high word: the bias is below n / 2^64.
        let draw = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, draw as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64, images: usize) -> Vec<usize> {
        let positions = Positions::new(Order::Shuffled, seed, images);
        (0..images).map(|nth| positions.image(nth)).collect()
    }

    #[test]
    fn every_image_comes_once_and_the_seed_decides_when() {
        for images in [0, 1, 2, 1000] {
            let mut sorted = order(7, images);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..images).collect::<Vec<_>>());
        }
        assert_eq!(order(7, 1000), order(7, 1000));
        assert_ne!(order(7, 1000), order(8, 1000));
        assert_eq!(Positions::new(Order::List, 7, 10).image(3), 3);
    }

    #[test]
    fn all_orders_are_about_equally_frequent() {
        let mut counts = std::collections::BTreeMap::new();
        for seed in 0..6000 {
            *counts.entry(order(seed, 3)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // 1000 expected, standard deviation 29.
        assert!(
            counts.values().all(|&n| (850..1150).contains(&n)),
            "{counts:?}"
        );
    }
}
