//! What one image's pixels say: one pass over them, in whole numbers, so that every machine agrees.
//!
//! Means over grids take every pixel once (no resampling filter). Invariant: the outcome depends on the
//! pixels alone.

use twox_hash::XxHash3_128;

use super::phash::{SIDE, phash};
use lift_image::resize::RgbView;

/// Cells a side of [`Measured::signature`].
pub const SIGNATURE_SIDE: usize = 8;
/// The most lumas a side of the grid that sharpness is measured on.
const SHARPNESS_SIDE: usize = 128;
/// Channels that differ by no more than this in any pixel make an image grey.
const GREY_WITHIN: u8 = 8;

/// Measurements of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// XXH3-128 over width, height and pixels.
    pub pixels_hash: u128,
    /// The perceptual hash; `None` for an image of nearly one colour.
    pub phash: Option<u64>,
    /// Mean colours of 8x8 cells, rows from the top.
    pub signature: [u8; SIGNATURE_SIDE * SIGNATURE_SIDE * 3],
    /// Whether no pixel's channels differ by more than 8 levels.
    pub is_grey: bool,
    /// Mean luma, 0 to 255 (ITU-R BT.601).
    pub luma: f32,
    /// The luma that 5 % of the pixels do not exceed.
    pub dark_end: u8,
    /// The luma that 95 % of the pixels do not exceed.
    pub bright_end: u8,
    /// Entropy of the histogram of lumas, in bits, 0 to 8.
    pub entropy: f32,
    /// Variance of the Laplacian (4 neighbours) of the lumas, averaged to at most 128x128.
    pub sharpness: f32,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Sums of the channels.
    pub sums: [u64; 3],
    /// Sums of the channels' squares.
    pub squares: [u64; 3],
}

/// Measures one image, which has at least one pixel.
pub fn measure(image: RgbView<'_>) -> Measured {
    let (width, height) = (image.width as usize, image.height as usize);
    let mut grids = Grids::new(width, height);
    let mut histogram = [0_u64; 256];
    let (mut sums, mut squares) = ([0_u64; 3], [0_u64; 3]);
    let mut widest = 0;
    for (y, row) in image.pixels.chunks_exact(width * 3).enumerate() {
        grids.row(y);
        for (x, pixel) in row.chunks_exact(3).enumerate() {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]];
            widest = widest.max(r.max(g).max(b) - r.min(g).min(b));
            for (channel, &value) in pixel.iter().enumerate() {
                sums[channel] += u64::from(value);
                squares[channel] += u64::from(value) * u64::from(value);
            }
            let luma = (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) + 500) / 1000;
            histogram[luma as usize] += 1;
            grids.pixel(x, luma, pixel);
        }
    }
    let pixels = (width * height) as u64;
    let mut hash = XxHash3_128::new();
    hash.write(&image.width.to_le_bytes());
    hash.write(&image.height.to_le_bytes());
    hash.write(image.pixels);
    let luma_sum: u64 = (0..)
        .zip(&histogram)
        .map(|(value, count)| value * count)
        .sum();
    Measured {
        pixels_hash: hash.finish_128(),
        phash: phash(&grids.hashed.means_squared()),
        signature: grids.signature(),
        is_grey: widest <= GREY_WITHIN,
        luma: (luma_sum as f64 / pixels as f64) as f32,
        dark_end: quantile(&histogram, pixels, 5),
        bright_end: quantile(&histogram, pixels, 95),
        entropy: entropy(&histogram, pixels),
        sharpness: laplacian_variance(&grids.sharp),
        width: image.width,
        height: image.height,
        sums,
        squares,
    }
}

/// Sums over cells of lumas, and of colours for the signature.
struct Grids {
    hashed: Grid,
    sharp: Grid,
    coloured: Grid,
    colours: Vec<[u64; 3]>,
}

/// A grid of cells: each pixel belongs to one.
struct Grid {
    across: usize,
    down: usize,
    column_of: Vec<u16>,
    row_start: usize,
    height: usize,
    sums: Vec<u64>,
    counts: Vec<u64>,
}

