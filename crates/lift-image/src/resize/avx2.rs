//! Crop and resize with AVX2, in one walk: a row is resized when the first line that needs it is written, and forgotten after
//! the last, so that what lies between the two passes stays in the processor's first cache.
//!
//! Four output bytes are half of a register: what two taps give them comes from at most 16 bytes of the source, which one
//! instruction puts in order. Shrinking to less than about a third needs more of them and is left to the library. Rows are kept
//! in pairs of 16-bit numbers, which is how the pass down columns multiplies them. Invariant: the bytes are the library's.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::plans::Plans;
use super::weights::Weights;
use super::{CropBox, RgbView};

/// Output bytes that are made at once.
const STEP: usize = 8;
/// Bytes of a line that are made at once; kept rows are padded to them.
const BLOCK: usize = 32;
/// Bytes of the source that one half of a register holds.
const HALF: usize = 16;
/// A place from which a zero is taken.
const NOWHERE: u8 = 0x80;

/// The passes for all sizes so far, and the rows that are kept between them.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    across: Plans<Option<RowPlan>>,
    down: Plans<LinePlan>,
    kept: Vec<i32>,
}

impl Kernel {
    pub(super) fn is_available() -> bool {
        is_x86_feature_detected!("avx2")
    }

    /// Resizes if it can, and says whether it did. All sizes are checked; the CPU has AVX2.
    pub(super) fn crop_resize(
        &mut self,
        src: RgbView<'_>,
        crop: CropBox,
        (width, height): (u32, u32),
        dst: &mut [u8],
    ) -> bool {
        let across = self.across.of((crop.width, width), RowPlan::new);
        let Some(across) = across else {
            return false;
        };
        let down = self.down.of((crop.height, height), LinePlan::new);
        let stride = across.row_bytes.next_multiple_of(BLOCK);
        self.kept.resize(down.slots * stride, 0);
        let bytes = src.width as usize * 3;
        let (left, top) = (crop.left as usize * 3, crop.top as usize);
        let last = crop.height as usize - 1;
        // What lies beyond the last row has no weight.
        let row = |y: usize| &src.pixels[(top + y.min(last)) * bytes + left..][..across.from_bytes];
        let mut made = 0;
        for (out, line) in dst.chunks_exact_mut(across.row_bytes).zip(&down.lines) {
            while made < line.first + line.weights.len() {
                let rows = [0, 1, 2, 3].map(|nth| row(made * 2 + nth));
                let two = &mut self.kept[made % down.slots * stride..][..2 * stride];
                // SAFETY: the CPU has AVX2.
                unsafe { across.run(rows, two.split_at_mut(stride)) };
                made += 2;
            }
            // SAFETY: as above.
            unsafe { down.run(line, &self.kept, stride, out) };
        }
        true
    }
}

/// The pass along rows.
#[derive(Debug)]
struct RowPlan {
    precision: u32,
    /// Bytes of a row of the crop, and of an output row.
    from_bytes: usize,
    row_bytes: usize,
    /// Pairs of taps.
    pairs: usize,
    /// `pairs` for each step.
    taps: Vec<Taps>,
}

/// What two taps give to the output bytes of a step.
#[derive(Debug)]
struct Taps {
    /// Where in the row each half's bytes begin; [`HALF`] bytes from there lie within the row.
    begins: [u32; 2],
    /// Which of these bytes, as 16 numbers of 16 bits, and the weights of those.
    places: [u8; 32],
    values: [i16; 16],
}

