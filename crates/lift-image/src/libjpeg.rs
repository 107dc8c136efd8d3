//! libjpeg-turbo (feature `turbojpeg`): decoding, of a part or at a fraction of the size where that is all
//! that is wanted, and encoding.
//!
//! Decoding goes through `c/jpeg.c`, which tells warnings that cost pixels from those that do not. Invariant: no pointer goes to the library whose length was not checked against the sizes given with it.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::marker::PhantomData;
use std::ptr::NonNull;

use turbojpeg_sys as sys;

use crate::decode::Damaged;
use crate::resize::{CropBox, RgbView};
use crate::subsampling::Subsampling;

/// Scans that a progressive file may have; more is an attack on the decoder's time.
const MAX_SCANS: c_int = 500;

/// The most memory for one image beyond its pixels: coefficients of progressive files.
const MAX_BYTES: c_long = 3 << 30;

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

/// Why a JPEG was not decoded, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes end before the image does.
    Cut,
    /// Coded data is missing or wrong; what the library said.
    Damaged(String),
    /// The library does not read it; what it said.
    Refused(String),
}

/// A JPEG whose header was read.
pub(crate) struct Opened<'a> {
    jpeg: Jpeg<'a>,
    header: Header,
}

/// What the header says, as `c/jpeg.c` has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Header {
    /// Pixels a row, as stored.
    pub(crate) width: u32,
    /// Rows, as stored.
    pub(crate) height: u32,
    /// Blocks of 8 x 8 samples, of all colours.
    pub(crate) num_blocks: u64,
    block_width: u32,
    is_buffered: i32,
    is_usual: i32,
}

/// An instance of `c/jpeg.c`, for one file: it would decode another that lacks tables with this one's.
struct Jpeg<'a> {
    instance: NonNull<c_void>,
    /// What it reads.
    bytes: PhantomData<&'a [u8]>,
}

unsafe extern "C" {
    fn lift_jpeg_new(
        bytes: *const u8,
        length: usize,
        max_bytes: c_long,
        max_scans: c_int,
        keeps_damaged: c_int,
    ) -> *mut c_void;
    fn lift_jpeg_open(jpeg: *mut c_void, header: *mut Header) -> c_int;
    fn lift_jpeg_decode(
        jpeg: *mut c_void,
        eighths: u32,
        left: u32,
        top: u32,
        width: u32,
        height: u32,
        pixels: *mut u8,
    ) -> c_int;
    fn lift_jpeg_verdict(jpeg: *const c_void) -> c_int;
    fn lift_jpeg_message(jpeg: *const c_void) -> *const c_char;
    fn lift_jpeg_close(jpeg: *mut c_void);
}

impl Jpeg<'_> {
    /// What the instance came to; `None` where all is well.
    fn fault(&self) -> Option<Fault> {
        let instance = self.instance.as_ptr();
        // SAFETY: the instance lives; the text is its own, ends with a zero and is copied at once.
        let (verdict, text) = unsafe {
            let text = CStr::from_ptr(lift_jpeg_message(instance));
            (lift_jpeg_verdict(instance), text.to_string_lossy())
        };
        let text = text.trim_start_matches("Corrupt JPEG data: ").to_owned();
        match verdict {
            0 => None,
            2 => Some(Fault::Damaged(text)),
            3 => Some(Fault::Cut),
            _ => Some(Fault::Refused(text)),
        }
    }

    fn fault_of_failure(&self) -> Fault {
        let unknown = || Fault::Refused("the library failed on it".to_owned());
        self.fault().unwrap_or_else(unknown)
    }
}

impl Drop for Jpeg<'_> {
    fn drop(&mut self) {
        // SAFETY: the instance lives and nobody else has it.
        unsafe { lift_jpeg_close(self.instance.as_ptr()) }
    }
}

/// Reads a JPEG's header.
pub(crate) fn open(bytes: &[u8], damaged: Damaged) -> Result<Opened<'_>, Fault> {
    let keeps_damaged = match damaged {
        Damaged::Refuse => 0,
        Damaged::Keep => 1,
    };
    // SAFETY: the instance reads no more than the slice, which it does not outlive.
    let instance = unsafe {
        lift_jpeg_new(
            bytes.as_ptr(),
            bytes.len(),
            MAX_BYTES,
            MAX_SCANS,
            keeps_damaged,
        )
    };
    let no_memory = || Fault::Refused("there is no memory for a decoder".to_owned());
    let jpeg = Jpeg {
        instance: NonNull::new(instance).ok_or_else(no_memory)?,
        bytes: PhantomData,
    };
    let mut header = Header::default();
    // SAFETY: the instance lives, and the header is written as its C twin has it.
    match unsafe { lift_jpeg_open(jpeg.instance.as_ptr(), &mut header) } {
        0 => Ok(Opened { jpeg, header }),
        _ => Err(jpeg.fault_of_failure()),
    }
}

impl Opened<'_> {
    /// What the header says.
    pub(crate) fn header(&self) -> Header {
        self.header
    }

    /// Whether colour is sampled in one of the usual ways: at each pixel, at every other one, or not at all. At a
    /// fraction of the size, the library blurs the colours of other files.
    pub(crate) fn is_sampled_as_usual(&self) -> bool {
        self.header.is_usual != 0
    }

    /// The rectangle that is decoded, of the image at `eighths` eighths of its size.
    fn region(&self, eighths: u32, part: Option<CropBox>) -> CropBox {
        let scaled = |side: u32| (side * eighths).div_ceil(8);
        let (width, height) = (scaled(self.header.width), scaled(self.header.height));
        match part {
            Some(part) if self.is_sampled_as_usual() => {
                around(part, (width, height), scaled(self.header.block_width))
            }
            _ => CropBox::whole(width, height),
        }
    }

    /// The memory that decoding takes: pixels, and coefficients of files in several scans.
    pub(crate) fn bytes_to_decode(&self, eighths: u32, part: Option<CropBox>) -> u64 {
        let region = self.region(eighths, part);
        let coefficients = match self.header.is_buffered {
            0 => 0,
            _ => self.header.num_blocks * 64 * 2,
        };
        u64::from(region.width) * u64::from(region.height) * 3 + coefficients
    }

    /// Decodes the image, at `eighths` eighths of its size, into `pixels`, which is given the right length. With
    /// `part`, a rectangle of that smaller image, no more is decoded than a few columns beyond it. The rectangle
    /// that was decoded is returned; its pixels are those that decoding all of the image gives there. With it comes
    /// the damage that was met, where that is kept.
    pub(crate) fn decode(
        self,
        eighths: u32,
        part: Option<CropBox>,
        pixels: &mut Vec<u8>,
    ) -> Result<(CropBox, Option<Fault>), Fault> {
        let region = self.region(eighths, part);
        pixels.resize(region.width as usize * region.height as usize * 3, 0);
        // SAFETY: the instance lives and has read the header. It writes the rectangle's rows of `width * 3` bytes
        // each, for which `pixels` has just been given room, or fails: it checks that the rectangle lies in the
        // scaled image and that rows come out as wide.
        let done = unsafe {
            lift_jpeg_decode(
                self.jpeg.instance.as_ptr(),
                eighths,
                region.left,
                region.top,
                region.width,
                region.height,
                pixels.as_mut_ptr(),
            )
        };
        match done {
            0 => Ok((region, self.jpeg.fault())),
            _ => Err(self.jpeg.fault_of_failure()),
        }
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
