//! The chunks of a PNG: whether all are there, which of them its pixels need, and what its metadata says.
//!
//! It decodes no pixels. Invariant: no ancillary chunk reaches the decoder whose content could grow, and metadata is
//! unpacked to [`MOST_BYTES`] at most.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;

/// The most bytes that metadata is unpacked to: EXIF has at most 64 KB, and XMP with more is no photo's.
pub(super) const MOST_BYTES: u64 = 1 << 20;

const SIGNATURE: usize = 8;

/// Deflate makes of a byte no more than so many.
const MOST_OF_A_BYTE: u64 = 1032;

struct Chunk<'a> {
    name: &'a [u8],
    content: &'a [u8],
    /// With its length, name and checksum.
    whole: &'a [u8],
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.get(SIGNATURE..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = rest.get(..4)?;
        let length = u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let whole = rest.get(..length.checked_add(12)?)?;
        rest = &rest[whole.len()..];
        Some(Chunk {
            name: &whole[4..8],
            content: &whole[8..8 + length],
            whole,
        })
    })
}

/// Whether the last chunk is there.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    chunks(bytes).any(|chunk| chunk.name == b"IEND")
}

/// The most bytes that its pixels can be unpacked to.
pub(super) fn most_pixel_bytes(bytes: &[u8]) -> u64 {
    let packed = chunks(bytes).filter(|chunk| chunk.name == b"IDAT");
    let packed: u64 = packed.map(|chunk| chunk.content.len() as u64).sum();
    packed.saturating_mul(MOST_OF_A_BYTE)
}

/// Bits a pixel, as stored.
pub(super) fn bits(bytes: &[u8]) -> u64 {
    let header = chunks(bytes).next().map_or(&[][..], |chunk| chunk.content);
    let &[_, _, _, _, _, _, _, _, depth, colour, ..] = header else {
        return 0;
    };
    let channels = match colour {
        2 => 3,
        4 => 2,
        6 => 4,
        _ => 1,
    };
    u64::from(depth) * channels
}

/// The file with only those chunks that its pixels need: a profile or a text of a few bytes can be unpacked to
/// gigabytes, and nobody looks at it.
pub(super) fn of_pixels(bytes: &[u8]) -> Cow<'_, [u8]> {
    // Those of a fixed size can stay; a copy is made where there are others.
    let is_small = |chunk: &Chunk<'_>| chunk.content.len() <= 256 && chunk.name != b"iCCP";
    let is_text = |name: &[u8]| matches!(name, b"tEXt" | b"zTXt" | b"iTXt");
    let stays = |chunk: &Chunk<'_>| {
        let is_critical = chunk.name[0].is_ascii_uppercase();
        is_critical || chunk.name == b"tRNS" || (is_small(chunk) && !is_text(chunk.name))
    };
    if chunks(bytes).all(|chunk| stays(&chunk)) {
        return Cow::Borrowed(bytes);
    }
    let mut kept = bytes[..SIGNATURE].to_vec();
    for chunk in chunks(bytes).filter(|chunk| stays(chunk)) {
        kept.extend_from_slice(chunk.whole);
    }
    Cow::Owned(kept)
}

/// EXIF: from its chunk, or as ImageMagick writes it, in hexadecimal digits.
pub(super) fn exif(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let chunk = chunks(bytes).find(|chunk| chunk.name == b"eXIf");
    if let Some(chunk) = chunk {
        return Some(Cow::Borrowed(chunk.content));
    }
    let text = text(bytes, b"Raw profile type exif")?;
    // An empty line, its name, its length, then the digits.
    let mut lines = text.split(|&byte| byte == b'\n').skip(3);
    let digits: Vec<u8> = lines.by_ref().flatten().copied().collect();
    let digits: Vec<u8> = digits
        .into_iter()
        .filter(|digit| !digit.is_ascii_whitespace())
        .collect();
    let value = |digit: u8| char::from(digit).to_digit(16);
    let pairs = digits.chunks_exact(2);
    let exif: Option<Vec<u8>> = pairs
        .map(|pair| Some((value(pair[0])? << 4 | value(pair[1])?) as u8))
        .collect();
    exif.map(Cow::Owned)
}

/// The XMP packet.
pub(super) fn xmp(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    text(bytes, b"XML:com.adobe.xmp")
}

/// The text of this keyword, of whatever kind of chunk.
fn text<'a>(bytes: &'a [u8], keyword: &[u8]) -> Option<Cow<'a, [u8]>> {
    chunks(bytes).find_map(|chunk| {
        let rest = chunk.content.strip_prefix(keyword)?.strip_prefix(b"\0")?;
        match chunk.name {
            b"tEXt" => Some(Cow::Borrowed(rest)),
            b"zTXt" => unpacked(rest.get(1..)?).map(Cow::Owned),
            b"iTXt" => {
                let (&[is_packed, _], rest) = rest.split_first_chunk()?;
                // Behind its language and its translated keyword.
                let text = rest.splitn(3, |&byte| byte == 0).nth(2)?;
                match is_packed {
                    0 => Some(Cow::Borrowed(text)),
                    _ => unpacked(text).map(Cow::Owned),
                }
            }
            _ => None,
        }
    })
}

/// `None` where it is damaged or larger than metadata is.
fn unpacked(packed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let mut reader = ZlibDecoder::new(packed).take(MOST_BYTES + 1);
    reader.read_to_end(&mut text).ok()?;
    (text.len() as u64 <= MOST_BYTES).then_some(text)
}
