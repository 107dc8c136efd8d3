//! Which part of an image a batch holds, cut out and resized.
//!
//! Mirror images are the pixels as they are and a flag; who reads the pixels for the last time turns them.
//! Invariant: what comes out is a function of the image, the view and the draw.

use lift_image::{
    decode::{Part, Wanted},
    resize::{CropBox, Resizer, short_side_size},
};
use lift_shards::Row;

use super::{
    augment::mda_crop,
    classic,
    streams::{below, draw_rng, view_rng},
};
use crate::error::Result;

/// Which part of an image a batch holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    /// A random square crop of at least this relative area, for training.
    Random {
        /// See [`super::AreaSchedule::smallest_area`].
        smallest_area: f64,
        /// Of the run.
        seed: u64,
        /// From 0.
        epoch: usize,
    },
    /// A random crop of any shape, half of the time mirrored, for training as in LIFT.
    Classic {
        /// Of the run.
        seed: u64,
        /// From 0.
        epoch: usize,
    },
    /// Short side to `resolution + resolution / 7`, centre crop.
    Center,
    /// Short side to the resolution, centre crop: what the authors make a classifier's start from.
    Fitted,
    /// Short side to `resolution + expand`; top left, top right, bottom left, bottom right, centre.
    FiveCrop {
        /// Pixels beyond the resolution.
        expand: u32,
    },
    /// The five crops, then their mirror images.
    TenCrop {
        /// Pixels beyond the resolution.
        expand: u32,
    },
    /// Short side to `resolution + expand`; crops at places drawn for each image.
    RandomCrops {
        /// Pixels beyond the resolution.
        expand: u32,
        /// How many, at least 1.
        crops: usize,
        /// Of the places.
        seed: u64,
    },
}

impl View {
    /// Crops an image gives.
    pub fn crops(self) -> usize {
        match self {
            Self::FiveCrop { .. } => 5,
            Self::TenCrop { .. } => 10,
            Self::RandomCrops { crops, .. } => crops,
            Self::Random { .. } | Self::Classic { .. } | Self::Center | Self::Fitted => 1,
        }
    }

    /// The short side that an image is resized to before crops of `side` are cut from it.
    pub fn short_side(self, side: u32) -> u32 {
        match self {
            Self::FiveCrop { expand }
            | Self::TenCrop { expand }
            | Self::RandomCrops { expand, .. } => side + expand,
            Self::Random { .. } | Self::Classic { .. } | Self::Center => side + side / 7,
            Self::Fitted => side,
        }
    }
}

/// What cutting keeps from image to image.
#[derive(Default)]
pub(super) struct Cutter {
    resizer: Resizer,
    resized: Vec<u8>,
}

impl Cutter {
    /// Writes the crops of the image of `row`, squares of `side` pixels, and whether they are to be mirrored, 0 or 1.
    /// `load` gives what is wanted of the image; with `exact` it is told nothing of the squares' size. Pixels are
    /// written from the first to the last, and never read.
    pub(super) fn cut<'a>(
        &mut self,
        row: &Row,
        repeat: u32,
        (view, side, exact): (View, u32, bool),
        load: impl FnOnce(Wanted) -> Result<Part<'a>>,
        (out, mirrored): (&mut [u8], &mut [u8]),
    ) -> Result<()> {
        mirrored.fill(0);
        let (width, height) = (row.width, row.height);
        let wanted = |crop: CropBox, target: (u32, u32)| Wanted::Crop {
            size: (width, height),
            crop,
            target: Some(target).filter(|_| !exact),
        };
        match view {
            View::Random {
                smallest_area,
                seed,
                epoch,
            } => {
                let mut rng = draw_rng(seed, epoch, row.id, repeat);
                let crop = mda_crop(width, height, smallest_area, &mut rng);
                let Part { image, crop, .. } = load(wanted(crop, (side, side)))?;
                self.resizer.crop_resize(image, crop, side, side, out)?;
            }
            View::Classic { seed, epoch } => {
                let mut rng = draw_rng(seed, epoch, row.id, repeat);
                let crop = classic::crop(width, height, &mut rng);
                let Part { image, crop, .. } = load(wanted(crop, (side, side)))?;
                self.resizer.crop_resize(image, crop, side, side, out)?;
                mirrored[0] = u8::from(classic::flips(&mut rng));
            }
            View::Center
            | View::Fitted
            | View::FiveCrop { .. }
            | View::TenCrop { .. }
            | View::RandomCrops { .. } => {
                let (w, h) = short_side_size(width, height, view.short_side(side));
                let whole = CropBox::whole(width, height);
                let Part { image, crop, .. } = load(wanted(whole, (w, h)))?;
                self.resized.resize(w as usize * h as usize * 3, 0);
                self.resizer
                    .crop_resize(image, crop, w, h, &mut self.resized)?;
                let corners = crop_corners(view, w, h, side, row.id);
                let squares = out.chunks_mut(side as usize * side as usize * 3);
                // Where there are more squares than corners, the rest are the same ones mirrored.
                for (nth, square) in squares.enumerate() {
                    let (left, top) = corners[nth % corners.len()];
                    copy_square(&self.resized, w, left, top, side, square);
                    mirrored[nth] = u8::from(nth >= corners.len());
                }
            }
        }
        Ok(())
    }
}

