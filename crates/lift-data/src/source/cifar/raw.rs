//! Rows of the python and binary archives: labels and planes of pixels, made into PNG files.
//!
//! Both store an image as 1,024 bytes of red, then green, then blue, rows from the top. Invariant: a
//! row has one label below the number of classes and 3,072 bytes of pixels.

use std::path::Path;

use rayon::prelude::*;

use super::Kind;
use super::pickle::Pickle;
use crate::error::{Error, Result};
use crate::source::{Content, Item};
use lift_image::decode::RgbImage;
use lift_image::encode;

const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
const ROW: usize = 3 * PLANE;

/// The rows of a split.
#[derive(Default)]
pub struct Rows {
    /// The class of each row.
    pub labels: Vec<u32>,
    /// [`ROW`] bytes a row.
    planes: Vec<u8>,
    /// The files that the rows come from, with the row at which each starts.
    files: Vec<(String, usize)>,
}

impl Rows {
    /// Appends the rows of a pickle. `file` is named in errors, `name` in the items' paths.
    pub fn append_pickle(
        &mut self,
        file: &Path,
        name: &str,
        bytes: &[u8],
        kind: Kind,
        num_classes: usize,
    ) -> Result<()> {
        let wrong = |reason: String| Error::Source {
            path: file.to_owned(),
            reason: format!("not a file of {}'s python archive: {reason}", kind.as_str()),
            hint: "download the archive again".to_owned(),
        };
        let pickle = Pickle::read(bytes).map_err(|err| wrong(err.to_string()))?;
        let labels = pickle.numbers(kind.pickle_labels()).map_err(wrong)?;
        let planes = pickle.rows("data", ROW).map_err(wrong)?;
        if planes.len() != labels.len() * ROW {
            let rows = planes.len() / ROW;
            return Err(wrong(format!("{} labels for {rows} images", labels.len())));
        }
        self.append(file, name, labels, num_classes)?;
        self.planes.extend_from_slice(&planes);
        Ok(())
    }

    /// As [`Self::append_pickle`], for a binary file.
    pub fn append_binary(
        &mut self,
        file: &Path,
        name: &str,
        bytes: &[u8],
        kind: Kind,
        num_classes: usize,
    ) -> Result<()> {
        let label_bytes = kind.binary_label_bytes();
        let row_bytes = label_bytes + ROW;
        if bytes.is_empty() || !bytes.len().is_multiple_of(row_bytes) {
            return Err(Error::Source {
                path: file.to_owned(),
                reason: format!(
                    "not a file of {}'s binary archive: its {} bytes are no multiple of {row_bytes}",
                    kind.as_str(),
                    bytes.len()
                ),
                hint: "download the archive again".to_owned(),
            });
        }
        let rows = bytes.chunks_exact(row_bytes);
        let labels = rows.clone().map(|row| i64::from(row[label_bytes - 1]));
        self.append(file, name, labels.collect(), num_classes)?;
        for row in rows {
            self.planes.extend_from_slice(&row[label_bytes..]);
        }
        Ok(())
    }

    /// The rows at `kept` as PNG files, in that order.
    pub fn items(&self, kept: &[usize]) -> Vec<Item> {
        kept.par_iter()
            .map(|&row| {
                let file = self.files.partition_point(|(_, start)| *start <= row);
                let (name, start) = &self.files[file - 1];
                Item {
                    path: format!("{name}#{}", row - start),
                    label: self.labels[row],
                    content: Content::Memory(png(&self.planes[row * ROW..(row + 1) * ROW])),
                }
            })
            .collect()
    }

    fn append(
        &mut self,
        file: &Path,
        name: &str,
        labels: Vec<i64>,
        num_classes: usize,
    ) -> Result<()> {
        self.files.push((name.to_owned(), self.labels.len()));
        for (row, label) in labels.into_iter().enumerate() {
            if !(0..num_classes as i64).contains(&label) {
                return Err(Error::Label {
                    location: format!("{}: row {row}", file.display()),
                    label,
                    num_classes,
                });
            }
            self.labels.push(label as u32);
        }
        Ok(())
    }
}

fn png(planes: &[u8]) -> Vec<u8> {
    let pixels: Vec<u8> = (0..PLANE)
        .flat_map(|i| [planes[i], planes[PLANE + i], planes[2 * PLANE + i]])
        .collect();
    let image = RgbImage {
        width: SIDE as u32,
        height: SIDE as u32,
        pixels,
    };
    encode::png(image.view()).expect("the size fits the pixels, and memory takes any bytes")
}
