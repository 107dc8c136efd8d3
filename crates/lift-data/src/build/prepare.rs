//! One image from its source bytes to the bytes that a row stores.
//!
//! Every thread has its own [`Preparer`]; it holds buffers, no results. Invariant: the outcome depends
//! on the image and the preprocessing alone, and a bad image is a value, never a panic.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Instant;

use super::effort::{Effort, timed};
use crate::decode::{self, DecodeError, Orientation, RgbImage};
use crate::encode;
use crate::error::Result;
use crate::manifest::{Encoding, Subsampling};
use crate::resize::{CropBox, Resizer, RgbView, short_side_size};
use crate::source::{Content, Item};

/// What is done to every image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preprocess {
    /// How it is stored.
    pub encoding: Encoding,
    /// JPEG quality, 1 to 100.
    pub jpeg_quality: u8,
    /// How a JPEG stores colour.
    pub jpeg_subsampling: Subsampling,
    /// Short side in pixels that larger images are shrunk to; `None` keeps sizes.
    pub short_side: Option<u32>,
    /// Whether smaller images are enlarged to it.
    pub enlarge: bool,
    /// Whether EXIF turns it.
    pub orientation: Orientation,
}

/// An image that is ready to be written.
pub(crate) struct Prepared {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: Vec<u8>,
}

/// Why a source image cannot become a row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadImage {
    #[error("cannot read: {0}")]
    Read(io::Error),
    #[error("cannot decode: {0}")]
    Decode(DecodeError),
    #[error("cannot encode: {0}")]
    Encode(String),
}

pub(crate) struct Preparer<'a> {
    root: &'a Path,
    preprocess: Preprocess,
    resizer: Resizer,
    file_bytes: Vec<u8>,
    /// Time spent so far.
    pub(crate) effort: Effort,
}

impl<'a> Preparer<'a> {
    pub(crate) fn new(root: &'a Path, preprocess: Preprocess) -> Self {
        Self {
            root,
            preprocess,
            resizer: Resizer::new(),
            file_bytes: Vec::new(),
            effort: Effort::default(),
        }
    }

    pub(crate) fn prepare(&mut self, item: &Item) -> std::result::Result<Prepared, BadImage> {
        let attempt = panic::catch_unwind(AssertUnwindSafe(|| self.try_prepare(item)));
        attempt.unwrap_or_else(|_| {
            self.resizer = Resizer::new();
            Err(BadImage::Encode(
                "the image library failed on it".to_owned(),
            ))
        })
    }

    fn try_prepare(&mut self, item: &Item) -> std::result::Result<Prepared, BadImage> {
        let started = Instant::now();
        let bytes = match &item.content {
            Content::Memory(bytes) => bytes,
            Content::Slice {
                file,
                offset,
                num_bytes,
            } => {
                read_slice(file, *offset, *num_bytes, &mut self.file_bytes)
                    .map_err(BadImage::Read)?;
                &self.file_bytes
            }
            Content::Row { store, file, row } => {
                store
                    .read(*file, *row, &mut self.file_bytes)
                    .map_err(BadImage::Read)?;
                &self.file_bytes
            }
            Content::File => {
                self.file_bytes.clear();
                File::open(self.root.join(&item.path))
                    .and_then(|mut file| file.read_to_end(&mut self.file_bytes))
                    .map_err(BadImage::Read)?;
                &self.file_bytes
            }
        };
        self.effort.read += started.elapsed();
        // Stored bytes are decoded as well where they stay as they are: a shard holds no bad image.
        let wanted = match self.preprocess.encoding {
            Encoding::Original => None,
            _ => self.preprocess.short_side,
        };
        let effort = &mut self.effort;
        let image = timed(&mut effort.decode, || {
            decode::decode_at_least(bytes, self.preprocess.orientation, wanted)
        });
        let image = image.map_err(BadImage::Decode)?;
        let encode = |err: crate::Error| BadImage::Encode(err.to_string());
        match self.preprocess.encoding {
            Encoding::Original => Ok(Prepared {
                width: image.width,
                height: image.height,
                bytes: bytes.clone(),
            }),
            encoding @ (Encoding::Rgb8 | Encoding::Jpeg | Encoding::Png) => {
                let preprocess = self.preprocess;
                let image = timed(&mut effort.resize, || {
                    resize(&mut self.resizer, image, preprocess)
                });
                let image = image.map_err(encode)?;
                let (width, height) = (image.width, image.height);
                let bytes = timed(&mut effort.encode, || match encoding {
                    Encoding::Jpeg => encode::jpeg(
                        &image,
                        self.preprocess.jpeg_quality,
                        self.preprocess.jpeg_subsampling,
                    ),
                    Encoding::Png => encode::png(image.view()),
                    _ => Ok(image.pixels),
                });
                Ok(Prepared {
                    width,
                    height,
                    bytes: bytes.map_err(BadImage::Encode)?,
                })
            }
        }
    }
}

fn read_slice(file: &Path, offset: u64, num_bytes: u64, out: &mut Vec<u8>) -> io::Result<()> {
    out.clear();
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(offset))?;
    file.take(num_bytes).read_to_end(out)?;
    if (out.len() as u64) < num_bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// Resizes to the short side; enlarges only where that is asked for.
fn resize(resizer: &mut Resizer, image: RgbImage, preprocess: Preprocess) -> Result<RgbImage> {
    let side = image.width.min(image.height);
    let short = match preprocess.short_side {
        Some(short) if side > short || (preprocess.enlarge && side < short) => short,
        _ => return Ok(image),
    };
    let (width, height) = short_side_size(image.width, image.height, short);
    // A thin strip that is enlarged can become longer than any memory.
    if u64::from(width) * u64::from(height) > decode::MAX_PIXELS {
        return Err(crate::Error::Resize {
            reason: format!(
                "{width}x{height} pixels are more than {}",
                decode::MAX_PIXELS
            ),
        });
    }
    let mut pixels = vec![0; width as usize * height as usize * 3];
    let view = RgbView {
        width: image.width,
        height: image.height,
        pixels: &image.pixels,
    };
    let whole = CropBox::whole(image.width, image.height);
    resizer.crop_resize(view, whole, width, height, &mut pixels)?;
    Ok(RgbImage {
        width,
        height,
        pixels,
    })
}
