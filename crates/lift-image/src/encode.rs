//! Pixels to the bytes of a JPEG or PNG file.
//!
//! JPEGs are written by libjpeg-turbo, or by jpeg-encoder without the feature `turbojpeg`. Invariant: the
//! bytes depend on the pixels and the settings alone: what code both have for special processors rounds as
//! their plain code does.

use image::ExtendedColorType;
use image::ImageEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
#[cfg(not(feature = "turbojpeg"))]
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, SamplingFactor};

use crate::error::{Error, Result};
#[cfg(feature = "turbojpeg")]
use crate::libjpeg::Compressor;
use crate::resize::RgbView;
pub use crate::subsampling::Subsampling;

/// Encodes JPEGs one after the other: one a thread.
#[derive(Debug, Default)]
pub struct JpegEncoder {
    #[cfg(feature = "turbojpeg")]
    compressor: Option<Compressor>,
}

impl JpegEncoder {
    /// A baseline JPEG in one scan, as every decoder knows it.
    #[cfg(feature = "turbojpeg")]
    pub fn encode(
        &mut self,
        image: RgbView<'_>,
        quality: u8,
        subsampling: Subsampling,
    ) -> Result<Vec<u8>> {
        if self.compressor.is_none() {
            self.compressor = Compressor::new();
        }
        let compressor = self.compressor.as_mut();
        let compressor =
            compressor.ok_or_else(|| failed("libjpeg-turbo has no memory for an encoder"))?;
        let bytes = compressor
            .encode(image, quality, subsampling)
            .map_err(failed)?;
        Ok(bytes.to_vec())
    }

    /// A baseline JPEG in one scan, as every decoder knows it. (Huffman tables made for the image would make
    /// the encoder write a scan for each colour, which zune-jpeg reads wrongly.)
    #[cfg(not(feature = "turbojpeg"))]
    pub fn encode(
        &mut self,
        image: RgbView<'_>,
        quality: u8,
        subsampling: Subsampling,
    ) -> Result<Vec<u8>> {
        let side = |pixels: u32| {
            u16::try_from(pixels)
                .map_err(|_| failed(format!("{pixels} pixels, a JPEG has at most 65535 a side")))
        };
        let (width, height) = (side(image.width)?, side(image.height)?);
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, quality);
        // The mean of the pixels, as libjpeg takes it; the crate would take one of them.
        encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
        encoder.set_sampling_factor(match subsampling {
            Subsampling::Quarter => SamplingFactor::R_4_2_0,
            Subsampling::Full => SamplingFactor::R_4_4_4,
        });
        encoder
            .encode(image.pixels, width, height, ColorType::Rgb)
            .map_err(failed)?;
        Ok(bytes)
    }
}

/// A PNG, packed for speed: a better packing saves a few per cent and takes many times as long.
pub fn png(image: RgbView<'_>) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive)
        .write_image(
            image.pixels,
            image.width,
            image.height,
            ExtendedColorType::Rgb8,
        )
        .map_err(failed)?;
    Ok(bytes)
}

fn failed(reason: impl std::fmt::Display) -> Error {
    Error::Encode {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Orientation, RgbImage, decode_rgb};

    fn jpeg(image: &RgbImage, quality: u8, subsampling: Subsampling) -> Result<Vec<u8>> {
        JpegEncoder::default().encode(image.view(), quality, subsampling)
    }

    /// Smooth colours, so that JPEG has a fair chance.
    fn gradient(width: u32, height: u32) -> RgbImage {
        let mut pixels = Vec::new();
        for y in 0..height {
            for x in 0..width {
                let at = |part: u32, whole: u32| (part * 255 / whole.max(1)) as u8;
                pixels.extend([at(x, width), at(y, height), at(x + y, width + height)]);
            }
        }
        RgbImage {
            width,
            height,
            pixels,
        }
    }

    fn mean_error(a: &RgbImage, b: &RgbImage) -> f64 {
        assert_eq!((a.width, a.height), (b.width, b.height));
        let sum: u64 = a
            .pixels
            .iter()
            .zip(&b.pixels)
            .map(|(a, b)| u64::from(a.abs_diff(*b)))
            .sum();
        sum as f64 / a.pixels.len() as f64
    }

    #[test]
    fn png_keeps_every_pixel() {
        for (width, height) in [(1, 1), (3, 2), (64, 49)] {
            let image = gradient(width, height);
            let back = decode_rgb(&png(image.view()).unwrap(), Orientation::Exif).unwrap();
            assert_eq!(back, image);
        }
    }

    #[test]
    fn jpeg_is_near_and_nearer_with_quality() {
        let image = gradient(97, 61);
        for subsampling in [Subsampling::Quarter, Subsampling::Full] {
            let error = |quality| {
                let bytes = jpeg(&image, quality, subsampling).unwrap();
                let back = decode_rgb(&bytes, Orientation::Exif).unwrap();
                mean_error(&back, &image)
            };
            assert!(error(95) < 2.0, "{}", error(95));
            assert!(error(95) < error(30));
        }
        for size in [(1, 1), (8, 1), (17, 16)] {
            let bytes = jpeg(&gradient(size.0, size.1), 1, Subsampling::Quarter).unwrap();
            let back = decode_rgb(&bytes, Orientation::Exif).unwrap();
            assert_eq!((back.width, back.height), size);
        }
        assert!(jpeg(&gradient(65_536, 1), 90, Subsampling::Full).is_err());
    }

    #[test]
    fn the_frame_says_how_colour_is_sampled() {
        for (subsampling, luma) in [(Subsampling::Quarter, 0x22), (Subsampling::Full, 0x11)] {
            let bytes = jpeg(&gradient(20, 20), 90, subsampling).unwrap();
            // SOF0: marker, length (2), precision, height (2), width (2), components, id, factors.
            let frame = bytes
                .windows(2)
                .position(|pair| pair == [0xFF, 0xC0])
                .unwrap();
            assert_eq!(bytes[frame + 9], 3);
            assert_eq!(bytes[frame + 11], luma);
        }
    }

    #[test]
    fn an_image_does_not_depend_on_the_one_before() {
        let images = [gradient(97, 61), gradient(16, 200), gradient(97, 61)];
        let mut encoder = JpegEncoder::default();
        for (quality, subsampling) in [(90, Subsampling::Quarter), (70, Subsampling::Full)] {
            for image in &images {
                let bytes = encoder.encode(image.view(), quality, subsampling).unwrap();
                assert_eq!(bytes, jpeg(image, quality, subsampling).unwrap());
            }
        }
    }
}
