//! Image bytes to RGB8 pixels: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF.
//!
//! The format is recognised by content, never by file name. Greyscale, 16-bit, palette and CMYK
//! images become RGB8, transparency is laid over white, colour profiles are ignored. It does not
//! resize, but of a JPEG no more is decoded than is wanted, in rows, columns and size.
//! JPEGs are decoded by libjpeg-turbo; what it refuses, and all without the feature `turbojpeg`, by zune-jpeg. Invariant: no
//! input makes it panic or allocate more than its limits allow.

pub(crate) mod jpeg;
mod scans;
#[cfg(feature = "turbojpeg")]
mod turbo;

use std::io::Cursor;
use std::panic::{self, AssertUnwindSafe};

use image::metadata::Orientation as Turn;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};
use serde::{Deserialize, Serialize};

use crate::resize::{CropBox, RgbView};

/// The most pixels an image may have.
pub const MAX_PIXELS: u64 = 1 << 28;

/// The most bytes a decoder may allocate for one image.
const MAX_ALLOC_BYTES: u64 = 3 << 30;

/// Decoded pixels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RgbImage {
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// `width * height * 3` bytes, rows from the top.
    pub pixels: Vec<u8>,
}

impl RgbImage {
    /// The pixels, borrowed.
    pub fn view(&self) -> RgbView<'_> {
        RgbView {
            width: self.width,
            height: self.height,
            pixels: &self.pixels,
        }
    }
}

/// What becomes of an EXIF orientation tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// The image is turned upright as the tag says.
    Exif,
    /// The pixels stay as they are stored (what the paper's code does).
    Ignore,
}

/// Why bytes are not an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// None of the formats that are known.
    #[error("not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF)")]
    UnknownFormat,
    /// More pixels than [`MAX_PIXELS`], or none.
    #[error("{width}x{height} pixels, allowed are 1 to {MAX_PIXELS}")]
    Size {
        /// Pixels a row, as the header says.
        width: u32,
        /// Rows, as the header says.
        height: u32,
    },
    /// An image of another size than its row says.
    #[error("{}x{} pixels where its row says {}x{}", found.0, found.1, wanted.0, wanted.1)]
    OtherSize {
        /// Width and height, upright.
        found: (u32, u32),
        /// What was expected.
        wanted: (u32, u32),
    },
    /// The data ends before the image does.
    #[error("{format}: premature end of data")]
    Truncated {
        /// The format, such as `JPEG`.
        format: &'static str,
    },
    /// The decoder refused the data.
    #[error("{format}: {reason}")]
    Malformed {
        /// The format, such as `JPEG`.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// The decoder panicked; the panic was contained.
    #[error("{format}: the decoder failed on this data")]
    Panicked {
        /// The format, such as `JPEG`.
        format: &'static str,
    },
}

/// What of an image is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Every pixel.
    All,
    /// All of it, to be resized to this short side: a large image may come out smaller than it is stored.
    ShortSide(u32),
    /// A rectangle of it.
    Crop {
        /// The image's size, upright, as its row or its header says it.
        size: (u32, u32),
        /// The rectangle, in pixels of that size.
        crop: CropBox,
        /// Width and height that the rectangle will be resized to; the image may come out smaller, as above.
        /// `None`: each pixel of it.
        target: Option<(u32, u32)>,
    },
}

/// Decoded pixels and where in them lies what was wanted.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// As much of the image as was decoded, perhaps at a fraction of its size.
    pub image: RgbView<'a>,
    /// The wanted rectangle in it; its edges are rounded where the size is a fraction.
    pub crop: CropBox,
    /// Width and height of the image as it is stored, upright.
    pub size: (u32, u32),
}

/// Decodes images one after the other, each into the place of the one before: one a thread.
#[derive(Debug, Default)]
pub struct Decoder {
    image: RgbImage,
}

/// What became of an image.
struct Decoded {
    image: RgbImage,
    /// See [`Part`].
    crop: CropBox,
    size: (u32, u32),
}

