//! How much memory work takes, by an estimate: what it takes however much is done at once, and what each adds.
//!
//! It counts tensors and no allocator's waste. Invariant: more at once never takes less.

use crate::{memory::MemorySize, text::TextTower};

/// What a block has for a moment while it computes without gradients, in multiples of the width: its tokens and their
/// normalised copy (2), query, key and value or the MLP's two wide layers (8), outputs (2).
pub const PASSING: u64 = 12;

/// Bytes of some work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// However much is done at once.
    pub fixed: u64,
    /// Of each image, crop or text that is passed at once.
    pub each: u64,
}

impl Footprint {
    /// Of forward passes of a text tower in fp32 without gradients; its neighbour has so many parameters.
    pub fn of_texts(tower: &TextTower, others: u64) -> Self {
        let config = tower.config();
        let tokens = (config.context_length * config.width) as u64 * 4;
        let tensors = tower.named_tensors();
        let own: u64 = tensors.iter().map(|(_, t)| t.numel() as u64).sum();
        Self {
            fixed: (own + others) * 4,
            each: tokens * PASSING,
        }
    }

    /// With so many at once.
    pub fn bytes(self, at_once: usize) -> u64 {
        self.fixed + self.each * at_once as u64
    }

    /// The most at once that fit into so many bytes.
    pub fn most(self, bytes: u64) -> usize {
        (bytes.saturating_sub(self.fixed) / self.each.max(1)) as usize
    }

    /// `asked` at once, or as many as fit the limit; what is wrong where not a single `one` does.
    ///
    /// # Errors
    /// A sentence that names the limit and what would be needed.
    pub fn fitting(
        self,
        asked: usize,
        limit: Option<MemorySize>,
        one: &str,
    ) -> Result<usize, String> {
        let Some(limit) = limit else { return Ok(asked) };
        match self.most(limit.bytes) {
            0 => {
                let bytes = self.bytes(1);
                Err(format!(
                    "--max-memory {limit} is too little: {one} takes about {}",
                    MemorySize { bytes }
                ))
            }
            most => Ok(asked.min(most)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_fit_as_the_limit_holds() {
        let footprint = Footprint {
            fixed: 1000,
            each: 30,
        };
        assert_eq!(footprint.bytes(128), 4840);
        assert_eq!(footprint.most(4840), 128);
        assert_eq!(footprint.most(4839), 127);
        assert_eq!(footprint.most(1029), 0);
        assert_eq!(footprint.most(0), 0);
        let limit = |bytes| Some(MemorySize { bytes });
        assert_eq!(footprint.fitting(128, None, "a text"), Ok(128));
        assert_eq!(footprint.fitting(128, limit(1090), "a text"), Ok(3));
        assert_eq!(footprint.fitting(2, limit(4840), "a text"), Ok(2));
        assert_eq!(
            footprint.fitting(128, limit(1029), "a text").unwrap_err(),
            "--max-memory 1029 B is too little: a text takes about 1030 B"
        );
    }
}
