//! libjpeg-turbo (feature `turbojpeg`): decoding, of a part or at a fraction of the size where that is all
//! that is wanted, and encoding.
//!
//! It judges no damage: whatever the library refuses or only warns of is `None`, and others decide.
//! Invariant: no pointer goes to the library whose length was not checked against the sizes given with it.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::ptr::NonNull;

use turbojpeg_sys as sys;

use crate::manifest::Subsampling;
use crate::resize::{CropBox, RgbView};

/// Scans that a progressive file may have; more is an attack on the decoder's time.
const MAX_SCANS: c_int = 500;

/// The most memory for one image beyond its pixels, in MB: coefficients of progressive files.
const MAX_MEGABYTES: c_int = 3 << 10;

/// An instance of the library, freed when dropped.
#[derive(Debug)]
struct Handle(NonNull<c_void>);

// SAFETY: an instance may be used by any thread, by one at a time; nothing here shares one.
unsafe impl Send for Handle {}

impl Handle {
    fn new(kind: sys::TJINIT) -> Option<Self> {
        // SAFETY: it takes a constant and gives an instance or null.
        NonNull::new(unsafe { sys::tj3Init(kind as c_int) }).map(Self)
    }

    fn set(&mut self, parameter: sys::TJPARAM, value: c_int) -> Option<()> {
        // SAFETY: the instance lives; parameters and values are checked by the library.
        (unsafe { sys::tj3Set(self.0.as_ptr(), parameter as c_int, value) } == 0).then_some(())
    }

    fn get(&self, parameter: sys::TJPARAM) -> c_int {
        // SAFETY: the instance lives.
        unsafe { sys::tj3Get(self.0.as_ptr(), parameter as c_int) }
    }

    fn error(&self) -> String {
        // SAFETY: the instance lives; the text is the instance's own, ends with a zero and is copied at once.
        let text = unsafe { CStr::from_ptr(sys::tj3GetErrorStr(self.0.as_ptr())) };
        text.to_string_lossy().into_owned()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the instance lives and nobody else has it.
        unsafe { sys::tj3Destroy(self.0.as_ptr()) }
    }
}

/// Decodes one JPEG. For the next one there must be a new one: an instance keeps a file's tables, and would decode
/// another that has none with them.
#[derive(Debug)]
pub(crate) struct Decompressor(Handle);

/// A JPEG whose header was read.
pub(crate) struct Opened<'a> {
    handle: Handle,
    bytes: &'a [u8],
    /// Pixels a row, as stored.
    pub(crate) width: u32,
    /// Rows, as stored.
    pub(crate) height: u32,
    /// Whether its colours are for print.
    pub(crate) is_cmyk: bool,
    /// Columns of a block of all colours, where the library knows the sampling.
    block_width: Option<u32>,
}

impl Decompressor {
    pub(crate) fn new() -> Option<Self> {
        let mut handle = Handle::new(sys::TJINIT_TJINIT_DECOMPRESS)?;
        handle.set(sys::TJPARAM_TJPARAM_SCANLIMIT, MAX_SCANS)?;
        handle.set(sys::TJPARAM_TJPARAM_MAXMEMORY, MAX_MEGABYTES)?;
        handle.set(sys::TJPARAM_TJPARAM_STOPONWARNING, 1)?;
        Some(Self(handle))
    }

    /// Reads a JPEG's header.
    pub(crate) fn open(self, bytes: &[u8]) -> Option<Opened<'_>> {
        let handle = self.0;
        // SAFETY: the instance lives, and it reads no more than the slice.
        let read = unsafe {
            sys::tj3DecompressHeader(
                handle.0.as_ptr(),
                bytes.as_ptr(),
                bytes.len() as sys::size_t,
            )
        };
        if read != 0 {
            return None;
        }
        // Lossless files are decoded at their full size, whatever fraction is asked for; and samples of more than 8
        // bits are not for the function that is called below.
        if handle.get(sys::TJPARAM_TJPARAM_LOSSLESS) != 0
            || handle.get(sys::TJPARAM_TJPARAM_PRECISION) != 8
        {
            return None;
        }
        let colours = handle.get(sys::TJPARAM_TJPARAM_COLORSPACE) as sys::TJCS;
        let block_width = match handle.get(sys::TJPARAM_TJPARAM_SUBSAMP) {
            sys::TJSAMP_TJSAMP_444 | sys::TJSAMP_TJSAMP_GRAY | sys::TJSAMP_TJSAMP_440 => Some(8),
            sys::TJSAMP_TJSAMP_420 | sys::TJSAMP_TJSAMP_422 => Some(16),
            _ => None,
        };
        Some(Opened {
            width: u32::try_from(handle.get(sys::TJPARAM_TJPARAM_JPEGWIDTH)).ok()?,
            height: u32::try_from(handle.get(sys::TJPARAM_TJPARAM_JPEGHEIGHT)).ok()?,
            is_cmyk: matches!(colours, sys::TJCS_TJCS_CMYK | sys::TJCS_TJCS_YCCK),
            block_width,
            bytes,
            handle,
        })
    }
}

