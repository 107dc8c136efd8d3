//! One image from its source bytes to the bytes that a row stores.
//!
//! Every thread has its own [`Preparer`]; it holds buffers, no results. Invariant: the outcome depends
//! on the image and the preprocessing alone, and a bad image is a value, never a panic.

use std::fs::File;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::effort::{Effort, timed};
use crate::source::shards::Stored;
use crate::source::{Content, ImageFiles, Item, SplitList, read_slice};
use lift_image::decode::{
    self, Budget, Damaged, DecodeError, Decoder, Orientation, Part, RgbImage, Rules, Wanted,
};
use lift_image::encode::{self, JpegEncoder, Subsampling};
use lift_image::resize::{CropBox, Resizer, RgbView, short_side_size};
use lift_shards::manifest::{Check, Encoding, Manifest};
use lift_shards::shard::MAX_IMAGE_BYTES;

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
    /// What becomes of damaged JPEGs.
    pub damaged: Damaged,
    /// The most pixels that one may have.
    pub max_pixels: u64,
    /// Whether it is decoded at its full size however small it will be.
    pub exact: bool,
    /// How well it is looked at where it is stored as it is.
    pub check: Check,
    /// Whether an image of shards is taken as it is stored there, by all these settings.
    pub copy: bool,
}

impl Preprocess {
    /// By which a shard folder's images were stored: others are taken as they are.
    pub fn of_shards(manifest: &Manifest) -> Self {
        Self {
            encoding: manifest.encoding,
            jpeg_quality: manifest.jpeg_quality.unwrap_or(95),
            jpeg_subsampling: manifest.jpeg_subsampling.unwrap_or_default(),
            short_side: manifest.short_side,
            enlarge: manifest.enlarge,
            orientation: manifest.orientation,
            damaged: manifest.damaged,
            max_pixels: manifest.max_pixels,
            exact: manifest.exact,
            check: manifest.check.unwrap_or_default(),
            copy: true,
        }
    }

    /// How it is decoded.
    fn rules(&self) -> Rules {
        Rules {
            orientation: self.orientation,
            damaged: self.damaged,
            max_pixels: self.max_pixels,
        }
    }
}

/// The most pixels that an image may be enlarged to.
const MAX_ENLARGED: u64 = 1 << 28;

/// An image that is ready to be written.
pub(crate) struct Prepared {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: Vec<u8>,
    /// What is wrong with it, where that is kept.
    pub(crate) damage: Option<String>,
}

/// Why a source image cannot become a row.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadImage {
    #[error("cannot read: {0}")]
    Read(io::Error),
    #[error("cannot decode: {0}")]
    Decode(DecodeError),
    #[error(transparent)]
    Image(#[from] lift_image::Error),
}

pub(crate) struct Preparer<'a> {
    root: &'a Path,
    files: ImageFiles<'a>,
    preprocess: Preprocess,
    decoder: Decoder,
    resizer: Resizer,
    encoder: JpegEncoder,
    file_bytes: Vec<u8>,
    /// The larger file that an image was read from last: the next one often lies in it as well.
    open: Option<(Arc<Path>, File)>,
    /// Time spent so far.
    pub(crate) effort: Effort,
}

impl<'a> Preparer<'a> {
    /// One for a thread, for the images of `list`; all of them take memory for huge images from one budget.
    pub(crate) fn new(list: &'a SplitList, preprocess: Preprocess, budget: &Arc<Budget>) -> Self {
        Self {
            root: &list.root,
            files: ImageFiles::new(&list.bounds),
            preprocess,
            decoder: Decoder::sharing(budget),
            resizer: Resizer::new(),
            encoder: JpegEncoder::default(),
            file_bytes: Vec::new(),
            open: None,
            effort: Effort::default(),
        }
    }

    pub(crate) fn prepare(&mut self, item: &Item) -> std::result::Result<Prepared, BadImage> {
        let attempt = panic::catch_unwind(AssertUnwindSafe(|| self.try_prepare(item)));
        // Before this thread waits for the writer, who may wait for one that waits for the memory.
        self.decoder.release();
        attempt.unwrap_or_else(|_| {
            self.resizer = Resizer::new();
            self.encoder = JpegEncoder::default();
            Err(encode_error("the image library failed on it".to_owned()))
        })
    }

