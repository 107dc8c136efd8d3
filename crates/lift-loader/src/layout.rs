//! How a batch lies in one buffer, of the host or of the device: pixels, then labels, then a flag a crop.

/// The sizes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Images, which have a label each.
    pub images: usize,
    /// Crops of all images together.
    pub crops: usize,
    /// Side of a crop in pixels.
    pub side: u32,
}

impl Layout {
    /// Images of one crop.
    pub fn square(images: usize, side: u32) -> Self {
        Self {
            images,
            crops: images,
            side,
        }
    }

    /// Bytes of the pixels of a crop.
    pub fn crop_bytes(self) -> usize {
        (self.side as usize).pow(2) * 3
    }

    /// Bytes of all pixels, which come first.
    pub fn pixel_bytes(self) -> usize {
        self.crops * self.crop_bytes()
    }

    /// Where the labels begin, eight bytes each.
    pub fn labels_at(self) -> usize {
        self.pixel_bytes().next_multiple_of(16)
    }

    /// Where the flags of mirrored crops begin, a byte each.
    pub fn mirrored_at(self) -> usize {
        self.labels_at() + 8 * self.images
    }

    /// Bytes of all.
    pub fn bytes(self) -> usize {
        self.mirrored_at() + self.crops
    }
}