/// Top-left corners of the crops, in torchvision's order and rounding; mirror images are not counted.
fn crop_corners(view: View, width: u32, height: u32, side: u32, id: u64) -> Vec<(u32, u32)> {
    let (right, bottom) = (width - side, height - side);
    // Python rounds halves to even: `int(round((w - side) / 2))`.
    let half = |n: u32| if n % 4 == 3 { n / 2 + 1 } else { n / 2 };
    let center = (half(right), half(bottom));
    match view {
        View::FiveCrop { .. } | View::TenCrop { .. } => {
            vec![(0, 0), (right, 0), (0, bottom), (right, bottom), center]
        }
        View::RandomCrops { crops, seed, .. } => {
            let mut rng = view_rng(seed, id);
            let mut place = |room: u32| below(&mut rng, u64::from(room) + 1) as u32;
            (0..crops).map(|_| (place(right), place(bottom))).collect()
        }
        View::Center | View::Fitted | View::Random { .. } | View::Classic { .. } => vec![center],
    }
}

fn copy_square(image: &[u8], width: u32, left: u32, top: u32, side: u32, out: &mut [u8]) {
    let (width, left, top, row_bytes) = (
        width as usize,
        left as usize,
        top as usize,
        side as usize * 3,
    );
    for (y, out) in out.chunks_mut(row_bytes).enumerate() {
        let begin = ((top + y) * width + left) * 3;
        out.copy_from_slice(&image[begin..begin + row_bytes]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_follow_torchvision() {
        // 13 x 10 image, side 8: (w - 8) / 2 = 2.5 -> 2, (h - 8) / 2 = 1.
        assert_eq!(crop_corners(View::Center, 13, 10, 8, 0), [(2, 1)]);
        // 15 x 8: 3.5 -> 4.
        assert_eq!(crop_corners(View::Center, 15, 8, 8, 0), [(4, 0)]);
        let five = crop_corners(View::FiveCrop { expand: 3 }, 13, 10, 8, 0);
        assert_eq!(five, [(0, 0), (5, 0), (0, 2), (5, 2), (2, 1)]);
        assert_eq!(
            crop_corners(View::TenCrop { expand: 3 }, 13, 10, 8, 0),
            five
        );
    }

    #[test]
    fn random_crops_lie_inside_and_follow_image_and_seed() {
        let view = |seed| View::RandomCrops {
            expand: 3,
            crops: 200,
            seed,
        };
        let corners = crop_corners(view(1), 13, 10, 8, 7);
        assert!(corners.iter().all(|&(left, top)| left <= 5 && top <= 2));
        for place in [(0, 0), (5, 2), (3, 1)] {
            assert!(corners.contains(&place), "{place:?} is never drawn");
        }
        assert_eq!(corners, crop_corners(view(1), 13, 10, 8, 7));
        assert_ne!(corners, crop_corners(view(2), 13, 10, 8, 7));
        assert_ne!(corners, crop_corners(view(1), 13, 10, 8, 8));
    }

    #[test]
    fn squares_are_cut_at_their_place() {
        let image: Vec<u8> = (0..4 * 3 * 3).collect();
        let mut out = vec![0; 2 * 2 * 3];
        copy_square(&image, 4, 1, 1, 2, &mut out);
        assert_eq!(out, [15, 16, 17, 18, 19, 20, 27, 28, 29, 30, 31, 32]);
    }
}
