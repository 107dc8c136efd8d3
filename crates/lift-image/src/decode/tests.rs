mod bombs;
mod damage;
mod fixtures;
mod upright;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, Rgba};

use super::*;

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image
        .write_to(&mut Cursor::new(&mut bytes), format)
        .unwrap();
    bytes
}

fn gradient(width: u32, height: u32) -> DynamicImage {
    let pixel = |x, y| Rgb([(x * 9) as u8, (y * 7) as u8, ((x + y) * 3) as u8]);
    image::RgbImage::from_fn(width, height, pixel).into()
}

fn decode(bytes: &[u8]) -> Result<RgbImage, DecodeError> {
    decode_rgb(bytes, Orientation::Exif)
}

/// A JPEG with an EXIF segment that holds the orientation tag alone.
fn with_exif_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2A\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xFF, 0xE1]);
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&jpeg[2..]);
    bytes
}

#[test]
fn lossless_formats_give_their_pixels_whatever_their_name() {
    let image = gradient(7, 5);
    for format in [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ] {
        let decoded = decode(&encode(&image, format)).unwrap();
        assert_eq!((decoded.width, decoded.height), (7, 5), "{format:?}");
        assert_eq!(decoded.pixels, image.as_bytes(), "{format:?}");
    }
}

#[test]
fn grey_and_16_bit_become_rgb8() {
    let grey = encode(&gradient(4, 4).to_luma8().into(), ImageFormat::Png);
    let pixels = decode(&grey).unwrap().pixels;
    assert!(pixels.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
    let deep = encode(&gradient(4, 4).to_rgb16().into(), ImageFormat::Png);
    assert_eq!(decode(&deep).unwrap().pixels, gradient(4, 4).as_bytes());
    let grey_jpeg = encode(&gradient(9, 4).to_luma8().into(), ImageFormat::Jpeg);
    assert_eq!(decode(&grey_jpeg).unwrap().pixels.len(), 9 * 4 * 3);
}

#[test]
fn the_first_frame_of_a_gif_counts() {
    let red = image::RgbImage::from_pixel(3, 2, Rgb([255, 0, 0]));
    let decoded = decode(&encode(
        &DynamicImage::from(red).to_rgba8().into(),
        ImageFormat::Gif,
    ));
    assert_eq!(decoded.unwrap().pixels, [255, 0, 0].repeat(6));
}

#[test]
fn transparency_lies_over_white() {
    let mut image = image::RgbaImage::from_pixel(2, 1, Rgba([10, 20, 30, 0]));
    image.put_pixel(1, 0, Rgba([0, 100, 200, 128]));
    let decoded = decode(&encode(&image.into(), ImageFormat::Png)).unwrap();
    assert_eq!(decoded.pixels, [255, 255, 255, 127, 177, 227]);
}

#[test]
fn exif_turns_the_image_when_asked() {
    let jpeg = encode(&gradient(16, 8), ImageFormat::Jpeg);
    let plain = decode(&jpeg).unwrap();
    for orientation in 1..=8 {
        let tagged = with_exif_orientation(&jpeg, orientation);
        let upright = decode_rgb(&tagged, Orientation::Exif).unwrap();
        let swapped = orientation >= 5;
        assert_eq!(
            (upright.width, upright.height),
            if swapped { (8, 16) } else { (16, 8) },
            "orientation {orientation}"
        );
        assert_eq!(upright.pixels == plain.pixels, orientation == 1);
        assert_eq!(decode_rgb(&tagged, Orientation::Ignore).unwrap(), plain);
    }
    // 6: the camera lay on its left side, so the first row is the last column.
    let right = decode(&with_exif_orientation(&jpeg, 6)).unwrap();
    assert_eq!(right.pixels[..3], plain.pixels[7 * 16 * 3..][..3]);
}

#[test]
fn what_is_no_image_says_why() {
    assert_eq!(decode(b""), Err(DecodeError::Empty));
    assert_eq!(
        decode(b"<html>not found</html>"),
        Err(DecodeError::UnknownFormat)
    );
    assert_eq!(decode(&[0; 64]), Err(DecodeError::UnknownFormat));
    let jpeg = encode(&gradient(64, 64), ImageFormat::Jpeg);
    for end in [30, jpeg.len() / 2, jpeg.len() - 2] {
        let err = decode(&jpeg[..end]).unwrap_err();
        assert_eq!(
            err,
            DecodeError::Truncated { format: "JPEG" },
            "{end} bytes"
        );
    }
    let png = encode(&gradient(64, 64), ImageFormat::Png);
    let err = decode(&png[..png.len() / 2]).unwrap_err();
    assert_eq!(err, DecodeError::Truncated { format: "PNG" });
}

#[test]
fn an_end_marker_in_the_exif_thumbnail_is_no_end() {
    let jpeg = encode(&gradient(64, 64), ImageFormat::Jpeg);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9]);
    bytes.extend(&jpeg[2..jpeg.len() / 2]);
    assert_eq!(
        decode(&bytes),
        Err(DecodeError::Truncated { format: "JPEG" })
    );
}

