//! What was worked out for a pair of sizes, kept: few sizes come again and again.

use std::collections::HashMap;

/// Sizes that are kept: more than there are square crops of a short side of 256.
const MOST: usize = 400;

/// By how many inputs become how many outputs.
#[derive(Debug)]
pub(super) struct Plans<P>(HashMap<(u32, u32), P>);

impl<P> Default for Plans<P> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<P> Plans<P> {
    /// That of `size`, made now if there is none.
    pub(super) fn of(&mut self, size: (u32, u32), make: impl FnOnce(u32, u32) -> P) -> &P {
        if self.0.len() >= MOST && !self.0.contains_key(&size) {
            self.0.clear();
        }
        let (from, to) = size;
        self.0.entry(size).or_insert_with(|| make(from, to))
    }
}
