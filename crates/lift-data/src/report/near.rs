//! All pairs of 64-bit hashes that differ in few bits, without comparing all with all.
//!
//! Multi-index hashing (Norouzi, Punjani and Fleet, CVPR 2012): a hash is four bands of 16 bits; two hashes
//! that differ in at most d bits differ in at most `d / 4` bits of some band (pigeonhole), so that each
//! band's table is probed with the band's value and all values that near. Invariant: the pairs are exactly
//! those of the brute force, except through bands whose bucket holds more than [`CROWDED`] hashes, which
//! are left to the other bands and counted.

use rayon::prelude::*;

/// The largest distance that can be searched for.
pub const MAX_DISTANCE: u32 = 11;
/// A bucket with more hashes is not searched.
pub const CROWDED: usize = 20_000;

const BANDS: usize = 4;
const VALUES: usize = 1 << 16;

/// An index of hashes that are all different.
pub struct NearIndex<'a> {
    hashes: &'a [u64],
    distance: u32,
    tables: Vec<Table>,
    masks: Vec<u16>,
}

impl<'a> NearIndex<'a> {
    /// An index for hashes at most `distance` bits apart.
    pub fn new(hashes: &'a [u64], distance: u32) -> Self {
        let distance = distance.min(MAX_DISTANCE);
        let tables = (0..BANDS)
            .into_par_iter()
            .map(|band| Table::new(hashes, band))
            .collect();
        Self {
            hashes,
            distance,
            tables,
            masks: masks(distance / BANDS as u32),
        }
    }

    /// Buckets that are too crowded to be searched.
    pub fn crowded_buckets(&self) -> usize {
        self.tables.iter().map(Table::crowded).sum()
    }

    /// The positions after `i` whose hashes are near, in order, with their distance.
    pub fn after(&self, i: u32) -> Vec<(u32, u32)> {
        let hash = self.hashes[i as usize];
        let mut found = Vec::new();
        for (band, table) in self.tables.iter().enumerate() {
            let key = band_of(hash, band);
            for mask in &self.masks {
                let bucket = table.bucket(key ^ mask);
                if bucket.len() > CROWDED {
                    continue;
                }
                // Positions ascend in a bucket.
                let after = bucket.partition_point(|&j| j <= i);
                for &j in &bucket[after..] {
                    let apart = (hash ^ self.hashes[j as usize]).count_ones();
                    if apart <= self.distance {
                        found.push((j, apart));
                    }
                }
            }
        }
        // A pair may be near in several bands.
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn band_of(hash: u64, band: usize) -> u16 {
    (hash >> (16 * band)) as u16
}

/// The hashes by the value of one band.
struct Table {
    /// Where each value's positions start; one more at the end.
    starts: Vec<u32>,
    positions: Vec<u32>,
}

impl Table {
    fn new(hashes: &[u64], band: usize) -> Self {
        let mut starts = vec![0_u32; VALUES + 1];
        for &hash in hashes {
            starts[band_of(hash, band) as usize + 1] += 1;
        }
        for value in 0..VALUES {
            starts[value + 1] += starts[value];
        }
        let mut next = starts.clone();
        let mut positions = vec![0; hashes.len()];
        for (position, &hash) in (0..).zip(hashes) {
            let slot = &mut next[band_of(hash, band) as usize];
            positions[*slot as usize] = position;
            *slot += 1;
        }
        Self { starts, positions }
    }

    fn bucket(&self, value: u16) -> &[u32] {
        let value = value as usize;
        &self.positions[self.starts[value] as usize..self.starts[value + 1] as usize]
    }

    fn crowded(&self) -> usize {
        let sizes = self
            .starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as usize);
        sizes.filter(|&size| size > CROWDED).count()
    }
}

/// All 16-bit values with at most `bits` bits set.
fn masks(bits: u32) -> Vec<u16> {
    (0..=u16::MAX)
        .filter(|mask| mask.count_ones() <= bits)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;
    use rand::{RngCore, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Pairs of positions, the smaller first, in order, with their distance.
    fn pairs(index: &NearIndex<'_>) -> Vec<(u32, u32, u32)> {
        let of = |i: u32| {
            index
                .after(i)
                .into_iter()
                .map(move |(j, apart)| (i, j, apart))
        };
        (0..index.hashes.len() as u32)
            .into_par_iter()
            .flat_map_iter(of)
            .collect()
    }

    fn brute_force(hashes: &[u64], distance: u32) -> Vec<(u32, u32, u32)> {
        let mut pairs = Vec::new();
        for i in 0..hashes.len() {
            for j in i + 1..hashes.len() {
                let apart = (hashes[i] ^ hashes[j]).count_ones();
                if apart <= distance {
                    pairs.push((i as u32, j as u32, apart));
                }
            }
        }
        pairs
    }

    proptest! {
        #[test]
        fn equals_brute_force(
            seeds in prop::collection::vec(any::<u64>(), 1..40),
            flips in prop::collection::vec((any::<prop::sample::Index>(), prop::collection::vec(0_u32..64, 0..14)), 0..60),
            distance in 0..=MAX_DISTANCE,
        ) {
            // Random hashes are never near: most are others with some bits flipped.
            let mut hashes = seeds.clone();
            for (of, bits) in flips {
                let from = *of.get(&seeds);
                hashes.push(bits.iter().fold(from, |hash, bit| hash ^ (1 << bit)));
            }
            hashes.sort_unstable();
            hashes.dedup();
            let index = NearIndex::new(&hashes, distance);
            prop_assert_eq!(pairs(&index), brute_force(&hashes, distance));
            prop_assert_eq!(index.crowded_buckets(), 0);
        }
    }

    #[test]
    fn a_crowded_band_is_left_to_the_others() {
        // One value in the lowest band for all; neighbours in the highest.
        let hashes: Vec<u64> = (0..30_000_u64)
            .map(|i| (i * 0x9E37_79B9) << 20 | 7)
            .collect();
        let mut all = hashes.clone();
        all.push(hashes[5] ^ (1 << 63));
        let index = NearIndex::new(&all, 3);
        assert_eq!(index.crowded_buckets(), 1);
        assert!(index.after(5).contains(&(30_000, 1)));
    }

    /// `cargo test --workspace --lib -- --ignored --nocapture a_million_hashes`
    #[test]
    #[ignore = "a measurement, seconds on two cores"]
    fn a_million_hashes() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut hashes: Vec<u64> = (0..999_000).map(|_| random.next_u64()).collect();
        let planted: Vec<u64> = (0..1_000)
            .map(|i| hashes[i * 7] ^ (0b111_1111 << (i % 57)))
            .collect();
        hashes.extend(planted);
        hashes.sort_unstable();
        hashes.dedup();
        let start = Instant::now();
        let found = pairs(&NearIndex::new(&hashes, 7));
        println!(
            "{} hashes, {} pairs, {:.2} s",
            hashes.len(),
            found.len(),
            start.elapsed().as_secs_f64()
        );
        assert!(found.iter().filter(|pair| pair.2 == 7).count() >= 1_000);
    }
}