#[test]
fn a_huge_header_costs_nothing() {
    // A BMP header of 60,000 x 60,000 pixels without any.
    let mut bmp = encode(&gradient(1, 1), ImageFormat::Bmp);
    bmp[18..22].copy_from_slice(&60_000_u32.to_le_bytes());
    bmp[22..26].copy_from_slice(&60_000_u32.to_le_bytes());
    assert_eq!(
        decode(&bmp),
        Err(DecodeError::Size {
            width: 60_000,
            height: 60_000,
            most: MAX_PIXELS,
        })
    );
}

proptest::proptest! {
    #[test]
    fn damaged_files_never_panic(at in 0_usize..4000, value: u8, jpeg: bool) {
        let format = if jpeg { ImageFormat::Jpeg } else { ImageFormat::Png };
        let mut bytes = encode(&gradient(40, 30), format);
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = decode(&bytes);
    }
}

/// A JPEG of one ink colour, as print shops send them (Adobe marker, inverted).
fn ink_jpeg(ink: [u8; 4], color: jpeg_encoder::ColorType) -> Vec<u8> {
    let mut bytes = Vec::new();
    let pixels: Vec<u8> = ink.iter().copied().cycle().take(24 * 16 * 4).collect();
    jpeg_encoder::Encoder::new(&mut bytes, 95)
        .encode(&pixels, 24, 16, color)
        .unwrap();
    bytes
}

#[test]
fn cmyk_and_ycck_become_rgb() {
    for color in [
        jpeg_encoder::ColorType::Cmyk,
        jpeg_encoder::ColorType::CmykAsYcck,
    ] {
        for ink in [
            [0, 0, 0, 0],
            [200, 30, 60, 0],
            [10, 220, 90, 120],
            [0, 0, 0, 255],
        ] {
            let image = decode(&ink_jpeg(ink, color)).unwrap();
            assert_eq!((image.width, image.height), (24, 16));
            // The plain conversion: each ink, and black over it, takes away its share of light.
            for (channel, &value) in image.pixels[..3].iter().enumerate() {
                let light = |ink: u8| f64::from(255 - ink) / 255.0;
                let expected = 255.0 * light(ink[channel]) * light(ink[3]);
                let difference = (f64::from(value) - expected).abs();
                assert!(difference <= 4.0, "{color:?} {ink:?} {channel}: {value}");
            }
        }
    }
}

#[test]
fn a_scan_for_each_colour_makes_no_difference() {
    let source = gradient(40, 24);
    let encoded = |in_scans: bool| {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 95);
        encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::R_4_4_4);
        // Tables made for the image: this encoder then writes the colours one after the other.
        encoder.set_optimized_huffman_tables(in_scans);
        let color = jpeg_encoder::ColorType::Rgb;
        encoder.encode(source.as_bytes(), 40, 24, color).unwrap();
        bytes
    };
    let (one, three) = (encoded(false), encoded(true));
    let (one, three) = (decode(&one).unwrap(), decode(&three).unwrap());
    assert_eq!((three.width, three.height), (40, 24));
    // The same coefficients; two decoders' transforms differ by rounding.
    let largest = one
        .pixels
        .iter()
        .zip(&three.pixels)
        .map(|(a, b)| a.abs_diff(*b))
        .max();
    assert!(largest <= Some(4), "{largest:?}");
    for orientation in 2..=8 {
        let [plain, tagged] = [encoded(false), encoded(true)]
            .map(|bytes| decode(&with_exif_orientation(&bytes, orientation)).unwrap());
        assert_eq!((plain.width, plain.height), (tagged.width, tagged.height));
        let far = plain.pixels.iter().zip(&tagged.pixels);
        assert!(
            far.map(|(a, b)| a.abs_diff(*b)).max() <= Some(4),
            "{orientation}"
        );
    }
}

