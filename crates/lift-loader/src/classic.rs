//! The augmentation of LIFT (arXiv 2309.10019): torchvision's RandomResizedCrop and a horizontal flip.
//!
//! Area 8 % to 100 % of the image, aspect ratio 3/4 to 4/3 (uniform in its logarithm), ten tries, then the largest
//! centre crop of an allowed ratio; flipped half of the time. Draws are a function of the image's generator.

use lift_image::resize::CropBox;
use rand_chacha::ChaCha8Rng;

use super::streams::{below, unit};

const SMALLEST_AREA: f64 = 0.08;
const NARROWEST: f64 = 3.0 / 4.0;
const WIDEST: f64 = 4.0 / 3.0;
const TRIES: usize = 10;

/// The part of a `width` x `height` image that is taken.
pub(super) fn crop(width: u32, height: u32, rng: &mut ChaCha8Rng) -> CropBox {
    let (w, h) = (f64::from(width), f64::from(height));
    for _ in 0..TRIES {
        let area = w * h * (SMALLEST_AREA + (1.0 - SMALLEST_AREA) * unit(rng));
        let (low, high) = (NARROWEST.ln(), WIDEST.ln());
        let ratio = (low + (high - low) * unit(rng)).exp();
        let crop_width = (area * ratio).sqrt().round() as u32;
        let crop_height = (area / ratio).sqrt().round() as u32;
        if (1..=width).contains(&crop_width) && (1..=height).contains(&crop_height) {
            return CropBox {
                left: below(rng, u64::from(width - crop_width) + 1) as u32,
                top: below(rng, u64::from(height - crop_height) + 1) as u32,
                width: crop_width,
                height: crop_height,
            };
        }
    }
    let ratio = w / h;
    let crop_width = if ratio > WIDEST {
        (h * WIDEST).round() as u32
    } else {
        width
    };
    let crop_height = if ratio < NARROWEST {
        (w / NARROWEST).round() as u32
    } else {
        height
    };
    let (crop_width, crop_height) = (crop_width.clamp(1, width), crop_height.clamp(1, height));
    CropBox {
        left: (width - crop_width) / 2,
        top: (height - crop_height) / 2,
        width: crop_width,
        height: crop_height,
    }
}

/// Whether the crop is to be mirrored: half of the time. Drawn after [`crop`].
pub(super) fn flips(rng: &mut ChaCha8Rng) -> bool {
    unit(rng) < 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_rng;

    #[test]
    fn crops_lie_inside_and_keep_to_area_and_ratio() {
        let mut areas = Vec::new();
        for id in 0..1000 {
            let crop = crop(300, 240, &mut image_rng(0, 0, id));
            assert!(crop.left + crop.width <= 300 && crop.top + crop.height <= 240);
            let ratio = f64::from(crop.width) / f64::from(crop.height);
            assert!((0.72..=1.38).contains(&ratio), "{crop:?}");
            areas.push(f64::from(crop.width * crop.height) / (300.0 * 240.0));
        }
        let mean = areas.iter().sum::<f64>() / 1000.0;
        // Uniform in 0.08..1 without the few that do not fit: a little under 0.54.
        assert!((0.45..0.55).contains(&mean), "{mean}");
        assert!(areas.iter().all(|area| (0.075..=1.0).contains(area)));
    }

    #[test]
    fn a_strip_falls_back_to_its_middle() {
        // No allowed ratio has 8 % of the area of 1000 x 10: by hand 13 x 10 in the middle.
        let middle = crop(1000, 10, &mut image_rng(0, 0, 0));
        let wanted = CropBox {
            left: 493,
            top: 0,
            width: 13,
            height: 10,
        };
        assert_eq!(middle, wanted);
        assert_eq!(crop(1, 1, &mut image_rng(0, 0, 0)), CropBox::whole(1, 1));
    }

    #[test]
    fn half_are_mirrored() {
        let mirrored = (0..200).filter(|&id| flips(&mut image_rng(0, 0, id)));
        let mirrored = mirrored.count();
        assert!((70..130).contains(&mirrored), "{mirrored}");
    }
}