    /// The image file's bytes.
    pub(crate) fn load(&mut self, item: &Item) -> std::result::Result<Vec<u8>, BadImage> {
        self.read(item).map_err(BadImage::Read)?;
        Ok(content(item, &self.file_bytes).to_vec())
    }

    fn try_prepare(&mut self, item: &Item) -> std::result::Result<Prepared, BadImage> {
        let prepared = self.prepare_any(item)?;
        match prepared.bytes.len() {
            0..=MAX_IMAGE_BYTES => Ok(prepared),
            bytes => Err(encode_error(format!(
                "{bytes} bytes, a shard holds images of at most {MAX_IMAGE_BYTES}"
            ))),
        }
    }

    fn prepare_any(&mut self, item: &Item) -> std::result::Result<Prepared, BadImage> {
        if let Content::Stored(stored) = &item.content
            && self.preprocess.copy
        {
            return self.copy(stored);
        }
        let started = Instant::now();
        let read = self.read(item);
        self.effort.read += started.elapsed();
        read.map_err(BadImage::Read)?;
        let prepared = match self.preprocess.encoding {
            Encoding::Original => self.keep(item),
            Encoding::Rgb8 | Encoding::Jpeg | Encoding::Png => self.transform(item),
        };
        match &item.content {
            // It was damaged before it was stored, whatever is made of it now.
            Content::Stored(stored) => prepared.map(|prepared| Prepared {
                damage: prepared
                    .damage
                    .or_else(|| stored.damage.as_deref().map(str::to_owned)),
                ..prepared
            }),
            _ => prepared,
        }
    }

    /// The row as it is stored.
    fn copy(&mut self, stored: &Stored) -> std::result::Result<Prepared, BadImage> {
        let (index, row) = (stored.row as usize, stored.reader.row(stored.row as usize));
        let bytes = timed(&mut self.effort.read, || {
            stored.reader.bytes(index).map(<[u8]>::to_vec)
        });
        Ok(Prepared {
            width: row.width,
            height: row.height,
            bytes: bytes.map_err(unread)?,
            damage: stored.damage.as_deref().map(str::to_owned),
        })
    }

    /// The image as it is.
    fn keep(&mut self, item: &Item) -> std::result::Result<Prepared, BadImage> {
        let check = self.preprocess.check;
        let rules = match &item.content {
            Content::Stored(stored) => stored.reader.manifest().rules(),
            _ => self.preprocess.rules(),
        };
        let bytes = content(item, &self.file_bytes);
        let size = timed(&mut self.effort.decode, || match check {
            Check::Header => decode::size(bytes, rules),
            Check::Decode => {
                let image = self.decoder.decode(bytes, rules);
                image.map(|image| (image.width, image.height))
            }
        });
        let (width, height) = size.map_err(BadImage::Decode)?;
        let damage = self.decoder.damage().map(str::to_owned);
        let bytes = match &item.content {
            Content::Memory(bytes) => bytes.clone(),
            // Its memory goes along; the next image gets its own.
            _ => std::mem::take(&mut self.file_bytes),
        };
        Ok(Prepared {
            width,
            height,
            bytes,
            damage,
        })
    }