impl Grid {
    fn new(width: usize, height: usize, across: usize, down: usize) -> Self {
        let (across, down) = (across.min(width), down.min(height));
        Self {
            across,
            down,
            column_of: (0..width).map(|x| (x * across / width) as u16).collect(),
            row_start: 0,
            height,
            sums: vec![0; across * down],
            counts: vec![0; across * down],
        }
    }

    fn row(&mut self, y: usize) {
        self.row_start = y * self.down / self.height * self.across;
    }

    fn add(&mut self, x: usize, luma: u32) -> usize {
        let cell = self.row_start + self.column_of[x] as usize;
        self.sums[cell] += u64::from(luma);
        self.counts[cell] += 1;
        cell
    }

    fn mean(&self, x: usize, y: usize) -> f32 {
        let cell = y * self.across + x;
        (self.sums[cell] as f64 / self.counts[cell] as f64) as f32
    }

    /// 32x32 means; cells repeat where the image has fewer pixels.
    fn means_squared(&self) -> [f32; SIDE * SIDE] {
        let mut means = [0.0; SIDE * SIDE];
        for (at, mean) in means.iter_mut().enumerate() {
            let (x, y) = (at % SIDE, at / SIDE);
            *mean = self.mean(x * self.across / SIDE, y * self.down / SIDE);
        }
        means
    }
}

impl Grids {
    fn new(width: usize, height: usize) -> Self {
        let coloured = Grid::new(width, height, SIGNATURE_SIDE, SIGNATURE_SIDE);
        Self {
            hashed: Grid::new(width, height, SIDE, SIDE),
            sharp: Grid::new(width, height, SHARPNESS_SIDE, SHARPNESS_SIDE),
            colours: vec![[0; 3]; coloured.sums.len()],
            coloured,
        }
    }

    fn row(&mut self, y: usize) {
        self.hashed.row(y);
        self.sharp.row(y);
        self.coloured.row(y);
    }

    fn pixel(&mut self, x: usize, luma: u32, pixel: &[u8]) {
        self.hashed.add(x, luma);
        self.sharp.add(x, luma);
        let cell = self.coloured.add(x, luma);
        for (sum, &value) in self.colours[cell].iter_mut().zip(pixel) {
            *sum += u64::from(value);
        }
    }

    fn signature(&self) -> [u8; SIGNATURE_SIDE * SIGNATURE_SIDE * 3] {
        let mut signature = [0; SIGNATURE_SIDE * SIGNATURE_SIDE * 3];
        let grid = &self.coloured;
        for (at, out) in signature.chunks_exact_mut(3).enumerate() {
            let (x, y) = (at % SIGNATURE_SIDE, at / SIGNATURE_SIDE);
            let cell =
                y * grid.down / SIGNATURE_SIDE * grid.across + x * grid.across / SIGNATURE_SIDE;
            for (out, sum) in out.iter_mut().zip(self.colours[cell]) {
                *out = (sum / grid.counts[cell]) as u8;
            }
        }
        signature
    }
}

/// The smallest value that `percent` of the pixels do not exceed.
fn quantile(histogram: &[u64; 256], pixels: u64, percent: u64) -> u8 {
    let mut below = 0;
    for (value, count) in histogram.iter().enumerate() {
        below += count;
        if below * 100 >= pixels * percent {
            return value as u8;
        }
    }
    255
}

fn entropy(histogram: &[u64; 256], pixels: u64) -> f32 {
    let bits: f64 = histogram
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| {
            let share = count as f64 / pixels as f64;
            -share * share.log2()
        })
        .sum();
    // Of one value it is zero, which must not come out as minus zero.
    bits.max(0.0).abs() as f32
}

fn laplacian_variance(grid: &Grid) -> f32 {
    if grid.across < 3 || grid.down < 3 {
        return 0.0;
    }
    let (mut sum, mut square, mut cells) = (0.0, 0.0, 0.0);
    for y in 1..grid.down - 1 {
        for x in 1..grid.across - 1 {
            let around = grid.mean(x - 1, y)
                + grid.mean(x + 1, y)
                + grid.mean(x, y - 1)
                + grid.mean(x, y + 1);
            let value = f64::from(around - 4.0 * grid.mean(x, y));
            sum += value;
            square += value * value;
            cells += 1.0;
        }
    }
    let mean: f64 = sum / cells;
    (square / cells - mean * mean).max(0.0) as f32
}