impl Decoder {
    /// As [`decode_rgb`]; the pixels are lent until the next image.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        orientation: Orientation,
    ) -> Result<RgbView<'_>, DecodeError> {
        self.part(bytes, orientation, Wanted::All)
            .map(|part| part.image)
    }

    /// Decodes what is wanted of an image, and not much more of a JPEG: libjpeg-turbo skips the rest of a crop, and
    /// an image that is several times larger than wanted is decoded at a half, a quarter or an eighth of its size
    /// (see `docs/decoding.md`). Other formats, and JPEGs without the feature `turbojpeg`, are decoded whole.
    ///
    /// # Errors
    /// When it is no image, is damaged, or does not have the size that [`Wanted::Crop`] names.
    pub fn part(
        &mut self,
        bytes: &[u8],
        orientation: Orientation,
        wanted: Wanted,
    ) -> Result<Part<'_>, DecodeError> {
        // Memory for pixels, of any length.
        let mut reused = std::mem::take(&mut self.image.pixels);
        let decoded = decode_with(&mut reused, bytes, orientation, wanted)?;
        self.image = decoded.image;
        Ok(Part {
            image: self.image.view(),
            crop: decoded.crop,
            size: decoded.size,
        })
    }
}

/// Decodes one image; `orientation` says whether EXIF turns it.
pub fn decode_rgb(bytes: &[u8], orientation: Orientation) -> Result<RgbImage, DecodeError> {
    let decoded = decode_with(&mut Vec::new(), bytes, orientation, Wanted::All);
    decoded.map(|decoded| decoded.image)
}

/// Width and height of an image once it is upright, from its header. A JPEG must have its end, nothing else is
/// decoded: the image may be damaged all the same.
///
/// # Errors
/// When it is no image of a known format or has too many pixels.
pub fn size(bytes: &[u8], orientation: Orientation) -> Result<(u32, u32), DecodeError> {
    let format = format_of(bytes)?;
    let name = format_name(format).ok_or(DecodeError::UnknownFormat)?;
    let of_jpeg = match format {
        ImageFormat::Jpeg => jpeg::size(bytes),
        _ => None,
    };
    let ((width, height), turn) = match of_jpeg {
        Some(size) => {
            let turn = jpeg::exif(bytes).and_then(Turn::from_exif_chunk);
            (size, turn.unwrap_or(Turn::NoTransforms))
        }
        // A JPEG with stray bytes between its segments too.
        None => panic::catch_unwind(AssertUnwindSafe(|| size_as(bytes, format, name)))
            .unwrap_or(Err(DecodeError::Panicked { format: name }))?,
    };
    check_pixels(width, height)?;
    match orientation {
        Orientation::Exif if jpeg::swaps_sides(turn) => Ok((height, width)),
        Orientation::Exif | Orientation::Ignore => Ok((width, height)),
    }
}

fn size_as(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
) -> Result<((u32, u32), Turn), DecodeError> {
    let malformed = |err: image::ImageError| DecodeError::Malformed {
        format: name,
        reason: first_line(&err),
    };
    let reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder = reader.into_decoder().map_err(malformed)?;
    let turn = decoder.orientation().map_err(malformed)?;
    Ok((decoder.dimensions(), turn))
}

fn check_pixels(width: u32, height: u32) -> Result<(), DecodeError> {
    match (1..=MAX_PIXELS).contains(&(u64::from(width) * u64::from(height))) {
        true => Ok(()),
        false => Err(DecodeError::Size { width, height }),
    }
}

