//! The order of rows in an epoch, and the random stream of an image.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// Rows `0..rows` in the shuffled order of an epoch (instance sampling: each row once).
pub fn epoch_order(rows: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut rng = stream(seed, epoch, 0, b"order");
    let mut order: Vec<usize> = (0..rows).collect();
    for i in (1..rows).rev() {
        order.swap(i, below(&mut rng, i as u64 + 1) as usize);
    }
    order
}

/// The random stream that augments one image in one epoch.
pub fn image_rng(seed: u64, epoch: usize, id: u64) -> ChaCha8Rng {
    draw_rng(seed, epoch, id, 0)
}

/// As [`image_rng`], for the draw of an image that has been drawn `repeat` times before in the epoch.
pub(super) fn draw_rng(seed: u64, epoch: usize, id: u64, repeat: u32) -> ChaCha8Rng {
    let mut purpose = *b"crop\0\0\0\0";
    purpose[4..].copy_from_slice(&repeat.to_le_bytes());
    stream(seed, epoch, id, &purpose)
}

/// The random stream that draws the images of an epoch.
pub(super) fn draw_stream(seed: u64, epoch: usize) -> ChaCha8Rng {
    stream(seed, epoch, 0, b"draws")
}

/// The random stream that places test-time crops of one image.
pub(super) fn view_rng(seed: u64, id: u64) -> ChaCha8Rng {
    stream(seed, 0, id, b"view")
}

/// The random stream that chooses a sample of a class.
pub(super) fn sample_stream(seed: u64, class: u64) -> ChaCha8Rng {
    stream(seed, 0, class, b"sample")
}

fn stream(seed: u64, epoch: usize, id: u64, purpose: &[u8]) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(epoch as u64).to_le_bytes());
    key[16..24].copy_from_slice(&id.to_le_bytes());
    key[24..24 + purpose.len()].copy_from_slice(purpose);
    ChaCha8Rng::from_seed(key)
}

/// Uniform in 0..1, 53 bits.
pub(super) fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Uniform in 0..n by multiplication; the bias is below n / 2^64.
pub(super) fn below(rng: &mut ChaCha8Rng, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_visits_each_row_once_in_an_order_of_its_own() {
        let first = epoch_order(1000, 0, 0);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).collect::<Vec<_>>());
        assert_eq!(first, epoch_order(1000, 0, 0));
        assert_ne!(first, epoch_order(1000, 0, 1));
        assert_ne!(first, epoch_order(1000, 1, 0));
        assert!(epoch_order(0, 0, 0).is_empty());
    }

    #[test]
    fn images_have_streams_of_their_own() {
        let draw = |seed, epoch, id| image_rng(seed, epoch, id).next_u64();
        let draws = [draw(0, 0, 0), draw(0, 0, 1), draw(0, 1, 0), draw(1, 0, 0)];
        for (i, a) in draws.iter().enumerate() {
            assert!(draws[i + 1..].iter().all(|b| a != b));
        }
        assert_eq!(draw(7, 3, 11), draw(7, 3, 11));
        let again = |repeat| draw_rng(7, 3, 11, repeat).next_u64();
        assert_eq!(again(0), draw(7, 3, 11));
        assert!(again(1) != again(0) && again(2) != again(1));
    }
}