/// A photo-like image: soft hills with hard edges of colour.
#[cfg(feature = "turbojpeg")]
fn hills(width: u32, height: u32) -> image::RgbImage {
    image::RgbImage::from_fn(width, height, |x, y| {
        let wave = |a: u32, b: u32| {
            let phase = f64::from(x * a + y * b) / 40.0;
            (127.0 + 90.0 * phase.sin()) as u8
        };
        let edge = if (x / 23 + y / 31) % 3 == 0 { 30 } else { 0 };
        Rgb([
            wave(3, 1) + edge,
            wave(1, 4),
            wave(2, 2).saturating_sub(edge),
        ])
    })
}

/// `hills` as a JPEG of each kind that libjpeg-turbo decodes in part.
#[cfg(feature = "turbojpeg")]
fn jpegs(width: u32, height: u32) -> Vec<Vec<u8>> {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
    let image = hills(width, height);
    let mut files = Vec::new();
    for (sampling, is_progressive) in [
        (SamplingFactor::R_4_4_4, false),
        (SamplingFactor::R_4_2_0, false),
        (SamplingFactor::R_4_2_2, false),
        (SamplingFactor::R_4_4_0, false),
        (SamplingFactor::R_4_1_1, false),
        (SamplingFactor::R_4_2_0, true),
    ] {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 90);
        encoder.set_sampling_factor(sampling);
        encoder.set_progressive(is_progressive);
        let (width, height) = (width as u16, height as u16);
        encoder
            .encode(&image, width, height, ColorType::Rgb)
            .unwrap();
        files.push(bytes);
    }
    let grey = DynamicImage::from(image).to_luma8();
    files.push(encode(&grey.into(), ImageFormat::Jpeg));
    files
}

#[cfg(feature = "turbojpeg")]
fn crop_of(image: RgbView<'_>, crop: CropBox) -> Vec<u8> {
    let mut out = vec![0; crop.width as usize * crop.height as usize * 3];
    let mut resizer = crate::resize::Resizer::new();
    let sizes = (crop.width, crop.height);
    let cut = resizer.crop_resize(image, crop, sizes.0, sizes.1, &mut out);
    cut.unwrap();
    out
}

#[cfg(feature = "turbojpeg")]
proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(60))]

    #[test]
    fn a_part_of_a_jpeg_has_the_pixels_of_the_whole(
        (width, height) in (1_u32..200, 1_u32..150),
        corners in proptest::prelude::any::<[u32; 4]>(),
        orientation in 1_u8..9,
    ) {
        for bytes in jpegs(width, height) {
            let bytes = with_exif_orientation(&bytes, orientation);
            let whole = decode(&bytes).unwrap();
            let (left, top) = (corners[0] % whole.width, corners[1] % whole.height);
            let crop = CropBox {
                left,
                top,
                width: 1 + corners[2] % (whole.width - left),
                height: 1 + corners[3] % (whole.height - top),
            };
            let size = (whole.width, whole.height);
            // A target as large as the crop leaves no fraction to take.
            for target in [None, Some((crop.width, crop.height))] {
                let mut decoder = Decoder::default();
                let wanted = Wanted::Crop { size, crop, target };
                let part = decoder.part(&bytes, Orientation::Exif, wanted).unwrap();
                let (ours, theirs) = (crop_of(part.image, part.crop), crop_of(whole.view(), crop));
                proptest::prop_assert!(ours == theirs, "{:?} of {:?}", crop, size);
            }
        }
    }
}

#[cfg(feature = "turbojpeg")]
#[test]
fn a_part_at_a_fraction_has_the_pixels_of_the_whole_at_it() {
    let (width, height) = (1037, 811);
    for bytes in jpegs(width, height) {
        for target in [200, 90, 40] {
            let decode = |crop: CropBox| {
                let wanted = Wanted::Crop {
                    size: (width, height),
                    crop,
                    target: Some((target, target)),
                };
                let mut decoder = Decoder::default();
                let part = decoder.part(&bytes, Orientation::Exif, wanted).unwrap();
                (part.crop, crop_of(part.image, part.crop))
            };
            let place = CropBox {
                left: 333,
                top: 127,
                width: 480,
                height: 496,
            };
            let (inside, part) = decode(place);
            let (_, whole) = decode(CropBox::whole(width, height));
            let eighths = match inside.width {
                480 => 8,
                240 => 4,
                120 => 2,
                other => panic!("{other} columns"),
            };
            // The whole is decoded at the same fraction, or at a smaller one that its size allows.
            let scaled = |side: u32| (side * eighths).div_ceil(8);
            if whole.len() != (scaled(width) * scaled(height) * 3) as usize {
                continue;
            }
            let view = RgbView {
                width: scaled(width),
                height: scaled(height),
                pixels: &whole,
            };
            let there = CropBox {
                left: (place.left * eighths + 4) / 8,
                top: (place.top * eighths + 4) / 8,
                ..inside
            };
            assert!(part == crop_of(view, there), "{eighths} eighths");
        }
    }
}

