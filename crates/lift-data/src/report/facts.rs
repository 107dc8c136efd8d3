//! What only the source file knows: CMYK, and the EXIF orientation. From its header; nothing is decoded.

use serde::{Deserialize, Serialize};

use lift_image::decode::{self, jpeg};

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
        is_cmyk: jpeg::channels(bytes) == Some(4),
        is_turned: decode::is_turned(bytes),
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
        assert_eq!(jpeg::channels(&header(4)), Some(4));
        assert!(facts(&header(4)).is_cmyk && !facts(&header(3)).is_cmyk);
        for cut in 0..19 {
            assert_eq!(jpeg::channels(&header(4)[..cut.min(18)]), None);
        }
    }
}