impl Opened<'_> {
    /// Whether colour is sampled in one of the usual ways: at each pixel, at every other one, or not at all. At a
    /// fraction of the size, the library blurs the colours of other files.
    pub(crate) fn is_sampled_as_usual(&self) -> bool {
        self.block_width.is_some()
    }

    /// Decodes the image, at `eighths` eighths of its size, into `pixels`, which is given the right length. With
    /// `part`, a rectangle of that smaller image, no more is decoded than a few columns beyond it. The rectangle
    /// that was decoded is returned; its pixels are those that decoding all of the image gives there.
    pub(crate) fn decode(
        self,
        eighths: u32,
        part: Option<CropBox>,
        pixels: &mut Vec<u8>,
    ) -> Option<CropBox> {
        let instance = self.handle.0.as_ptr();
        // It knows fractions in their lowest terms alone.
        let halvings = eighths.trailing_zeros().min(3);
        let scale = sys::tjscalingfactor {
            num: (eighths >> halvings) as c_int,
            denom: 8 >> halvings,
        };
        let scaled = |side: u32| (side * eighths).div_ceil(8);
        let (width, height) = (scaled(self.width), scaled(self.height));
        let region = match (part, self.block_width) {
            (Some(part), Some(block)) => around(part, (width, height), scaled(block)),
            _ => CropBox::whole(width, height),
        };
        // A rectangle even where it is the whole, so that the library writes no more than that whatever the file says
        // when it is read again; nothing but zeros, where it takes none.
        let side = |side: u32| match self.block_width {
            Some(_) => side as c_int,
            None => 0,
        };
        let rectangle = sys::tjregion {
            x: side(region.left),
            y: side(region.top),
            w: side(region.width),
            h: side(region.height),
        };
        pixels.resize(region.width as usize * region.height as usize * 3, 0);
        // SAFETY: the instance lives and has read the header of these bytes. It writes the rectangle's rows of
        // `width * 3` bytes each, for which `pixels` has just been given room, or fails: it checks that the
        // rectangle lies in the scaled image. Without a rectangle that is the image at the scale that was set:
        // `open` refuses lossless files, the only ones that it does not scale.
        let done = unsafe {
            sys::tj3SetScalingFactor(instance, scale) == 0
                && sys::tj3SetCroppingRegion(instance, rectangle) == 0
                && sys::tj3Decompress8(
                    instance,
                    self.bytes.as_ptr(),
                    self.bytes.len() as sys::size_t,
                    pixels.as_mut_ptr(),
                    region.width as c_int * 3,
                    sys::TJPF_TJPF_RGB,
                ) == 0
        };
        done.then_some(region)
    }
}

/// What is decoded for `part`: its rows, and from the block before its first column to one beyond its last, since
/// smooth colours at an edge need their neighbours.
fn around(part: CropBox, (width, height): (u32, u32), block: u32) -> CropBox {
    let left = (part.left / block).saturating_sub(1) * block;
    let right = (part.left + part.width + block).min(width);
    debug_assert!(part.top + part.height <= height);
    CropBox {
        left,
        top: part.top,
        width: right - left,
        height: part.height,
    }
}

/// Encodes JPEGs one after the other.
#[derive(Debug)]
pub(crate) struct Compressor {
    handle: Handle,
    out: Vec<u8>,
}

impl Compressor {
    pub(crate) fn new() -> Option<Self> {
        let mut handle = Handle::new(sys::TJINIT_TJINIT_COMPRESS)?;
        handle.set(sys::TJPARAM_TJPARAM_NOREALLOC, 1)?;
        Some(Self {
            handle,
            out: Vec::new(),
        })
    }

    /// A baseline JPEG in one scan; lent until the next image.
    pub(crate) fn encode(
        &mut self,
        image: RgbView<'_>,
        quality: u8,
        subsampling: Subsampling,
    ) -> Result<&[u8], String> {
        let side = |pixels: u32| match c_int::try_from(pixels) {
            Ok(side @ 1..=65_535) => Ok(side),
            _ => Err(format!("{pixels} pixels, a JPEG has 1 to 65535 a side")),
        };
        let (width, height) = (side(image.width)?, side(image.height)?);
        if image.pixels.len() != width as usize * height as usize * 3 {
            let bytes = image.pixels.len();
            return Err(format!("{bytes} bytes are not {width}x{height} RGB pixels"));
        }
        let subsampling = match subsampling {
            Subsampling::Quarter => sys::TJSAMP_TJSAMP_420,
            Subsampling::Full => sys::TJSAMP_TJSAMP_444,
        };
        let set = self
            .handle
            .set(sys::TJPARAM_TJPARAM_QUALITY, quality.into())
            .and_then(|()| self.handle.set(sys::TJPARAM_TJPARAM_SUBSAMP, subsampling));
        set.ok_or_else(|| self.handle.error())?;
        // SAFETY: it computes with three numbers.
        let most = unsafe { sys::tj3JPEGBufSize(width, height, subsampling) } as usize;
        if self.out.len() < most {
            self.out.resize(most, 0);
        }
        let mut target = self.out.as_mut_ptr();
        let mut length = most as sys::size_t;
        // SAFETY: the instance lives; it reads `height` rows of `width * 3` bytes, which the view has, and writes at
        // most `length` bytes to `target`, which are there; NOREALLOC forbids it to take other memory.
        let done = unsafe {
            sys::tj3Compress8(
                self.handle.0.as_ptr(),
                image.pixels.as_ptr(),
                width,
                width * 3,
                height,
                sys::TJPF_TJPF_RGB,
                &mut target,
                &mut length,
            )
        };
        match done {
            0 => Ok(&self.out[..length as usize]),
            _ => Err(self.handle.error()),
        }
    }
}
