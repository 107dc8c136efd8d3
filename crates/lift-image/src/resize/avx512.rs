//! Crop and resize with AVX-512 (VBMI, VNNI), several times faster than `fast_image_resize`, which knows AVX2 and works
//! its weights out anew for each image. Here they are kept by size.
//!
//! Rows first, as Pillow does. A row's 16 next bytes come from at most 64 bytes of the source, or 128 where it shrinks to
//! less than about half, which one instruction puts in order; shrinking to less than about a quarter needs more of them
//! and is left to the library. Invariant: the bytes are the library's.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::plans::Plans;
use super::weights::Weights;
use super::{CropBox, RgbView};

/// The passes for all sizes so far, and the rows between them.
#[derive(Debug, Default)]
pub(super) struct Kernel {
    across: Plans<Option<RowPlan>>,
    down: Plans<Weights>,
    /// Rows that are resized, columns that are not yet.
    between: Vec<u8>,
}

impl Kernel {
    pub(super) fn is_available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vnni")
    }

    /// Resizes if it can, and says whether it did. All sizes are checked; both sides of the crop change; the CPU has the five
    /// extensions.
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
        let down = self.down.of((crop.height, height), Weights::new);
        let bytes = width as usize * crop.height as usize * 3;
        self.between.resize(bytes, 0);
        // SAFETY: the CPU has the five extensions.
        unsafe {
            across.run(src, crop, &mut self.between);
            lines(down, &self.between, width as usize * 3, dst);
        }
        true
    }
}

/// The pass along rows, 16 output bytes at a time.
#[derive(Debug)]
struct RowPlan {
    precision: u32,
    /// Bytes of an output row.
    row_bytes: usize,
    /// Where in the source row the bytes of each step begin.
    begins: Vec<usize>,
    /// Whether they are 128 and not 64.
    is_wide: bool,
    /// Steps of two taps.
    pairs: usize,
    /// For each step and pair of taps: which source bytes, as 16 pairs of 16-bit numbers, and their weights.
    places: Vec<[u8; 64]>,
    values: Vec<[i16; 32]>,
}

impl RowPlan {
    /// `None` where 16 bytes need more than 128.
    fn new(from: u32, to: u32) -> Option<Self> {
        let weights = Weights::new(from, to);
        let row_bytes = weights.starts.len() * 3;
        let pairs = weights.taps / 2;
        let mut plan = Self {
            precision: weights.precision,
            row_bytes,
            begins: Vec::new(),
            is_wide: false,
            pairs,
            places: Vec::new(),
            values: Vec::new(),
        };
        for out in (0..row_bytes).step_by(16) {
            // Not always the first pixel's: its first weight may be 0 and left out.
            let pixels = out / 3..(out + 16).min(row_bytes).div_ceil(3);
            let first = weights.starts[pixels].iter().min();
            let begin = *first.expect("16 bytes or fewer, never none") as usize * 3;
            plan.begins.push(begin);
            for pair in 0..pairs {
                let (mut places, mut values) = ([0; 64], [0; 32]);
                for lane in 0..16.min(row_bytes - out) {
                    let (pixel, channel) = ((out + lane) / 3, (out + lane) % 3);
                    for tap in 0..2 {
                        let nth = pair * 2 + tap;
                        let value = weights.values[pixel * weights.taps + nth];
                        let from = (weights.starts[pixel] as usize + nth) * 3 + channel;
                        // What has no weight may lie beyond the row.
                        if value != 0 {
                            let place = u8::try_from(from - begin).ok().filter(|&at| at < 128)?;
                            plan.is_wide |= place >= 64;
                            places[lane * 4 + tap * 2] = place;
                            values[lane * 2 + tap] = value;
                        }
                    }
                }
                plan.places.push(places);
                plan.values.push(values);
            }
        }
        Some(plan)
    }