impl RowPlan {
    /// `None` where two taps of four bytes need more than [`HALF`] bytes of the source.
    fn new(from: u32, to: u32) -> Option<Self> {
        let weights = Weights::new(from, to);
        let (from_bytes, row_bytes) = (from as usize * 3, to as usize * 3);
        let last_begin = from_bytes.checked_sub(HALF)?;
        let pairs = weights.taps / 2;
        let mut taps = Vec::with_capacity(row_bytes.div_ceil(STEP) * pairs);
        for step in (0..row_bytes).step_by(STEP) {
            for pair in 0..pairs {
                let mut made = Taps {
                    begins: [0; 2],
                    places: [NOWHERE; 32],
                    values: [0; 16],
                };
                for half in 0..2 {
                    let wanted: Vec<(usize, usize, i16)> = (0..4)
                        .map(|byte| (byte, step + half * 4 + byte))
                        .filter(|&(_, out)| out < row_bytes)
                        .flat_map(|(byte, out)| [(byte, out, 0), (byte, out, 1)])
                        .map(|(byte, out, tap)| {
                            let (pixel, nth) = (out / 3, pair * 2 + tap);
                            let place = (weights.starts[pixel] as usize + nth) * 3 + out % 3;
                            (
                                byte * 2 + tap,
                                place,
                                weights.values[pixel * weights.taps + nth],
                            )
                        })
                        // What has no weight may lie beyond the row.
                        .filter(|&(.., value)| value != 0)
                        .collect();
                    let first = wanted.iter().map(|&(_, place, _)| place).min();
                    let begin = first.unwrap_or(0).min(last_begin);
                    made.begins[half] = begin as u32;
                    for (number, place, value) in wanted {
                        let place = place - begin;
                        if place >= HALF {
                            return None;
                        }
                        let number = half * 8 + number;
                        made.places[number * 2] = place as u8;
                        made.values[number] = value;
                    }
                }
                taps.push(made);
            }
        }
        Some(Self {
            precision: weights.precision,
            from_bytes,
            row_bytes,
            pairs,
            taps,
        })
    }

    /// Resizes four rows into two kept pairs.
    #[target_feature(enable = "avx2")]
    fn run(&self, rows: [&[u8]; 4], (first, second): (&mut [i32], &mut [i32])) {
        // Of each half: a number of the one row, a number of the other, and so on, from four bytes of each.
        let mixed = _mm256_broadcastsi128_si256(_mm_setr_epi8(
            0, -128, 4, -128, 1, -128, 5, -128, 2, -128, 6, -128, 3, -128, 7, -128,
        ));
        let half = _mm256_set1_epi32(1 << (self.precision - 1));
        let shift = _mm_cvtsi32_si128(self.precision as i32);
        let rows = rows.map(|row| Row::new(row, self.from_bytes));
        let outs = first.as_chunks_mut::<STEP>().0.iter_mut();
        let outs = outs.zip(second.as_chunks_mut::<STEP>().0);
        for (taps, (first, second)) in self.taps.chunks_exact(self.pairs).zip(outs) {
            let mut sums = [half; 4];
            for taps in taps {
                let (places, values) = (bytes(&taps.places), words(&taps.values));
                for (sum, row) in sums.iter_mut().zip(rows) {
                    // SAFETY: the plan's invariant on `begins`, of rows as long as it was made for.
                    let taken = unsafe { row.halves(taps.begins) };
                    let taken = _mm256_shuffle_epi8(taken, places);
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(taken, values));
                }
            }
            let [a, b, c, d] = sums.map(|sum| _mm256_sra_epi32(sum, shift));
            for (out, a, b) in [(first, a, b), (second, c, d)] {
                let both = _mm256_packs_epi32(a, b);
                let both = _mm256_packus_epi16(both, both);
                store(out, _mm256_shuffle_epi8(both, mixed));
            }
        }
    }
}

/// A row of which halves of registers are taken.
#[derive(Clone, Copy)]
struct Row<'a>(&'a [u8]);

impl<'a> Row<'a> {
    fn new(row: &'a [u8], bytes: usize) -> Self {
        assert_eq!(row.len(), bytes, "a plan is for rows of one length");
        Self(row)
    }

    /// [`HALF`] bytes from each of `begins`.
    ///
    /// # Safety
    /// They must lie within the row.
    #[target_feature(enable = "avx2")]
    unsafe fn halves(self, begins: [u32; 2]) -> __m256i {
        // SAFETY: the caller's promise.
        let [low, high] = begins.map(|begin| unsafe {
            debug_assert!(begin as usize + HALF <= self.0.len());
            _mm_loadu_si128(self.0.as_ptr().add(begin as usize).cast())
        });
        _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
    }
}