#[cfg(feature = "turbojpeg")]
#[test]
fn the_stored_size_is_known_at_a_fraction() {
    use crate::resize::short_side_size;
    let image = image::RgbImage::from_pixel(3075, 2050, Rgb([9, 8, 7]));
    let bytes = encode(&image.into(), ImageFormat::Jpeg);
    let mut decoder = Decoder::default();
    let wanted = Wanted::ShortSide(256);
    let part = decoder.part(&bytes, Orientation::Exif, wanted).unwrap();
    assert_eq!((part.image.width, part.image.height), (769, 513));
    assert_eq!(part.size, (3075, 2050));
    // floor(256 * 3075 / 2050); of the fraction it would be 383.
    assert_eq!(short_side_size(part.size.0, part.size.1, 256), (384, 256));
}

#[cfg(feature = "turbojpeg")]
#[test]
fn a_lossless_jpeg_is_refused() {
    // SOF3 and a scan: libjpeg-turbo would decode it at its full size into room for a fraction.
    let bytes = lossless_jpeg(1100, 1100);
    let mut decoder = Decoder::default();
    for wanted in [Wanted::All, Wanted::ShortSide(64)] {
        assert!(decoder.part(&bytes, Orientation::Exif, wanted).is_err());
    }
}

/// A lossless grey JPEG (ITU-T T.81, process 14): predictor 1, all differences of category 0.
#[cfg(feature = "turbojpeg")]
fn lossless_jpeg(width: u16, height: u16) -> Vec<u8> {
    let mut file = vec![0xFF, 0xD8, 0xFF, 0xC3, 0, 11, 8];
    file.extend(height.to_be_bytes());
    file.extend(width.to_be_bytes());
    file.extend([1, 1, 0x11, 0]);
    // One code of one bit, for category 0.
    file.extend([0xFF, 0xC4, 0, 20, 0]);
    file.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0, 0]);
    file.resize(
        file.len() + (usize::from(width) * usize::from(height)).div_ceil(8),
        0,
    );
    file.extend([0xFF, 0xD9]);
    file
}

#[test]
fn tables_of_the_image_before_are_not_used() {
    let whole = encode(&gradient(40, 30), ImageFormat::Jpeg);
    // Without its quantisation tables.
    let at = whole
        .windows(2)
        .position(|pair| pair == [0xFF, 0xDB])
        .unwrap();
    let length = usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
    let mut bare = whole.clone();
    bare.drain(at..at + 2 + length);
    let mut decoder = Decoder::default();
    decoder.decode(&whole, Orientation::Exif).unwrap();
    let after = decoder
        .decode(&bare, Orientation::Exif)
        .map(|view| view.pixels.to_vec());
    assert_eq!(after, decode(&bare).map(|image| image.pixels));
}

#[cfg(feature = "turbojpeg")]
#[test]
fn no_more_is_decoded_than_the_crop_and_its_neighbours() {
    let bytes = &jpegs(400, 300)[1];
    let crop = CropBox {
        left: 200,
        top: 100,
        width: 100,
        height: 90,
    };
    let wanted = Wanted::Crop {
        size: (400, 300),
        crop,
        target: None,
    };
    let mut decoder = Decoder::default();
    let part = decoder.part(bytes, Orientation::Exif, wanted).unwrap();
    // From the block of 16 columns before that of column 200 to a block beyond column 300.
    assert_eq!((part.image.width, part.image.height), (316 - 176, 90));
    assert_eq!((part.crop.left, part.crop.top), (24, 0));
}

#[test]
fn a_crop_of_an_image_of_another_size_is_refused() {
    for format in [ImageFormat::Jpeg, ImageFormat::Png] {
        let wanted = Wanted::Crop {
            size: (40, 31),
            crop: CropBox::whole(40, 31),
            target: None,
        };
        let file = encode(&gradient(40, 30), format);
        let mut decoder = Decoder::default();
        let err = decoder.part(&file, Orientation::Exif, wanted).unwrap_err();
        assert_eq!(err.to_string(), "40x30 pixels where its row says 40x31");
    }
}