    /// The image resized and encoded.
    fn transform(&mut self, item: &Item) -> std::result::Result<Prepared, BadImage> {
        let Self {
            preprocess,
            effort,
            decoder,
            resizer,
            ..
        } = self;
        let wanted = match preprocess.short_side {
            Some(side) if !preprocess.exact => Wanted::ShortSide(side),
            _ => Wanted::All,
        };
        let part = timed(&mut effort.decode, || match &item.content {
            Content::Stored(stored) if stored.is_pixels() => {
                let (index, row) = (stored.row as usize, stored.reader.row(stored.row as usize));
                let image = RgbView {
                    width: row.width,
                    height: row.height,
                    pixels: stored.reader.bytes(index).map_err(unread)?,
                };
                let size = (row.width, row.height);
                let crop = CropBox::whole(row.width, row.height);
                Ok(Part { image, crop, size })
            }
            _ => {
                let bytes = content(item, &self.file_bytes);
                // Images of shards are read as the build took them.
                let rules = match &item.content {
                    Content::Stored(stored) => stored.reader.manifest().rules(),
                    _ => preprocess.rules(),
                };
                decoder.part(bytes, rules, wanted).map_err(BadImage::Decode)
            }
        });
        let part = part?;
        let image = part.image;
        let resized = timed(&mut effort.resize, || resize(resizer, &part, *preprocess));
        let resized = resized?;
        let stored = resized.as_ref().map_or(image, RgbImage::view);
        let (width, height) = (stored.width, stored.height);
        let bytes = timed(&mut effort.encode, || match preprocess.encoding {
            Encoding::Jpeg => {
                let (quality, subsampling) = (preprocess.jpeg_quality, preprocess.jpeg_subsampling);
                let view = resized.as_ref().map_or(image, RgbImage::view);
                self.encoder.encode(view, quality, subsampling)
            }
            Encoding::Png => encode::png(resized.as_ref().map_or(image, RgbImage::view)),
            _ => Ok(match resized {
                Some(resized) => resized.pixels,
                None => image.pixels.to_vec(),
            }),
        });
        Ok(Prepared {
            width,
            height,
            bytes: bytes?,
            damage: decoder.damage().map(str::to_owned),
        })
    }

    /// Reads the image file into `file_bytes`, unless it is in memory.
    fn read(&mut self, item: &Item) -> io::Result<()> {
        match &item.content {
            Content::Memory(_) => Ok(()),
            Content::Slice {
                file,
                offset,
                num_bytes,
            } => {
                let (_, handle) = match self.open.take() {
                    Some(open) if open.0 == *file => self.open.insert(open),
                    _ => self
                        .open
                        .insert((Arc::clone(file), lift_files::open(file)?)),
                };
                read_slice(handle, *offset, *num_bytes, &mut self.file_bytes)
            }
            Content::Row { store, file, row } => store.read(*file, *row, &mut self.file_bytes),
            Content::Stored(stored) if stored.is_pixels() => Ok(()),
            Content::Stored(stored) => {
                let bytes = stored.reader.bytes(stored.row as usize);
                self.file_bytes.clear();
                self.file_bytes
                    .extend_from_slice(bytes.map_err(io::Error::other)?);
                Ok(())
            }
            Content::File => {
                let path = self.root.join(&item.path);
                self.files.read(&path, &mut self.file_bytes)
            }
            Content::At(path) => self.files.read(path, &mut self.file_bytes),
        }
    }
}

fn unread(err: lift_shards::Error) -> BadImage {
    BadImage::Read(io::Error::other(err))
}

fn encode_error(reason: String) -> BadImage {
    lift_image::Error::Encode { reason }.into()
}

/// The image file's bytes, of which those that were read lie in `file_bytes`.
fn content<'a>(item: &'a Item, file_bytes: &'a [u8]) -> &'a [u8] {
    match &item.content {
        Content::Memory(bytes) => bytes,
        Content::Slice { .. }
        | Content::Row { .. }
        | Content::Stored(_)
        | Content::File
        | Content::At(_) => file_bytes,
    }
}

/// Resizes to the short side, and enlarges only where that is asked for; `None` where the image keeps its size.
fn resize(
    resizer: &mut Resizer,
    part: &Part<'_>,
    preprocess: Preprocess,
) -> lift_image::Result<Option<RgbImage>> {
    let side = part.size.0.min(part.size.1);
    let short = match preprocess.short_side {
        Some(short) if side > short || (preprocess.enlarge && side < short) => short,
        _ => return Ok(None),
    };
    // Of the stored size: a fraction of it is rounded.
    let (width, height) = short_side_size(part.size.0, part.size.1, short);
    // A thin strip that is enlarged can become longer than any memory.
    if u64::from(width) * u64::from(height) > MAX_ENLARGED {
        return Err(lift_image::Error::Resize {
            reason: format!("{width}x{height} pixels are more than {MAX_ENLARGED}"),
        });
    }
    let mut pixels = vec![0; width as usize * height as usize * 3];
    resizer.crop_resize(part.image, part.crop, width, height, &mut pixels)?;
    Ok(Some(RgbImage {
        width,
        height,
        pixels,
    }))
}
