//! Image bytes to RGB8 pixels: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF.
//!
//! The format is recognised by content, never by file name. Greyscale, 16-bit, palette and CMYK
//! images become RGB8, transparency is laid over white, colour profiles are ignored. It does not
//! resize, but of a JPEG no more is decoded than is wanted, in rows, columns and size.
//! JPEGs are decoded by libjpeg-turbo, or by zune-jpeg without the feature `turbojpeg`; nobody's second opinion is
//! asked. Invariant: no input makes it panic or allocate more than its limits allow, and pixels that the data does not
//! hold are never filled in without a word.

mod alpha;
mod bmp;
mod budget;
mod gif;
mod ifd;
pub mod jpeg;
mod other;
#[cfg(not(feature = "turbojpeg"))]
mod plain;
mod png;
mod riff;
mod rules;
mod tiff;
#[cfg(feature = "turbojpeg")]
mod turbo;
mod upright;

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use image::metadata::Orientation as Turn;
use image::{DynamicImage, ImageFormat};

pub use budget::Budget;
pub use rules::{Damaged, MAX_PIXELS, Orientation, Rules};

use budget::Share;
use upright::swaps_sides;

use crate::resize::{CropBox, RgbView};

/// Extensions that say that a file is meant as an image.
const EXTENSIONS: [&str; 10] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff",
];

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

/// Why bytes are not an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// None of the formats that are known.
    #[error("not an image of a known format (JPEG, PNG, WebP, GIF, BMP, TIFF)")]
    UnknownFormat,
    /// More pixels than [`Rules::max_pixels`], or none.
    #[error("{width}x{height} pixels, allowed are 1 to {most} (--max-pixels)")]
    Size {
        /// Pixels a row, as the header says.
        width: u32,
        /// Rows, as the header says.
        height: u32,
        /// The most that are allowed.
        most: u64,
    },
    /// More pixels than the data can be decoded to.
    #[error("{format}: {width}x{height} pixels cannot come out of {bytes} bytes")]
    TooLittle {
        /// The format, such as `JPEG`.
        format: &'static str,
        /// Pixels a row, as the header says.
        width: u32,
        /// Rows, as the header says.
        height: u32,
        /// The file's.
        bytes: usize,
    },
    /// Decoding takes more memory than all images together may have.
    #[error("decoding it takes {:.1} GiB, more than there is for images", *bytes as f64 / f64::from(1 << 30))]
    Memory {
        /// What it takes.
        bytes: u64,
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
    /// Coded data is missing or wrong, and pixels with it.
    #[error("{format}: damaged: {reason}")]
    Damaged {
        /// The format, such as `JPEG`.
        format: &'static str,
        /// What the decoder said.
        reason: String,
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
    damage: Option<String>,
    share: Share,
}

/// What became of an image.
struct Decoded {
    image: RgbImage,
    /// See [`Part`].
    crop: CropBox,
    size: (u32, u32),
    /// See [`Decoder::damage`].
    damage: Option<String>,
}

impl Decoder {
    /// A decoder that takes memory for huge images from the same budget as others.
    pub fn sharing(budget: &Arc<Budget>) -> Self {
        let mut decoder = Self::default();
        decoder.share.budget = Some(Arc::clone(budget));
        decoder
    }

    /// As [`decode_rgb`]; the pixels are lent until the next image.
    pub fn decode(
        &mut self,
        bytes: &[u8],
        rules: impl Into<Rules>,
    ) -> Result<RgbView<'_>, DecodeError> {
        self.part(bytes, rules, Wanted::All).map(|part| part.image)
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
        rules: impl Into<Rules>,
        wanted: Wanted,
    ) -> Result<Part<'_>, DecodeError> {
        self.release();
        // Memory for pixels, of any length.
        let mut reused = std::mem::take(&mut self.image.pixels);
        let decoded = decode_with(&mut reused, &mut self.share, bytes, rules.into(), wanted)?;
        self.image = decoded.image;
        self.damage = decoded.damage;
        Ok(Part {
            image: self.image.view(),
            crop: decoded.crop,
            size: decoded.size,
        })
    }

    /// What is wrong with the image that was decoded last, where [`Damaged::Keep`] kept it.
    pub fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Gives back the memory of a huge image. To be called once its pixels are no longer looked at: other threads may
    /// wait for it.
    pub fn release(&mut self) {
        self.damage = None;
        if self.share.is_counted() {
            self.image = RgbImage::default();
            self.share.give_back();
        }
    }
}

/// Decodes one image; `rules` says, among other things, whether EXIF turns it.
pub fn decode_rgb(bytes: &[u8], rules: impl Into<Rules>) -> Result<RgbImage, DecodeError> {
    let mut decoder = Decoder::default();
    decoder.decode(bytes, rules)?;
    Ok(decoder.image)
}