/// How different two signatures are, in grey levels: the root mean square of what is left of `b` after `a`,
/// its contrast changed by a factor from 3/4 to 4/3 and its brightness by up to 40 levels, was taken away.
pub fn difference(a: &[u8], b: &[u8]) -> f64 {
    let n = a.len().min(b.len()).max(1) as i64;
    let (mut sum_a, mut sum_b, mut aa, mut bb, mut ab) = (0_i64, 0_i64, 0_i64, 0_i64, 0_i64);
    for (&a, &b) in a.iter().zip(b) {
        let (a, b) = (i64::from(a), i64::from(b));
        sum_a += a;
        sum_b += b;
        aa += a * a;
        bb += b * b;
        ab += a * b;
    }
    // Variances and covariance, times n squared: whole numbers.
    let of = |product: i64, x: i64, y: i64| (product * n - x * y) as f64 / (n * n) as f64;
    let (var_a, var_b, both) = (
        of(aa, sum_a, sum_a),
        of(bb, sum_b, sum_b),
        of(ab, sum_a, sum_b),
    );
    let gain = if var_a > 0.0 {
        (both / var_a).clamp(0.75, 4.0 / 3.0)
    } else {
        1.0
    };
    let apart = (sum_b - sum_a) as f64 / n as f64;
    // What is left of the means' difference beyond a change in brightness.
    let beyond = apart - apart.clamp(-40.0, 40.0);
    (var_b - 2.0 * gain * both + gain * gain * var_a + beyond * beyond)
        .max(0.0)
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Measured {
        let pixels: Vec<u8> = (0..height)
            .flat_map(|y| (0..width).map(move |x| (x, y)))
            .flat_map(|(x, y)| pixel(x, y))
            .collect();
        measure(RgbView {
            width,
            height,
            pixels: &pixels,
        })
    }

    #[test]
    fn a_board_of_black_and_white() {
        // Single pixels: luma 0 and 255 in equal shares, one bit; the Laplacian is +-1020.
        let board = image(64, 64, |x, y| [if (x + y) % 2 == 0 { 0 } else { 255 }; 3]);
        assert!(board.is_grey);
        assert_eq!((board.luma, board.entropy), (127.5, 1.0));
        assert_eq!((board.dark_end, board.bright_end), (0, 255));
        assert_eq!(board.sharpness, 1020.0 * 1020.0);
        assert_eq!(board.sums, [2048 * 255; 3]);
        assert_eq!(board.squares, [2048 * 255 * 255; 3]);
        assert_eq!(board.signature, [127; 192]);
    }

    #[test]
    fn one_colour_is_flat() {
        let red = image(5, 3, |_, _| [200, 10, 10]);
        assert_eq!(
            (red.phash, red.entropy, red.sharpness, red.is_grey),
            (None, 0.0, 0.0, false)
        );
        // 0.299 * 200 + 0.701 * 10
        assert_eq!(red.luma, 67.0);
        assert_eq!(red.signature[..3], [200, 10, 10]);
        // The same bytes in another shape are another image.
        assert_ne!(
            red.pixels_hash,
            image(3, 5, |_, _| [200, 10, 10]).pixels_hash
        );
    }

    #[test]
    fn brightness_is_no_difference_and_colour_is() {
        assert_eq!(difference(&[10, 20, 30], &[30, 40, 50]), 0.0);
        // Contrast by 5/4 is evened out, by 2 is not: 3/2 of the deviations' root mean square is left.
        assert!(difference(&[40, 80, 120], &[50, 100, 150]) < 1e-6);
        let left = difference(&[40, 50, 60], &[20, 40, 60]);
        assert!(
            (left - (2.0 - 4.0 / 3.0) * (200.0_f64 / 3.0).sqrt()).abs() < 1e-9,
            "{left}"
        );
        assert_eq!(difference(&[0, 0], &[100, 100]), 60.0);
        assert!(difference(&[200, 0, 0], &[0, 0, 200]) > 100.0);
    }
}
