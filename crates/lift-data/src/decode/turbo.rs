//! JPEG through libjpeg-turbo (feature `turbojpeg`), with DCT scaling.
//!
//! It says nothing of what it cannot decode: CMYK, damage, even a warning are `None`, and the
//! pure-Rust decoder decides. Invariant: without scaling the size is the file's.

use image::metadata::Orientation as Turn;
use turbojpeg::{Colorspace, Decompressor, Image, PixelFormat, ScalingFactor};

use super::scans::turned;
use super::{MAX_PIXELS, Orientation, RgbImage, Tools, jpeg};

/// Scans that a progressive file may have; more is an attack on the decoder's time.
const MAX_SCANS: u32 = 500;

/// The library's decoder, from the first JPEG on.
#[derive(Debug, Default)]
pub(super) struct Turbo(Option<Decompressor>);

impl Turbo {
    fn decompressor(&mut self) -> Option<&mut Decompressor> {
        if self.0.is_none() {
            let mut fresh = Decompressor::new().ok()?;
            fresh.set_scan_limit(MAX_SCANS).ok()?;
            self.0 = Some(fresh);
        }
        self.0.as_mut()
    }
}

/// Decodes a JPEG; see [`super::decode_at_least`].
pub(super) fn decode(
    tools: &mut Tools,
    bytes: &[u8],
    orientation: Orientation,
    wanted_short_side: Option<u32>,
) -> Option<RgbImage> {
    let decompressor = tools.turbo.decompressor()?;
    let header = decompressor.read_header(bytes).ok()?;
    let pixels = header.width as u64 * header.height as u64;
    let is_cmyk = matches!(header.colorspace, Colorspace::CMYK | Colorspace::YCCK);
    if is_cmyk || !(1..=MAX_PIXELS).contains(&pixels) {
        return None;
    }
    let factor = wanted_short_side.map_or(ScalingFactor::ONE, |wanted| {
        scaling(header.width.min(header.height), wanted as usize)
    });
    decompressor.set_scaling_factor(factor).ok()?;
    let (width, height) = (factor.scale(header.width), factor.scale(header.height));
    // It writes every pixel or says that it did not.
    let mut pixels = std::mem::take(&mut tools.pixels);
    pixels.resize(width * height * 3, 0);
    let target = Image {
        pixels: &mut pixels[..],
        width,
        pitch: width * 3,
        height,
        format: PixelFormat::RGB,
    };
    decompressor.decompress(bytes, target).ok()?;
    let image = RgbImage {
        width: width as u32,
        height: height as u32,
        pixels,
    };
    match orientation {
        Orientation::Exif => turned(image, jpeg::exif(bytes).and_then(Turn::from_exif_chunk)),
        Orientation::Ignore => Some(image),
    }
}

/// The smallest eighth at which the short side keeps twice the wanted pixels.
fn scaling(short_side: usize, wanted: usize) -> ScalingFactor {
    (1..8)
        .map(|eighths| ScalingFactor::new(eighths, 8))
        .find(|factor| factor.scale(short_side) >= wanted.saturating_mul(2))
        .unwrap_or(ScalingFactor::ONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_keeps_twice_the_wanted_short_side() {
        // 1200 * 4 / 8 = 600 >= 512 > 1200 * 3 / 8 = 450
        assert_eq!(scaling(1200, 256), ScalingFactor::new(4, 8));
        assert_eq!(scaling(375, 256), ScalingFactor::ONE);
        assert_eq!(scaling(10_000, 1), ScalingFactor::new(1, 8));
        assert_eq!(scaling(10_000, usize::MAX), ScalingFactor::ONE);
    }
}
