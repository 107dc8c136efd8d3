//! Transparency laid over white, in place.
//!
//! It knows no format. Invariant: an opaque pixel stays as it is.

/// What a pixel's colour means beside its alpha.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alpha {
    /// The colour as it would be without transparency.
    Straight,
    /// The colour times the alpha ("associated").
    Premultiplied,
}

/// RGBA to RGB over white, in the same memory.
pub(super) fn over_white(mut pixels: Vec<u8>, alpha: Alpha) -> Vec<u8> {
    let count = pixels.len() / 4;
    for nth in 0..count {
        let [red, green, blue, opacity] =
            [0, 1, 2, 3].map(|channel| u32::from(pixels[nth * 4 + channel]));
        let white = 255 - opacity;
        let laid = [red, green, blue].map(|colour| match alpha {
            Alpha::Straight => (colour * opacity + 255 * white + 127) / 255,
            Alpha::Premultiplied => (colour + white).min(255),
        });
        pixels[nth * 3..nth * 3 + 3].copy_from_slice(&laid.map(|colour| colour as u8));
    }
    pixels.truncate(count * 3);
    pixels
}

/// Whether no pixel shows at all, of RGBA.
pub(super) fn is_all_transparent(pixels: &[u8]) -> bool {
    pixels.chunks_exact(4).all(|pixel| pixel[3] == 0)
}

/// Makes every pixel of RGBA opaque.
pub(super) fn make_opaque(pixels: &mut [u8]) {
    pixels.chunks_exact_mut(4).for_each(|pixel| pixel[3] = 255);
}
