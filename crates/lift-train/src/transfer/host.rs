//! Patches made on the CPU: what `kernels/patches.cu` makes on a device, a crop a task.
//!
//! Invariant: words are copied from the table, so that no value depends on who makes it.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::table::Table;
use lift_loader::Batch;

/// Makes patches, in memory that is used again.
#[derive(Default)]
pub(super) struct HostPatches {
    words: Vec<u8>,
}

impl HostPatches {
    /// The patches (crops, n, 3 p p) of a batch.
    pub(super) fn make(&mut self, batch: &Batch, table: &Table, kind: Kind, patch: u32) -> Tensor {
        let layout = batch.layout();
        let crop_words = layout.crop_bytes() * table.word_bytes();
        self.words.resize(layout.crops * crop_words, 0);
        let (side, patch) = (layout.side as usize, patch as usize);
        let crops = batch.pixels.par_chunks_exact(layout.crop_bytes().max(1));
        let words = self.words.par_chunks_exact_mut(crop_words.max(1));
        words
            .zip(crops)
            .zip(&batch.mirrored)
            .for_each(|((out, crop), &mirrored)| {
                let how = (side, patch, mirrored != 0);
                match table.word_bytes() {
                    2 => crop_patches::<2>(crop, table, how, out),
                    _ => crop_patches::<4>(crop, table, how, out),
                }
            });
        let columns = (side / patch) as i64;
        let in_patch = 3 * (patch * patch) as i64;
        let size = [layout.crops as i64, columns * columns, in_patch];
        Tensor::from_data_size(&self.words, &size, kind)
    }
}

/// Patches in the grid's rows; in a patch by channel, then row, then column.
fn crop_patches<const W: usize>(
    crop: &[u8],
    table: &Table,
    (side, patch, mirrored): (usize, usize, bool),
    out: &mut [u8],
) {
    let channels = [0, 1, 2].map(|channel| table.channel::<W>(channel));
    let pixels = crop.as_chunks::<3>().0;
    let mut rows_of_words = out.as_chunks_mut::<W>().0.chunks_exact_mut(patch);
    for top in (0..side).step_by(patch) {
        for left in (0..side).step_by(patch) {
            for (channel, values) in channels.iter().enumerate() {
                let left = if mirrored { side - left - patch } else { left };
                for y in top..top + patch {
                    let row = &pixels[y * side + left..][..patch];
                    let words = rows_of_words.next().expect("as many words as bytes");
                    let word = |pixel: &[u8; 3]| values[usize::from(pixel[channel])];
                    if mirrored {
                        let row = row.iter().rev();
                        words.iter_mut().zip(row).for_each(|(w, p)| *w = word(p));
                    } else {
                        words.iter_mut().zip(row).for_each(|(w, p)| *w = word(p))
                    }
                }
            }
        }
    }
}
