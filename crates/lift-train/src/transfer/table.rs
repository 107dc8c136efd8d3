//! The normalised value of each byte in each channel, as words of the tower's kind.
//!
//! Whoever looks values up here has those of [`Normalisation::apply`] on the CPU to the last bit, whatever it runs on.

use lift_models::Normalisation;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// (3, 256) words.
pub(super) struct Table {
    bytes: Vec<u8>,
    word_bytes: usize,
}

impl Table {
    /// # Errors
    /// When `kind` is none of the kinds that towers run in.
    pub(super) fn new(normalisation: &Normalisation, kind: Kind) -> Result<Self> {
        if !matches!(kind, Kind::Float | Kind::BFloat16 | Kind::Half) {
            return Err(Error::Config(format!("images cannot be of kind {kind:?}")));
        }
        // A line of 256 grey pixels has every byte in every channel.
        let grey: Vec<u8> = (0..=255).flat_map(|byte| [byte; 3]).collect();
        let line = Tensor::from_slice(&grey).view([1, 1, 256, 3]);
        let values = normalisation.apply(&line, Device::Cpu).to_kind(kind);
        let word_bytes = kind.elt_size_in_bytes();
        let mut bytes = vec![0; 3 * 256 * word_bytes];
        values.contiguous().copy_data_u8(&mut bytes, 3 * 256);
        Ok(Self { bytes, word_bytes })
    }

    /// Bytes of a word: 2 or 4.
    pub(super) fn word_bytes(&self) -> usize {
        self.word_bytes
    }

    /// All words, the red channel's first.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The words of a channel. `W` is [`Table::word_bytes`].
    pub(super) fn channel<const W: usize>(&self, channel: usize) -> &[[u8; W]; 256] {
        let words = self.bytes.as_chunks::<W>().0;
        let words = words[channel * 256..][..256].first_chunk();
        words.expect("a channel has 256 words")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_by_hand() {
        let half = Table::new(&Normalisation::HALF, Kind::Float).unwrap();
        let words = half.channel::<4>(2).map(f32::from_ne_bytes);
        assert_eq!((words[0], words[255]), (-1.0, 1.0));
        assert!((words[128] - (128.0 / 255.0 - 0.5) / 0.5).abs() < 1e-7);
        let clip = Table::new(&Normalisation::CLIP, Kind::BFloat16).unwrap();
        assert_eq!((clip.word_bytes(), clip.bytes().len()), (2, 1536));
        // bfloat16 is the upper half of an f32, rounded to even: -0.48145466 / 0.26862954 = -1.79226.
        let lowest = u16::from_ne_bytes(clip.channel::<2>(0)[0]);
        assert_eq!(f32::from_bits(u32::from(lowest) << 16), -1.7890625);
        assert!(Table::new(&Normalisation::CLIP, Kind::Int64).is_err());
    }
}