    /// The rows of `crop`, resized, one after the other into `out`.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn run(&self, src: RgbView<'_>, crop: CropBox, out: &mut [u8]) {
        let stride = src.width as usize * 3;
        let (left, bytes) = (crop.left as usize * 3, crop.width as usize * 3);
        let crop_rows = src.pixels.chunks_exact(stride).skip(crop.top as usize);
        let mut crop_rows = crop_rows.map(|row| &row[left..left + bytes]);
        let mut row = || crop_rows.next().expect("a row for each output");
        // Four rows at a time share what is read of the plan.
        let mut fours = out.chunks_exact_mut(4 * self.row_bytes);
        for four in &mut fours {
            let rows = [row(), row(), row(), row()];
            match self.is_wide {
                true => self.rows::<4, true>(rows, four),
                false => self.rows::<4, false>(rows, four),
            }
        }
        for one in fours.into_remainder().chunks_exact_mut(self.row_bytes) {
            match self.is_wide {
                true => self.rows::<1, true>([row()], one),
                false => self.rows::<1, false>([row()], one),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
    fn rows<const N: usize, const WIDE: bool>(&self, rows: [&[u8]; N], out: &mut [u8]) {
        let half = _mm512_set1_epi32(1 << (self.precision - 1));
        let shift = _mm_cvtsi32_si128(self.precision as i32);
        let places = self.places.chunks_exact(self.pairs);
        let steps = places.zip(self.values.chunks_exact(self.pairs));
        for (nth, (&begin, (places, values))) in self.begins.iter().zip(steps).enumerate() {
            let mut pixels = [[_mm512_setzero_si512(); 2]; N];
            for (pixels, row) in pixels.iter_mut().zip(rows) {
                pixels[0] = load(&row[begin..]);
                if WIDE {
                    pixels[1] = load(row.get(begin + 64..).unwrap_or_default());
                }
            }
            let mut sums = [half; N];
            for (place, value) in places.iter().zip(values) {
                let (place, value) = (load(place), load_values(value));
                for (sum, [low, high]) in sums.iter_mut().zip(pixels) {
                    // Every other byte zero: 16-bit numbers.
                    const EVEN: u64 = 0x5555_5555_5555_5555;
                    let taps = if WIDE {
                        _mm512_maskz_permutex2var_epi8(EVEN, low, place, high)
                    } else {
                        _mm512_maskz_permutexvar_epi8(EVEN, place, low)
                    };
                    *sum = _mm512_dpwssd_epi32(*sum, taps, value);
                }
            }
            for (row, sum) in out.chunks_exact_mut(self.row_bytes).zip(sums) {
                let sum = _mm512_sra_epi32(sum, shift);
                let positive = _mm512_max_epi32(sum, _mm512_setzero_si512());
                store_16(&mut row[nth * 16..], _mm512_cvtusepi32_epi8(positive));
            }
        }
    }
}

/// The pass down columns: rows of `row_bytes` in `src` become those of `dst`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")]
fn lines(weights: &Weights, src: &[u8], row_bytes: usize, dst: &mut [u8]) {
    let half = _mm512_set1_epi32(1 << (weights.precision - 1));
    let shift = _mm_cvtsi32_si128(weights.precision as i32);
    let zero = _mm512_setzero_si512();
    let last = src.len() / row_bytes - 1;
    // What lies beyond the last line has no weight.
    let line = |y: usize| &src[y.min(last) * row_bytes..][..row_bytes];
    let values = weights.values.chunks_exact(weights.taps);
    for ((out, &start), values) in dst
        .chunks_exact_mut(row_bytes)
        .zip(&weights.starts)
        .zip(values)
    {
        for x in (0..row_bytes).step_by(64) {
            let mut sums = [half; 4];
            for (pair, values) in values.as_chunks::<2>().0.iter().enumerate() {
                let y = start as usize + pair * 2;
                let (a, b) = (load(&line(y)[x..]), load(&line(y + 1)[x..]));
                let value = i32::from(values[0] as u16) | i32::from(values[1]) << 16;
                let value = _mm512_set1_epi32(value);
                let (low, high) = (_mm512_unpacklo_epi8(a, b), _mm512_unpackhi_epi8(a, b));
                let taps = [
                    _mm512_unpacklo_epi8(low, zero),
                    _mm512_unpackhi_epi8(low, zero),
                    _mm512_unpacklo_epi8(high, zero),
                    _mm512_unpackhi_epi8(high, zero),
                ];
                for (sum, taps) in sums.iter_mut().zip(taps) {
                    *sum = _mm512_dpwssd_epi32(*sum, taps, value);
                }
            }
            // Packing puts the bytes back into the order from which unpacking took them.
            let [a, b, c, d] = sums.map(|sum| _mm512_sra_epi32(sum, shift));
            let (low, high) = (_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
            store_64(&mut out[x..], _mm512_packus_epi16(low, high));
        }
    }
}

/// The first 64 bytes, or as many as there are.
#[target_feature(enable = "avx512f,avx512bw")]
fn load(bytes: &[u8]) -> __m512i {
    // SAFETY: the mask ends with the slice.
    unsafe { _mm512_maskz_loadu_epi8(mask(bytes.len()), bytes.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f")]
fn load_values(values: &[i16; 32]) -> __m512i {
    // SAFETY: they are 64 bytes; no alignment is asked for.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn store_64(out: &mut [u8], bytes: __m512i) {
    // SAFETY: the mask ends with the slice.
    unsafe { _mm512_mask_storeu_epi8(out.as_mut_ptr().cast(), mask(out.len()), bytes) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn store_16(out: &mut [u8], bytes: __m128i) {
    let mask = mask(out.len()) as u16;
    // SAFETY: the mask ends with the slice.
    unsafe { _mm_mask_storeu_epi8(out.as_mut_ptr().cast(), mask, bytes) }
}

/// A bit for each of `len` bytes, 64 at most.
fn mask(len: usize) -> u64 {
    if len >= 64 { u64::MAX } else { (1 << len) - 1 }
}
