use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::testing::shared;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_kernel_gives_the_librarys_bytes(
        (width, height) in (1_u32..300, 1_u32..120),
        corners in any::<[u32; 4]>(),
        (dst_width, dst_height) in (1_u32..260, 1_u32..120),
        shrinking in prop::option::of((11_u32..50, 11_u32..50)),
        is_sharp: bool,
        seed: u64,
    ) {
        let mut noise = seed;
        let pixels: Vec<u8> = (0..width * height * 3)
            .map(|_| {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Black and white overshoot the most.
                if is_sharp { (noise >> 63) as u8 * 255 } else { (noise >> 56) as u8 }
            })
            .collect();
        let src = RgbView { width, height, pixels: &pixels };
        let (left, top) = (corners[0] % width, corners[1] % height);
        let crop = CropBox {
            left,
            top,
            width: 1 + corners[2] % (width - left),
            height: 1 + corners[3] % (height - top),
        };
        // To a half, a third, a quarter: by chance such sizes are rare.
        let tenths = |side: u32, by: u32| (side * 10 / by).max(1);
        let (dst_width, dst_height) = match shrinking {
            Some((x, y)) => (tenths(crop.width, x), tenths(crop.height, y)),
            None => (dst_width, dst_height),
        };
        // Where one side stays, the library takes one pass, and so does the kernel's caller.
        prop_assume!(crop.width != dst_width && crop.height != dst_height);
        let mut theirs = vec![2; (dst_width * dst_height * 3) as usize];
        let mut library = Resizer::with_kernel(ResizeKernel::Library);
        library.crop_resize(src, crop, dst_width, dst_height, &mut theirs).unwrap();
        for kernel in ResizeKernel::available() {
            let mut resizer = Resizer::with_kernel(kernel);
            // Twice: the second time with the kept plan and a used buffer.
            for _ in 0..2 {
                let mut ours = vec![1; theirs.len()];
                resizer.crop_resize(src, crop, dst_width, dst_height, &mut ours).unwrap();
                prop_assert!(ours == theirs, "{kernel}: {crop:?}");
            }
        }
    }
}

#[test]
fn short_side_follows_torchvision() {
    assert_eq!(short_side_size(500, 375, 256), (341, 256));
    assert_eq!(short_side_size(375, 500, 256), (256, 341));
    assert_eq!(short_side_size(293, 302, 128), (128, 131));
    assert_eq!(short_side_size(32, 32, 256), (256, 256));
    assert_eq!(short_side_size(1, 1, 1), (1, 1));
}

