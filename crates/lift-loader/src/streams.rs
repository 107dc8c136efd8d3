//! Random streams, each a function of its purpose: the order of an epoch, an image's crop, a class's sample.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// The random stream that shuffles an epoch.
pub(super) fn order_stream(seed: u64, epoch: usize) -> ChaCha8Rng {
    stream(seed, epoch, 0, b"order")
}

/// The random streams that shuffle an epoch window by window.
pub(super) fn window_stream(seed: u64, epoch: usize, window: u64) -> ChaCha8Rng {
    stream(seed, epoch, window, b"window")
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
