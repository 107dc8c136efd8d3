//! Random numbers of the drawings: a ChaCha stream for each drawing, and the few draws we need.
//!
//! Invariant: what a drawing gets depends on its own key only, never on other drawings, on the
//! number of threads or on how a release of `rand` maps words to ranges.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A source of random numbers.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

/// What a stream of random numbers is for; streams of different purposes never meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Training images of the dataset.
    Train,
    /// Test images of the dataset.
    Test,
    /// Images that the demo's CLIP is pre-trained with.
    Pretrain,
    /// Images that the pre-training is judged with.
    PretrainCheck,
    /// The pixel noise of a drawing.
    Noise,
    /// Which class gets how many images, and which pairs pre-training never sees.
    Plan,
}

impl Dice {
    /// The stream of drawing `index` of `class` for `purpose`.
    pub fn new(seed: u64, purpose: Purpose, class: u32, index: u64) -> Self {
        let purpose: u32 = match purpose {
            Purpose::Train => 1,
            Purpose::Test => 2,
            Purpose::Pretrain => 3,
            Purpose::PretrainCheck => 4,
            Purpose::Plan => 5,
            Purpose::Noise => 6,
        };
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..12].copy_from_slice(&purpose.to_le_bytes());
        key[12..16].copy_from_slice(&class.to_le_bytes());
        key[16..24].copy_from_slice(&index.to_le_bytes());
        key[24..].copy_from_slice(b"shapeslt");
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 32 random bits.
    pub fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// Uniform in `[0, 1)`, in steps of 2^-24.
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform over `0..n`; 0 when `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        ((u64::from(self.bits()) * u64::from(n)) >> 32) as u32
    }

    /// Uniform over `low..=high`.
    pub fn from_to(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high - low + 1)
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f32) -> bool {
        self.unit() < p
    }

    /// Random bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// Fisher-Yates.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u32 + 1);
            items.swap(i, j as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_its_key() {
        let words = |seed, purpose, class, index| {
            let mut dice = Dice::new(seed, purpose, class, index);
            [dice.bits(), dice.bits()]
        };
        let base = words(0, Purpose::Train, 0, 0);
        assert_eq!(base, words(0, Purpose::Train, 0, 0));
        for other in [
            words(1, Purpose::Train, 0, 0),
            words(0, Purpose::Test, 0, 0),
            words(0, Purpose::Pretrain, 0, 0),
            words(0, Purpose::Train, 1, 0),
            words(0, Purpose::Train, 0, 1),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn draws_stay_in_their_ranges() {
        let mut dice = Dice::new(3, Purpose::Plan, 0, 0);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            assert!((0.0..1.0).contains(&dice.unit()));
            assert!((2.0..4.0).contains(&dice.between(2.0, 4.0)));
            seen[dice.from_to(3, 7) as usize - 3] += 1;
        }
        assert!(seen.iter().all(|&n| n > 100), "{seen:?}");
        let mut items: Vec<u32> = (0..50).collect();
        dice.shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
