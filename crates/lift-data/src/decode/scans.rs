//! Sequential JPEGs with a scan for each colour, through `jpeg-decoder`.
//!
//! They are rare (some scanners and optimisers write them) and zune-jpeg reads them wrongly without a
//! word. Invariant: the size was checked before.

use image::DynamicImage;
use image::metadata::Orientation as Turn;
use jpeg_decoder::{Decoder, PixelFormat};

use super::{DecodeError, Orientation, RgbImage, check_pixels, jpeg};

/// Decodes such a JPEG.
pub(super) fn decode(bytes: &[u8], orientation: Orientation) -> Result<RgbImage, DecodeError> {
    let malformed = |reason: String| DecodeError::Malformed {
        format: "JPEG",
        reason,
    };
    let mut decoder = Decoder::new(bytes);
    let header = decoder
        .read_info()
        .map_err(|err| malformed(err.to_string()));
    let header = header.and_then(|()| {
        let info = decoder.info();
        info.ok_or_else(|| malformed("it has no frame".to_owned()))
    })?;
    let (width, height) = (u32::from(header.width), u32::from(header.height));
    check_pixels(width, height)?;
    if header.pixel_format != PixelFormat::RGB24 {
        let format = header.pixel_format;
        return Err(malformed(format!("{format:?} pixels in several scans")));
    }
    let pixels = decoder.decode().map_err(|err| malformed(err.to_string()))?;
    let image = RgbImage {
        width,
        height,
        pixels,
    };
    match orientation {
        Orientation::Exif => turned(image, jpeg::exif(bytes).and_then(Turn::from_exif_chunk))
            .ok_or_else(|| malformed("its pixels are not as many as its header says".to_owned())),
        Orientation::Ignore => Ok(image),
    }
}

/// The image turned upright; `None` where its pixels do not fit its size.
pub(super) fn turned(image: RgbImage, turn: Option<Turn>) -> Option<RgbImage> {
    match turn {
        None | Some(Turn::NoTransforms) => Some(image),
        Some(turn) => {
            let buffer = image::RgbImage::from_raw(image.width, image.height, image.pixels)?;
            let mut image = DynamicImage::from(buffer);
            image.apply_orientation(turn);
            Some(image.into_rgb8().into())
        }
    }
}
