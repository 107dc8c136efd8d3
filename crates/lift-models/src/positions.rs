//! Position embeddings for another resolution than a tower was trained at.
//!
//! The grid of positions is resampled as an image is: bicubic, antialiased, in fp32; the class token's position stays as
//! it is (timm's `resample_abs_pos_embed`; Dosovitskiy et al. 2021, section 3.2).

use tch::{Kind, Tensor};

/// Positions (1 + g², d), the class token's first -> (1 + side², d).
pub(crate) fn resample(positions: &Tensor, side: i64) -> Tensor {
    let (tokens, width) = (positions.size()[0], positions.size()[1]);
    let grid = ((tokens - 1) as f64).sqrt().round() as i64;
    let positions = positions.to_kind(Kind::Float);
    let patches = positions
        .narrow(0, 1, tokens - 1)
        .view([1, grid, grid, width])
        .permute([0, 3, 1, 2])
        .internal_upsample_bicubic2d_aa([side, side], false, None, None)
        .permute([0, 2, 3, 1])
        .reshape([side * side, width]);
    Tensor::cat(&[positions.narrow(0, 0, 1), patches], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Pillow: Image.fromarray(x).resize((side, side), BICUBIC) of x[i][j] = ((7 i + 3 j) mod 11) / 4 - 1 in mode F.
    const LARGER: [[f32; 6]; 3] = [
        [
            -1.164_473_8,
            -0.816_950_44,
            -0.218_354_05,
            0.419_011_95,
            1.017_608_4,
            1.365_131_6,
        ],
        [
            0.659_212_05,
            1.186_104_3,
            1.313_188_6,
            -0.128_951_8,
            -0.238_221_68,
            0.076_975_2,
        ],
        [
            1.758_613_2,
            0.544_698_2,
            -0.612_497,
            0.014_817_86,
            0.721_168_76,
            1.176_376_5,
        ],
    ];
    const SMALLER: [[f32; 5]; 3] = [
        [
            -0.208_325_33,
            0.234_092_55,
            0.712_341_2,
            -0.306_760_67,
            0.135_657_19,
        ],
        [
            0.734_220_4,
            0.069_484_08,
            0.354_259_13,
            -0.249_285_46,
            0.484_661_16,
        ],
        [
            0.289_337_3,
            -0.057_792_5,
            0.427_924_93,
            0.397_953_4,
            0.309_110_6,
        ],
    ];

    fn resampled_rows(grid: i64, side: i64) -> [Vec<f32>; 3] {
        let at = |i: i64, j: i64| ((7 * i + 3 * j) % 11) as f32 / 4.0 - 1.0;
        let patches = (0..grid).flat_map(|i| (0..grid).map(move |j| at(i, j)));
        // The second column is the negative of the first: columns must not mix.
        let values: Vec<f32> = [100.0]
            .into_iter()
            .chain(patches)
            .flat_map(|value| [value, -value])
            .collect();
        let positions = Tensor::from_slice(&values).view([-1, 2]);
        let all = resample(&positions, side);
        assert_eq!(all.size(), [1 + side * side, 2]);
        assert_eq!(all.double_value(&[0, 0]), 100.0);
        assert_eq!(all.select(1, 1), -all.select(1, 0));
        let grid = all.select(1, 0).narrow(0, 1, side * side);
        [0, 2, side - 1].map(|row| {
            let row = grid.narrow(0, row * side, side);
            Vec::<f32>::try_from(row).unwrap()
        })
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn a_grid_is_resampled_as_pillow_does() {
        for (found, expected) in resampled_rows(4, 6).iter().zip(&LARGER) {
            assert_close(found, expected);
        }
        for (found, expected) in resampled_rows(7, 5).iter().zip(&SMALLER) {
            assert_close(found, expected);
        }
    }
}