fn decode_with(
    reused: &mut Vec<u8>,
    bytes: &[u8],
    orientation: Orientation,
    wanted: Wanted,
) -> Result<Decoded, DecodeError> {
    let format = format_of(bytes)?;
    let name = format_name(format).ok_or(DecodeError::UnknownFormat)?;
    #[cfg(feature = "turbojpeg")]
    if format == ImageFormat::Jpeg {
        // What it refuses or only warns of is for the other decoder to judge.
        if let Some(decoded) = turbo::decode(reused, bytes, orientation, wanted) {
            return Ok(decoded);
        }
    }
    // Decoders for untrusted data have open panics; nothing of theirs outlives the closure.
    let image = panic::catch_unwind(AssertUnwindSafe(|| {
        if format == ImageFormat::Jpeg && jpeg::is_sequential_in_scans(bytes) {
            return scans::decode(bytes, orientation);
        }
        decode_as(reused, bytes, format, name, orientation)
    }))
    .unwrap_or(Err(DecodeError::Panicked { format: name }))?;
    let crop = match wanted {
        Wanted::All | Wanted::ShortSide(_) => CropBox::whole(image.width, image.height),
        Wanted::Crop { size, .. } if size != (image.width, image.height) => {
            return Err(DecodeError::OtherSize {
                found: (image.width, image.height),
                wanted: size,
            });
        }
        Wanted::Crop { crop, .. } => crop,
    };
    let size = (image.width, image.height);
    Ok(Decoded { image, crop, size })
}

/// The name of the format that can be decoded which these bytes, the first of a file, begin as.
pub(crate) fn begins_as(head: &[u8]) -> Option<&'static str> {
    image::guess_format(head).ok().and_then(format_name)
}

/// The format that the bytes begin as; a JPEG must have its end too.
fn format_of(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    if format == ImageFormat::Jpeg && !jpeg::has_end(bytes) {
        return Err(DecodeError::Truncated { format: "JPEG" });
    }
    Ok(format)
}

fn decode_as(
    reused: &mut Vec<u8>,
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    orientation: Orientation,
) -> Result<RgbImage, DecodeError> {
    let malformed = |err: image::ImageError| DecodeError::Malformed {
        format: name,
        reason: first_line(&err),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(malformed)?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height)?;
    let turn = match orientation {
        Orientation::Exif => decoder.orientation().map_err(malformed)?,
        Orientation::Ignore => Turn::NoTransforms,
    };
    let upright = turn == Turn::NoTransforms;
    if decoder.color_type() == ColorType::Rgb8 && upright {
        let mut pixels = std::mem::take(reused);
        // Zeroed: a run-length coded BMP may leave pixels out, which must not show the image before.
        pixels.clear();
        pixels.resize(width as usize * height as usize * 3, 0);
        decoder.read_image(&mut pixels).map_err(malformed)?;
        return Ok(RgbImage {
            width,
            height,
            pixels,
        });
    }
    let mut image = DynamicImage::from_decoder(decoder).map_err(malformed)?;
    image.apply_orientation(turn);
    let image = if image.color().has_alpha() {
        over_white(&image)
    } else {
        image.into_rgb8()
    };
    Ok(image.into())
}

impl From<image::RgbImage> for RgbImage {
    fn from(image: image::RgbImage) -> Self {
        Self {
            width: image.width(),
            height: image.height(),
            pixels: image.into_raw(),
        }
    }
}

fn over_white(image: &DynamicImage) -> image::RgbImage {
    let rgba = image.to_rgba8();
    let mut rgb = image::RgbImage::new(rgba.width(), rgba.height());
    for (from, to) in rgba.pixels().zip(rgb.pixels_mut()) {
        let alpha = u32::from(from.0[3]);
        for (channel, out) in from.0[..3].iter().zip(&mut to.0) {
            *out = ((u32::from(*channel) * alpha + 255 * (255 - alpha) + 127) / 255) as u8;
        }
    }
    rgb
}

fn format_name(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Jpeg => Some("JPEG"),
        ImageFormat::Png => Some("PNG"),
        ImageFormat::WebP => Some("WebP"),
        ImageFormat::Gif => Some("GIF"),
        ImageFormat::Bmp => Some("BMP"),
        ImageFormat::Tiff => Some("TIFF"),
        _ => None,
    }
}

fn first_line(err: &image::ImageError) -> String {
    err.to_string()
        .lines()
        .next()
        .unwrap_or_default()
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests;
