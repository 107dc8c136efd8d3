//! Small images inside the page, as `data:` addresses.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use lift_image::Result;
use lift_image::encode::{JpegEncoder, Subsampling};
use lift_image::resize::{CropBox, Resizer, RgbView};

/// JPEG quality: a few kilobytes an image.
const QUALITY: u8 = 70;

/// A small JPEG.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    width: u32,
    height: u32,
    jpeg: Vec<u8>,
}

impl Thumbnail {
    /// `image`, shrunk so that no side is longer than `longest_side` pixels; smaller ones keep their size.
    ///
    /// # Errors
    /// When the image has no pixel.
    pub fn new(image: RgbView<'_>, longest_side: u32) -> Result<Self> {
        let longest = image.width.max(image.height).max(1);
        let scaled = |side: u32| {
            let side = u64::from(side) * u64::from(longest_side.min(longest)) / u64::from(longest);
            (side as u32).max(1)
        };
        let (width, height) = (scaled(image.width), scaled(image.height));
        let mut pixels = vec![0; width as usize * height as usize * 3];
        let whole = CropBox::whole(image.width, image.height);
        Resizer::new().crop_resize(image, whole, width, height, &mut pixels)?;
        let small = RgbView {
            width,
            height,
            pixels: &pixels,
        };
        let jpeg = JpegEncoder::default().encode(small, QUALITY, Subsampling::Quarter)?;
        Ok(Self {
            width,
            height,
            jpeg,
        })
    }

    /// Pixels a row and rows.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Bytes that it adds to a page.
    pub fn page_bytes(&self) -> usize {
        self.jpeg.len().div_ceil(3) * 4
    }

    pub(super) fn data_uri(&self) -> String {
        format!("data:image/jpeg;base64,{}", STANDARD.encode(&self.jpeg))
    }
}