/// Width and height of an image once it is upright, from its header. It must have its end, nothing else is decoded:
/// the image may be damaged all the same.
///
/// # Errors
/// When it is no image of a known format, has too many pixels, or more than its data can hold.
pub fn size(bytes: &[u8], rules: impl Into<Rules>) -> Result<(u32, u32), DecodeError> {
    let rules = rules.into();
    let format = format_of(bytes)?;
    let (width, height) = match format {
        ImageFormat::Jpeg => jpeg_size(bytes, rules)?,
        _ => contained(format, || other::size(bytes, format))?,
    };
    rules.check_pixels(width, height)?;
    match rules.turn(bytes, format) {
        turn if swaps_sides(turn) => Ok((height, width)),
        _ => Ok((width, height)),
    }
}

/// Whether an image's metadata turns it.
pub fn is_turned(bytes: &[u8]) -> bool {
    let format = format_of(bytes);
    format.is_ok_and(|format| upright::turn(bytes, format) != Turn::NoTransforms)
}

/// Width and height of a JPEG as it is stored.
fn jpeg_size(bytes: &[u8], rules: Rules) -> Result<(u32, u32), DecodeError> {
    if rules.damaged == Damaged::Refuse && !jpeg::has_end(bytes) {
        return Err(DecodeError::Truncated { format: JPEG });
    }
    let (width, height) = jpeg::size(bytes).ok_or_else(|| DecodeError::Malformed {
        format: JPEG,
        reason: "it has no frame".to_owned(),
    })?;
    let blocks = u64::from(width.div_ceil(8)) * u64::from(height.div_ceil(8));
    jpeg::check_data(bytes, blocks, (width, height))?;
    Ok((width, height))
}

fn decode_with(
    reused: &mut Vec<u8>,
    share: &mut Share,
    bytes: &[u8],
    rules: Rules,
    wanted: Wanted,
) -> Result<Decoded, DecodeError> {
    let format = format_of(bytes)?;
    if format == ImageFormat::Jpeg {
        #[cfg(feature = "turbojpeg")]
        return turbo::decode(reused, share, bytes, rules, wanted);
        #[cfg(not(feature = "turbojpeg"))]
        return contained(format, || plain::decode(share, bytes, rules, wanted));
    }
    contained(format, || {
        other::decode(reused, share, bytes, format, rules)
    })?
    .wanted(wanted)
}

/// Whether a JPEG within another file is whole: the decoder of that file would fill in what is missing.
fn check_jpeg(bytes: &[u8]) -> Result<(), DecodeError> {
    #[cfg(feature = "turbojpeg")]
    return turbo::check(bytes);
    #[cfg(not(feature = "turbojpeg"))]
    plain::check(bytes)
}

/// Decoders for untrusted data have open panics; nothing of theirs outlives the closure.
fn contained<T>(
    format: ImageFormat,
    decode: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let format = format_name(format);
    panic::catch_unwind(AssertUnwindSafe(decode)).unwrap_or(Err(DecodeError::Panicked { format }))
}

impl RgbImage {
    /// As much of this whole image as is wanted: all of it.
    fn wanted(self, wanted: Wanted) -> Result<Decoded, DecodeError> {
        let size = (self.width, self.height);
        let crop = match wanted {
            Wanted::All | Wanted::ShortSide(_) => CropBox::whole(self.width, self.height),
            Wanted::Crop { size: wanted, .. } if wanted != size => {
                let found = size;
                return Err(DecodeError::OtherSize { found, wanted });
            }
            Wanted::Crop { crop, .. } => crop,
        };
        Ok(Decoded {
            image: self,
            crop,
            size,
            damage: None,
        })
    }

    /// The image turned upright.
    fn turned(self, turn: Turn) -> Self {
        if turn == Turn::NoTransforms {
            return self;
        }
        let buffer = image::RgbImage::from_raw(self.width, self.height, self.pixels);
        let buffer = buffer.expect("an image has as many pixels as its size says");
        let mut image = DynamicImage::from(buffer);
        image.apply_orientation(turn);
        image.into_rgb8().into()
    }
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

/// Whether a name's extension says that it is an image.
pub fn is_named_image(extension: Option<&str>) -> bool {
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
}

/// The name of the format that can be decoded which these bytes, the first of a file, begin as.
pub fn begins_as(head: &[u8]) -> Option<&'static str> {
    format_of(head).ok().map(format_name)
}

/// The format that the bytes begin as.
fn format_of(bytes: &[u8]) -> Result<ImageFormat, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if tiff::is_big(bytes) {
        return Ok(ImageFormat::Tiff);
    }
    let format = image::guess_format(bytes).map_err(|_| DecodeError::UnknownFormat)?;
    match format_name(format) {
        OTHER => Err(DecodeError::UnknownFormat),
        _ => Ok(format),
    }
}

const JPEG: &str = "JPEG";
const OTHER: &str = "other";

fn format_name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => JPEG,
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests;
