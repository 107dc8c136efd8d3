//! The limit that no loader can beat: the same crops of the same images on one thread, from memory, unverified.
//!
//! It reads no file and hands nothing over. Invariant: an image of a draw becomes the bytes that the loader makes of it.

use lift_image::{
    RgbView,
    decode::{Decoder, Part, Rules, Wanted},
};
use lift_shards::{ShardReader, manifest::Encoding, shard::Row};

use super::view::{Cutter, View};
use crate::error::Result;

/// Some images of shards, in memory as they are stored.
pub struct Bare {
    images: Vec<(Row, Vec<u8>)>,
    encoding: Encoding,
    rules: Rules,
    decoder: Decoder,
    cutter: Cutter,
    out: Vec<u8>,
    mirrored: Vec<u8>,
}

impl Bare {
    /// At most `most_images` rows, evenly spaced, and no more of them than `most_bytes` hold; at least one.
    ///
    /// # Errors
    /// When a row is damaged.
    pub fn sample(reader: &ShardReader, most_images: usize, most_bytes: usize) -> Result<Self> {
        let rows = reader.len();
        let stored: u64 = reader
            .rows()
            .iter()
            .map(|row| u64::from(row.num_bytes))
            .sum();
        let mean = (stored as usize / rows.max(1)).max(1);
        let images = rows.min(most_images).min(most_bytes / mean).max(1);
        let chosen = (0..images).map(|nth| nth * rows / images);
        let images: Result<Vec<_>> = chosen
            .map(|row| Ok((reader.row(row).clone(), reader.bytes(row)?.to_vec())))
            .collect();
        let manifest = reader.manifest();
        Ok(Self {
            images: images?,
            encoding: manifest.encoding,
            rules: manifest.rules(),
            decoder: Decoder::default(),
            cutter: Cutter::default(),
            out: Vec::new(),
            mirrored: Vec::new(),
        })
    }

    /// How many images there are.
    pub fn images(&self) -> usize {
        self.images.len()
    }

    /// Cuts every image once, to squares of `side` pixels; the last image's are returned.
    ///
    /// # Errors
    /// When an image cannot be decoded or cut.
    pub fn pass(&mut self, view: View, side: u32) -> Result<&[u8]> {
        self.out
            .resize(view.crops() * (side as usize).pow(2) * 3, 0);
        self.mirrored.resize(view.crops(), 0);
        for (row, bytes) in &self.images {
            let (cutter, decoder) = (&mut self.cutter, &mut self.decoder);
            let how = (view, side, false);
            cutter.cut(
                row,
                0,
                how,
                |wanted| match (self.encoding, wanted) {
                    (Encoding::Rgb8, Wanted::Crop { crop, .. }) => Ok(Part {
                        image: RgbView {
                            width: row.width,
                            height: row.height,
                            pixels: bytes,
                        },
                        crop,
                        size: (row.width, row.height),
                    }),
                    _ => {
                        let part = decoder.part(bytes, self.rules, wanted);
                        let failed = |source| lift_shards::Error::Decode {
                            path: format!("image {}", row.id),
                            source,
                        };
                        Ok(part.map_err(failed)?)
                    }
                },
                (&mut self.out, &mut self.mirrored),
            )?;
        }
        Ok(&self.out)
    }
}
