//! What only the source file knows: CMYK, and the EXIF orientation. From its header; nothing is decoded.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageReader};
use serde::{Deserialize, Serialize};

/// Facts of an image file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// A JPEG with four channels.
    pub is_cmyk: bool,
    /// Its EXIF orientation is not upright.
    pub is_turned: bool,
}

/// Reads the header of an image file's bytes; what cannot be read is not there.
pub fn facts(bytes: &[u8]) -> Facts {
    Facts {
        is_cmyk: jpeg_channels(bytes) == Some(4),
        is_turned: is_turned(bytes),
    }
}

fn is_turned(bytes: &[u8]) -> bool {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let Ok(Ok(mut decoder)) = reader.map(ImageReader::into_decoder) else {
        return false;
    };
    let orientation = decoder.orientation();
    orientation.is_ok_and(|orientation| orientation != Orientation::NoTransforms)
}

/// The number of channels in a JPEG's frame header.
fn jpeg_channels(bytes: &[u8]) -> Option<u8> {
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8])?;
    loop {
        let (marker, after) = rest.split_first_chunk::<2>()?;
        if marker[0] != 0xFF {
            return None;
        }
        // Fill bytes may stand before a marker.
        if marker[1] == 0xFF {
            rest = &rest[1..];
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*after.first_chunk::<2>()?));
        let is_frame = matches!(marker[1], 0xC0..=0xCF) && !matches!(marker[1], 0xC4 | 0xC8 | 0xCC);
        if is_frame {
            return after.get(7).copied();
        }
        rest = after.get(length.max(2)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_stand_in_the_frame_header() {
        let header = |channels: u8| {
            let mut bytes = vec![
                0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xFF, 0xC2, 0, 11, 8, 0, 1, 0, 1,
            ];
            bytes.push(channels);
            bytes
        };
        assert_eq!(jpeg_channels(&header(4)), Some(4));
        assert!(facts(&header(4)).is_cmyk && !facts(&header(3)).is_cmyk);
        for cut in 0..19 {
            assert_eq!(jpeg_channels(&header(4)[..cut.min(18)]), None);
        }
    }
}