/// The pass down columns.
#[derive(Debug)]
struct LinePlan {
    precision: u32,
    lines: Vec<Line>,
    /// Pairs of rows that are kept, an even number.
    slots: usize,
}

/// What a line takes from pairs of rows.
#[derive(Debug)]
struct Line {
    /// The first pair.
    first: usize,
    /// The weights of a pair, the first row's in the low 16 bits.
    weights: Vec<i32>,
}

impl LinePlan {
    fn new(from: u32, to: u32) -> Self {
        let weights = Weights::new(from, to);
        let values = weights.values.chunks_exact(weights.taps);
        let lines: Vec<Line> = (weights.starts.iter().zip(values))
            .map(|(&start, values)| Line::new(start as usize, values))
            .collect();
        let longest = lines.iter().map(|line| line.weights.len()).max();
        Self {
            precision: weights.precision,
            lines,
            // Two pairs are made at a time, one of them perhaps for the next line.
            slots: (longest.unwrap_or(0) + 2).next_multiple_of(2),
        }
    }

    #[target_feature(enable = "avx2")]
    fn run(&self, line: &Line, kept: &[i32], stride: usize, out: &mut [u8]) {
        let half = _mm256_set1_epi32(1 << (self.precision - 1));
        let shift = _mm_cvtsi32_si128(self.precision as i32);
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        for (nth, out) in out.chunks_mut(BLOCK).enumerate() {
            let mut sums = [half; 4];
            let mut slot = line.first % self.slots;
            for &weight in &line.weights {
                let weight = _mm256_set1_epi32(weight);
                let pairs = &kept[slot * stride + nth * BLOCK..][..BLOCK];
                for (sum, pairs) in sums.iter_mut().zip(pairs.as_chunks::<STEP>().0) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(numbers(pairs), weight));
                }
                slot += 1;
                if slot == self.slots {
                    slot = 0;
                }
            }
            let [a, b, c, d] = sums.map(|sum| _mm256_sra_epi32(sum, shift));
            let (low, high) = (_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
            let block = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(low, high), order);
            match <&mut [u8; BLOCK]>::try_from(&mut *out) {
                Ok(out) => store_bytes(out, block),
                Err(_) => {
                    let mut whole = [0; BLOCK];
                    store_bytes(&mut whole, block);
                    let bytes = out.len();
                    out.copy_from_slice(&whole[..bytes]);
                }
            }
        }
    }
}

impl Line {
    /// `values` are the weights of the rows from `start` on.
    fn new(start: usize, values: &[i16]) -> Self {
        let used = values.iter().rposition(|&value| value != 0);
        let values = &values[..used.map_or(0, |last| last + 1)];
        // An odd row is the second of its pair.
        let skipped = start % 2;
        let weight = |at: usize| {
            let value = at.checked_sub(skipped).and_then(|nth| values.get(nth));
            i32::from(value.copied().unwrap_or(0))
        };
        let pairs = (values.len() + skipped).div_ceil(2);
        Self {
            first: start / 2,
            weights: (0..pairs)
                .map(|pair| weight(pair * 2) & 0xffff | weight(pair * 2 + 1) << 16)
                .collect(),
        }
    }
}

#[target_feature(enable = "avx2")]
fn bytes(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: they are 32 bytes; no alignment is asked for.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn words(words: &[i16; 16]) -> __m256i {
    // SAFETY: they are 32 bytes; no alignment is asked for.
    unsafe { _mm256_loadu_si256(words.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn numbers(numbers: &[i32; 8]) -> __m256i {
    // SAFETY: they are 32 bytes; no alignment is asked for.
    unsafe { _mm256_loadu_si256(numbers.as_ptr().cast()) }
}

#[target_feature(enable = "avx2")]
fn store(out: &mut [i32; 8], value: __m256i) {
    // SAFETY: they are 32 bytes; no alignment is asked for.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), value) }
}

#[target_feature(enable = "avx2")]
fn store_bytes(out: &mut [u8; 32], value: __m256i) {
    // SAFETY: they are 32 bytes; no alignment is asked for.
    unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), value) }
}