#[cfg(feature = "turbojpeg")]
#[test]
fn a_large_jpeg_at_a_fraction_is_near_the_whole_once_both_are_resized() {
    use crate::resize::Resizer;
    for (kind, bytes) in jpegs(1600, 1200).into_iter().enumerate() {
        for orientation in [1, 6] {
            let bytes = with_exif_orientation(&bytes, orientation);
            let resized = |wanted: Wanted| {
                let mut decoder = Decoder::default();
                let part = decoder.part(&bytes, Orientation::Exif, wanted).unwrap();
                let mut out = vec![0; 256 * 256 * 3];
                let mut resizer = Resizer::new();
                let made = resizer.crop_resize(part.image, part.crop, 256, 256, &mut out);
                made.unwrap();
                (part.image.width * part.image.height, out)
            };
            let size = if orientation == 6 {
                (1200, 1600)
            } else {
                (1600, 1200)
            };
            // The last one's edge is rounded by half a pixel of the smaller image, a quarter of the result's.
            for (side, most) in [(1200, 1.0), (1040, 1.0), (1033, 4.0)] {
                let crop = CropBox {
                    left: 0,
                    top: 0,
                    width: side,
                    height: side,
                };
                let wanted = |target| Wanted::Crop { size, crop, target };
                let (whole_pixels, whole) = resized(wanted(None));
                let (pixels, fraction) = resized(wanted(Some((256, 256))));
                assert_eq!(
                    pixels < whole_pixels / 2,
                    kind != 4,
                    "{kind}: all but 4:1:1"
                );
                let apart = whole.iter().zip(&fraction).map(|(a, b)| a.abs_diff(*b));
                let mean = apart.clone().map(f64::from).sum::<f64>() / whole.len() as f64;
                assert!(mean < most, "{kind} {side}: {mean} {:?}", apart.max());
            }
        }
    }
}

#[test]
fn the_size_is_that_of_the_decoded_image() {
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::WebP,
    ] {
        let file = encode(&gradient(40, 30), format);
        assert_eq!(size(&file, Orientation::Exif), Ok((40, 30)), "{format:?}");
    }
    let jpeg = encode(&gradient(40, 30), ImageFormat::Jpeg);
    for orientation in 1..=8 {
        let tagged = with_exif_orientation(&jpeg, orientation);
        let upright = decode(&tagged).unwrap();
        let sides = (upright.width, upright.height);
        assert_eq!(size(&tagged, Orientation::Exif), Ok(sides));
        assert_eq!(size(&tagged, Orientation::Ignore), Ok((40, 30)));
    }
    let cut = DecodeError::Truncated { format: "JPEG" };
    assert_eq!(size(&jpeg[..jpeg.len() / 2], Orientation::Exif), Err(cut));
    assert_eq!(size(b"", Orientation::Exif), Err(DecodeError::Empty));
    let no_frame = [&jpeg[..2], &[0xFF, 0xDA, 0, 2, 0xFF, 0xD9]].concat();
    assert!(size(&no_frame, Orientation::Exif).is_err());
    // Stray bytes after the first segment, which decoders skip.
    let stray = [&jpeg[..20], &[0, 0, 0], &jpeg[20..]].concat();
    let decoded = decode(&stray).map(|image| (image.width, image.height));
    assert_eq!(size(&stray, Orientation::Exif), decoded);
}

#[test]
fn a_decoder_shows_nothing_of_the_image_before() {
    let jpeg = encode(&gradient(40, 30), ImageFormat::Jpeg);
    let files = [
        encode(&gradient(64, 48), ImageFormat::Png),
        with_exif_orientation(&jpeg, 6),
        b"no image".to_vec(),
        jpeg.clone(),
        jpeg[..jpeg.len() / 2].to_vec(),
        encode(&gradient(3, 2), ImageFormat::Bmp),
        encode(&gradient(7, 5).to_rgba8().into(), ImageFormat::Png),
        skipping_bmp(),
        jpeg,
    ];
    let mut decoder = Decoder::default();
    for _ in 0..2 {
        for file in &files {
            for orientation in [Orientation::Exif, Orientation::Ignore] {
                let fresh = decode_rgb(file, orientation);
                let again = decoder.decode(file, orientation).map(|view| RgbImage {
                    width: view.width,
                    height: view.height,
                    pixels: view.pixels.to_vec(),
                });
                assert_eq!(again, fresh);
            }
        }
    }
}

/// A run-length coded BMP of 16 x 4 red pixels that ends after its first row.
fn skipping_bmp() -> Vec<u8> {
    let mut file = b"BM".to_vec();
    for field in [70, 0, 62, 40, 16, 4, 8 << 16 | 1, 1, 8, 0, 0, 2, 0] {
        file.extend(u32::to_le_bytes(field));
    }
    file.extend([0, 0, 0, 0, 0, 0, 255, 0]); // palette: black, red
    file.extend([16, 1, 0, 0, 0, 1, 0, 0]); // sixteen red ones, end of line, end of file
    file
}