#[test]
fn equal_sizes_are_copied() {
    let pixels: Vec<u8> = (0..4 * 3 * 3).map(|i| i as u8).collect();
    let src = RgbView {
        width: 4,
        height: 3,
        pixels: &pixels,
    };
    let mut out = vec![0; 2 * 2 * 3];
    let crop = CropBox {
        left: 1,
        top: 1,
        width: 2,
        height: 2,
    };
    Resizer::new()
        .crop_resize(src, crop, 2, 2, &mut out)
        .unwrap();
    assert_eq!(out, [15, 16, 17, 18, 19, 20, 27, 28, 29, 30, 31, 32]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let pixels = vec![0; 4 * 4 * 3];
    let src = RgbView {
        width: 4,
        height: 4,
        pixels: &pixels,
    };
    let mut resizer = Resizer::new();
    let mut out = vec![0; 2 * 2 * 3];
    let outside = CropBox {
        left: 3,
        top: 0,
        width: 2,
        height: 2,
    };
    assert!(resizer.crop_resize(src, outside, 2, 2, &mut out).is_err());
    let empty = CropBox {
        left: 0,
        top: 0,
        width: 0,
        height: 2,
    };
    assert!(resizer.crop_resize(src, empty, 2, 2, &mut out).is_err());
    assert!(
        resizer
            .crop_resize(src, CropBox::whole(4, 4), 3, 2, &mut out)
            .is_err()
    );
    let short = RgbView {
        width: 5,
        height: 4,
        pixels: &pixels,
    };
    assert!(
        resizer
            .crop_resize(short, CropBox::whole(4, 4), 2, 2, &mut out)
            .is_err()
    );
}

#[derive(serde::Deserialize)]
struct Picture {
    source: String,
    ops: Vec<Op>,
}

#[derive(serde::Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the words of the goldens")]
enum Op {
    ResizedCrop {
        left: u32,
        top: u32,
        side: u32,
        size: u32,
        out: String,
    },
    ResizeShortThenCenterCrop {
        short: u32,
        size: u32,
        out: String,
    },
    ResizeShortThenFiveCrop {
        short: u32,
        size: u32,
        out: Vec<String>,
    },
}

struct Rgb {
    width: u32,
    height: u32,
    pixels: Vec<u8>,
}

impl Rgb {
    fn open(path: &Path) -> Self {
        let image = image::open(path).unwrap().into_rgb8();
        Self {
            width: image.width(),
            height: image.height(),
            pixels: image.into_raw(),
        }
    }

    fn resized(&self, crop: CropBox, width: u32, height: u32) -> Self {
        let mut pixels = vec![0; (width * height * 3) as usize];
        let src = RgbView {
            width: self.width,
            height: self.height,
            pixels: &self.pixels,
        };
        Resizer::new()
            .crop_resize(src, crop, width, height, &mut pixels)
            .unwrap();
        Self {
            width,
            height,
            pixels,
        }
    }

    fn short_side(&self, short: u32) -> Self {
        let (width, height) = short_side_size(self.width, self.height, short);
        self.resized(CropBox::whole(self.width, self.height), width, height)
    }

    fn square(&self, left: u32, top: u32, side: u32) -> Self {
        self.resized(
            CropBox {
                left,
                top,
                width: side,
                height: side,
            },
            side,
            side,
        )
    }

    /// torchvision's centre crop: the offsets are rounded half to even.
    fn center(&self, side: u32) -> Self {
        let offset = |whole: u32| ((whole - side) as f64 / 2.0).round_ties_even() as u32;
        self.square(offset(self.width), offset(self.height), side)
    }

    /// At most 1 grey level on 99 % of the values, never above 3 (Pillow rounds its coefficients
    /// and its intermediate pass a little differently).
    fn assert_close(&self, golden: &Path) {
        let want = Self::open(golden);
        assert_eq!(
            (self.width, self.height),
            (want.width, want.height),
            "{}",
            golden.display()
        );
        let differences = || {
            self.pixels
                .iter()
                .zip(&want.pixels)
                .map(|(a, b)| a.abs_diff(*b))
        };
        let close = differences().filter(|&d| d <= 1).count();
        let worst = differences().max().unwrap();
        assert!(
            close * 100 >= self.pixels.len() * 99,
            "{}: only {close}",
            golden.display()
        );
        assert!(worst <= 3, "{}: {worst} grey levels off", golden.display());
    }
}

#[test]
fn equals_pillow_within_the_goldens_tolerance() {
    let Some(dir) = shared("golden/preprocess") else {
        return;
    };
    let manifest = std::fs::read(dir.join("manifest.json")).unwrap();
    let pictures: Vec<Picture> = serde_json::from_slice(&manifest).unwrap();
    for picture in &pictures {
        let source = Rgb::open(&dir.join(&picture.source));
        for op in &picture.ops {
            match op {
                Op::ResizedCrop {
                    left,
                    top,
                    side,
                    size,
                    out,
                } => {
                    let crop = CropBox {
                        left: *left,
                        top: *top,
                        width: *side,
                        height: *side,
                    };
                    source
                        .resized(crop, *size, *size)
                        .assert_close(&dir.join(out));
                }
                Op::ResizeShortThenCenterCrop { short, size, out } => {
                    source
                        .short_side(*short)
                        .center(*size)
                        .assert_close(&dir.join(out));
                }
                Op::ResizeShortThenFiveCrop { short, size, out } => {
                    let resized = source.short_side(*short);
                    let (right, bottom) = (resized.width - size, resized.height - size);
                    let corners = [(0, 0), (right, 0), (0, bottom), (right, bottom)];
                    for ((left, top), out) in corners.into_iter().zip(out) {
                        resized
                            .square(left, top, *size)
                            .assert_close(&dir.join(out));
                    }
                    resized.center(*size).assert_close(&dir.join(&out[4]));
                }
            }
        }
    }
    assert_eq!(pictures.len(), 3);
}
