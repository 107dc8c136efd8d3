//! Images of rows in any order, read at once: file by file, row group by row group.
//!
//! Of a row group only the pages are decoded that the rows lie in. Invariant: rows that were not read, because
//! a page is damaged or there was no more room, are not here, and their neighbours are.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, RowSelectionPolicy};

use lift_shards::pages;

use super::{Images, image_leaf, invalid, of_parquet};

/// Footers that are kept once they were read take up to so many bytes.
const FOOTER_BYTES: usize = 32 << 20;

/// The footers of files, each read once where there is room.
#[derive(Default)]
pub(super) struct Footers {
    kept: HashMap<u32, ArrowReaderMetadata>,
    bytes: usize,
}

impl Footers {
    pub(super) fn of(&mut self, file: u32, path: &Path) -> io::Result<ArrowReaderMetadata> {
        if let Some(footer) = self.kept.get(&file) {
            return Ok(footer.clone());
        }
        let footer = pages::footer(path)?;
        let bytes = footer.metadata().memory_size();
        if self.bytes + bytes <= FOOTER_BYTES {
            self.bytes += bytes;
            self.kept.insert(file, footer.clone());
        }
        Ok(footer)
    }
}

/// The images of some rows.
pub(super) struct Fetched {
    /// Where each row's image lies in `bytes`, or why it has none.
    rows: HashMap<(u32, u64), Result<std::ops::Range<usize>, String>>,
    bytes: Vec<u8>,
    /// No more than so many bytes, and one image.
    most_bytes: u64,
}

impl Fetched {
    pub(super) fn new(most_bytes: u64) -> Self {
        Self {
            rows: HashMap::new(),
            bytes: Vec::new(),
            most_bytes,
        }
    }

    pub(super) fn has(&self, file: u32, row: u64) -> bool {
        self.rows.contains_key(&(file, row))
    }

    pub(super) fn get(&self, file: u32, row: u64) -> Option<io::Result<&[u8]>> {
        let found = self.rows.get(&(file, row))?;
        Some(match found {
            Ok(range) => Ok(&self.bytes[range.clone()]),
            Err(reason) => Err(invalid(reason.clone())),
        })
    }

    /// Reads `rows` of one file, ascending.
    pub(super) fn add(
        &mut self,
        path: &Path,
        footer: ArrowReaderMetadata,
        column: &str,
        batch_rows: usize,
        rows: &[(u32, u64)],
    ) -> io::Result<()> {
        let wanted = |start: u64, end: u64| {
            let from = rows.partition_point(|&(_, row)| row < start);
            let to = rows.partition_point(|&(_, row)| row < end);
            &rows[from..to]
        };
        let mut start = 0;
        for group in 0..footer.metadata().num_row_groups() {
            let num_rows = footer.metadata().row_group(group).num_rows() as u64;
            let here = wanted(start, start + num_rows);
            if !here.is_empty() {
                // Another group of a damaged file may be whole.
                let _ = self.add_group(path, &footer, column, batch_rows, (group, start), here);
            }
            start += num_rows;
        }
        Ok(())
    }

    fn add_group(
        &mut self,
        path: &Path,
        footer: &ArrowReaderMetadata,
        column: &str,
        batch_rows: usize,
        (group, start): (usize, u64),
        rows: &[(u32, u64)],
    ) -> io::Result<()> {
        let num_rows = footer.metadata().row_group(group).num_rows() as usize;
        let one = |&(_, row): &(u32, u64)| {
            let at = (row - start) as usize;
            at..at + 1
        };
        let selection = RowSelection::from_consecutive_ranges(rows.iter().map(one), num_rows);
        let builder = pages::with_footer(path, footer.clone())?;
        let leaf = image_leaf(&builder, column).map_err(invalid)?;
        let mask = ProjectionMask::leaves(builder.parquet_schema(), [leaf]);
        let reader = builder
            .with_projection(mask)
            .with_row_groups(vec![group])
            .with_row_selection(selection)
            // A mask would decode whatever lies between the rows.
            .with_row_selection_policy(RowSelectionPolicy::Selectors)
            .with_batch_size(batch_rows)
            .build()
            .map_err(of_parquet)?;
        let mut rows = rows.iter();
        for batch in reader {
            let images = Images::of(&batch.map_err(of_parquet)?)?;
            for (image, &place) in (0..images.len()).zip(rows.by_ref()) {
                if self.bytes.len() as u64 > self.most_bytes {
                    return Ok(());
                }
                let from = self.bytes.len();
                let found = images.get(image).map(|bytes| {
                    self.bytes.extend_from_slice(bytes);
                    from..self.bytes.len()
                });
                self.rows
                    .insert(place, found.map_err(|err| err.to_string()));
            }
        }
        Ok(())
    }
}
