//! PNG, WebP, GIF, BMP and TIFF, through the `image` crate.
//!
//! What the crate takes as it finds it is looked at before: missing ends, metadata that grows, canvases, palettes.
//! Invariant: sizes are compared with the data and the limits before memory for pixels is asked for.

use std::borrow::Cow;
use std::io::Cursor;

use image::metadata::Orientation as Turn;
use image::{ColorType, DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::alpha::{self, Alpha};
use super::budget::Share;
use super::tiff::Palette;
use super::{DecodeError, RgbImage, Rules, bmp, format_name, gif, png, riff, tiff};

/// The most bytes a decoder may allocate for one image.
const MAX_ALLOC_BYTES: u64 = 3 << 30;

/// Width and height as the header says, not turned.
pub(super) fn size(bytes: &[u8], format: ImageFormat) -> Result<(u32, u32), DecodeError> {
    let (file, _) = whole(bytes, format)?;
    let size = opened(&file, format)?.dimensions();
    check_data(&file, format, size)?;
    Ok(size)
}

/// Decodes such an image.
pub(super) fn decode(
    reused: &mut Vec<u8>,
    share: &mut Share,
    bytes: &[u8],
    format: ImageFormat,
    rules: Rules,
) -> Result<RgbImage, DecodeError> {
    let (file, palette) = whole(bytes, format)?;
    let decoder = opened(&file, format)?;
    let (width, height) = decoder.dimensions();
    if format == ImageFormat::Tiff {
        tiff::jpegs(&file).try_for_each(|jpeg| super::check_jpeg(&jpeg))?;
    }
    rules.check_pixels(width, height)?;
    check_data(&file, format, (width, height))?;
    let turn = rules.turn(bytes, format);
    // As it comes out of the decoder, which may hold it twice; in 8 bits a channel; and turned.
    let pixels = u64::from(width) * u64::from(height);
    let copies = match format {
        ImageFormat::Png | ImageFormat::Bmp => 1,
        _ => 2,
    };
    let converted = match decoder.color_type() {
        ColorType::Rgb8 | ColorType::Rgba8 => 0,
        _ => pixels * 4,
    };
    let turned = match turn {
        Turn::NoTransforms => 0,
        _ => pixels * 3,
    };
    share.take(decoder.total_bytes() * copies + converted + turned)?;
    let malformed = |err| malformed(format, &err);
    if decoder.color_type() == ColorType::Rgb8 {
        let mut pixels = std::mem::take(reused);
        // Zeroed: a run-length coded BMP may leave pixels out, which must not show the image before.
        pixels.clear();
        pixels.resize(width as usize * height as usize * 3, 0);
        decoder.read_image(&mut pixels).map_err(malformed)?;
        let image = RgbImage {
            width,
            height,
            pixels,
        };
        return Ok(image.turned(turn));
    }
    let image = DynamicImage::from_decoder(decoder).map_err(malformed)?;
    let pixels = match palette {
        Some(palette) => palette.rgb(image.into_luma8().as_raw()),
        None if image.color().has_alpha() => {
            let mut pixels = image.into_rgba8().into_raw();
            let mut kind = Alpha::Straight;
            match format {
                ImageFormat::Tiff => kind = tiff::alpha(&file),
                // The alpha of many programs' BMPs is a byte that they do not use.
                ImageFormat::Bmp if alpha::is_all_transparent(&pixels) => {
                    alpha::make_opaque(&mut pixels);
                }
                _ => {}
            }
            alpha::over_white(pixels, kind)
        }
        None => image.into_rgb8().into_raw(),
    };
    let image = RgbImage {
        width,
        height,
        pixels,
    };
    Ok(image.turned(turn))
}

/// The file as the decoder is to see it, once its parts are found to be there.
fn whole(
    bytes: &[u8],
    format: ImageFormat,
) -> Result<(Cow<'_, [u8]>, Option<Palette>), DecodeError> {
    let is_whole = match format {
        ImageFormat::Png => png::has_end(bytes),
        ImageFormat::WebP => riff::is_whole(bytes),
        ImageFormat::Bmp => bmp::is_whole(bytes),
        _ => true,
    };
    if !is_whole {
        let format = format_name(format);
        return Err(DecodeError::Truncated { format });
    }
    match format {
        ImageFormat::Png => Ok((png::of_pixels(bytes), None)),
        ImageFormat::Gif => Ok((gif::with_canvas(bytes)?, None)),
        ImageFormat::Tiff => tiff::opened(bytes),
        _ => Ok((Cow::Borrowed(bytes), None)),
    }
}

fn opened(file: &[u8], format: ImageFormat) -> Result<impl ImageDecoder + '_, DecodeError> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOC_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    reader.limits(limits);
    reader.into_decoder().map_err(|err| malformed(format, &err))
}

/// Whether so many pixels can come out of the file at all. WebP and compressed TIFF can hold any number in a few bytes;
/// the limits on pixels and memory bound them.
fn check_data(
    file: &[u8],
    format: ImageFormat,
    (width, height): (u32, u32),
) -> Result<(), DecodeError> {
    let pixels = u64::from(width) * u64::from(height);
    let bytes = file.len() as u64;
    let can_hold = match format {
        ImageFormat::Png => pixels * png::bits(file) / 8 <= png::most_pixel_bytes(file),
        ImageFormat::Gif => pixels <= bytes.saturating_mul(gif::MOST_OF_A_BYTE),
        ImageFormat::Bmp => bmp::can_hold(file),
        _ => true,
    };
    if can_hold {
        Ok(())
    } else {
        Err(DecodeError::TooLittle {
            format: format_name(format),
            width,
            height,
            bytes: file.len(),
        })
    }
}

fn malformed(format: ImageFormat, err: &image::ImageError) -> DecodeError {
    let text = err.to_string();
    let first = text.lines().next().unwrap_or_default();
    DecodeError::Malformed {
        format: format_name(format),
        reason: first.trim_end_matches('.').to_owned(),
    }
}
