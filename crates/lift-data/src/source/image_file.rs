//! Image files as a build meets them: where they may lie, what they begin with, how much of them is read.
//!
//! It decodes nothing. Invariant: what is read is a regular file, of which no more than [`MAX_BYTES`] are
//! held; where links may not lead out of the source, none that does is opened; and of what does not begin
//! as an image only the beginning is read.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use lift_image::decode;

/// More than any image of [`decode::MAX_PIXELS`] pixels has in a format of 8 bits a channel.
pub const MAX_BYTES: u64 = 1 << 30;

/// Enough of a file to tell its format.
pub(super) const HEAD_BYTES: u64 = 64;

/// Where a source's files may lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reach {
    /// Below its root, after all links.
    #[default]
    Below,
    /// Anywhere.
    Anywhere,
}

/// The folder that files must lie below, or none.
#[derive(Debug, Clone, Default)]
pub struct Bounds(Option<PathBuf>);

impl Bounds {
    /// `root`, where the files may not lie elsewhere.
    pub(super) fn new(root: &Path, reach: Reach) -> Result<Self> {
        let here = if root.as_os_str().is_empty() {
            Path::new(".")
        } else {
            root
        };
        match reach {
            Reach::Anywhere => Ok(Self(None)),
            Reach::Below => match fs::canonicalize(here) {
                Ok(root) => Ok(Self(Some(root))),
                // What is not there holds nothing; whoever reads it says so.
                Err(err) if err.kind() == ErrorKind::NotFound => Ok(Self(Some(here.into()))),
                Err(err) => Err(Error::read(root)(err)),
            },
        }
    }

    /// Whether a path without links lies within.
    pub(super) fn hold(&self, real: &Path) -> bool {
        self.0.as_ref().is_none_or(|root| real.starts_with(root))
    }
}

/// Opens image files one after the other.
pub(crate) struct ImageFiles<'a> {
    bounds: &'a Bounds,
    /// The folder of the last file, which lies within the bounds: neighbours need not be asked for.
    folder: PathBuf,
}

impl<'a> ImageFiles<'a> {
    pub(crate) fn new(bounds: &'a Bounds) -> Self {
        Self {
            bounds,
            folder: PathBuf::new(),
        }
    }

    /// Reads the file into `out`, replacing what was there.
    pub(crate) fn read(&mut self, path: &Path, out: &mut Vec<u8>) -> io::Result<()> {
        self.check(path)?;
        let mut file = lift_files::open(path)?;
        out.clear();
        (&mut file).take(HEAD_BYTES).read_to_end(out)?;
        match decode::begins_as(out) {
            Some(_) => lift_files::read_on(&mut file, MAX_BYTES, out),
            // Its beginning tells the decoder enough to refuse it.
            None => Ok(()),
        }
    }

    fn check(&mut self, path: &Path) -> io::Result<()> {
        if self.bounds.0.is_none() {
            return Ok(());
        }
        let is_link = fs::symlink_metadata(path)?.is_symlink();
        let folder = path.parent().unwrap_or(Path::new(""));
        if !is_link && folder == self.folder {
            return Ok(());
        }
        let real = fs::canonicalize(path).map_err(|err| match err.kind() {
            ErrorKind::NotFound => io::Error::new(err.kind(), "a link that leads nowhere"),
            _ => err,
        })?;
        if !self.bounds.hold(&real) {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a link that leads out of the source (--follow-outside takes it)",
            ));
        }
        if !is_link {
            self.folder = folder.to_owned();
        }
        Ok(())
    }
}

/// Reads `num_bytes` at `offset` of a file that holds several images into `out`, replacing what was there.
pub(crate) fn read_slice(
    file: &mut File,
    offset: u64,
    num_bytes: u64,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    if num_bytes > MAX_BYTES {
        let reason = format!("{num_bytes} bytes, allowed are {MAX_BYTES}");
        return Err(io::Error::new(ErrorKind::FileTooLarge, reason));
    }
    out.clear();
    file.seek(SeekFrom::Start(offset))?;
    (&mut *file)
        .take(num_bytes.min(HEAD_BYTES))
        .read_to_end(out)?;
    if decode::begins_as(out).is_none() && out.len() as u64 == num_bytes.min(HEAD_BYTES) {
        return Ok(());
    }
    file.take(num_bytes - out.len() as u64).read_to_end(out)?;
    match out.len() as u64 {
        read if read < num_bytes => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Whether a file whose name does not say so is an image, by how it begins.
///
/// Cameras' raw files begin as TIFF and hold a thumbnail in it, so a TIFF with another name is none.
pub(super) fn is_image(head: &[u8], extension: Option<&str>) -> bool {
    match decode::begins_as(head) {
        Some("TIFF") => extension.is_none(),
        // Two letters are not enough to tell it from a text.
        Some("BMP") => head.get(6..10) == Some(&[0; 4]) && head.get(15..18) == Some(&[0; 3]),
        found => found.is_some(),
    }
}

/// As [`is_image`], of a file, of which it reads the beginning.
pub(super) fn file_is_image(path: &Path, extension: Option<&str>) -> io::Result<bool> {
    let mut head = Vec::new();
    lift_files::open(path)?
        .take(HEAD_BYTES)
        .read_to_end(&mut head)?;
    Ok(is_image(&head, extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_tells_images_from_what_looks_like_one() {
        let bmp = [
            b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".as_slice(),
            &[0; 20],
        ]
        .concat();
        for (head, extension, expected) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF\0"[..], Some("jfif"), true),
            (b"\xff\xd8\xff\xe0\0\x10JFIF\0", None, true),
            (b"RIFF\x1a\0\0\0WEBPVP8 ", Some("bin"), true),
            (b"RIFF\x1a\0\0\0WAVEfmt ", Some("wav"), false),
            (b"II*\0\x08\0\0\0", None, true),
            (b"II*\0\x08\0\0\0", Some("nef"), false),
            (&bmp, None, true),
            (b"BMW and other cars of the year 1998", Some("txt"), false),
            (b"BM", None, false),
            (b"\0\0\0\x18ftypheic\0\0\0\0", Some("heic"), false),
            (b"", None, false),
        ] {
            assert_eq!(is_image(head, extension), expected, "{extension:?}");
        }
    }

    #[test]
    fn of_what_is_no_image_the_beginning_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.jpg");
        fs::write(&file, vec![b'x'; 100_000]).unwrap();
        let bounds = Bounds::new(dir.path(), Reach::Below).unwrap();
        let mut out = Vec::new();
        ImageFiles::new(&bounds).read(&file, &mut out).unwrap();
        assert_eq!(out, [b'x'; HEAD_BYTES as usize]);
        let jpeg = [b"\xff\xd8\xff".as_slice(), &[7; 1000]].concat();
        fs::write(&file, &jpeg).unwrap();
        ImageFiles::new(&bounds).read(&file, &mut out).unwrap();
        assert_eq!(out, jpeg);
    }

    #[test]
    fn links_may_lead_about_below_the_root_alone() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("cat")).unwrap();
        fs::create_dir_all(at("pool")).unwrap();
        for file in [at("cat/a"), at("pool/b"), other.path().join("c")] {
            fs::write(file, "an image").unwrap();
        }
        let link =
            |target: &Path, name: &str| std::os::unix::fs::symlink(target, at(name)).unwrap();
        link(Path::new("../pool/b"), "cat/inside");
        link(&other.path().join("c"), "cat/outside");
        link(other.path(), "cat/folder");
        link(Path::new("nowhere"), "cat/gone");
        link(Path::new("circle"), "cat/circle");
        let read = |name: &str, reach| {
            let bounds = Bounds::new(dir.path(), reach).unwrap();
            let mut files = ImageFiles::new(&bounds);
            let mut out = Vec::new();
            // Its neighbour before it, whose folder is known then.
            files.read(&at("cat/a"), &mut out).unwrap();
            let read = files.read(&at(name), &mut out);
            read.map(|()| out).map_err(|err| err.to_string())
        };
        let out = "a link that leads out of the source (--follow-outside takes it)";
        assert_eq!(read("cat/inside", Reach::Below).unwrap(), b"an image");
        assert_eq!(read("cat/outside", Reach::Below).unwrap_err(), out);
        assert_eq!(read("cat/folder/c", Reach::Below).unwrap_err(), out);
        assert_eq!(read("cat/outside", Reach::Anywhere).unwrap(), b"an image");
        assert_eq!(read("cat/folder/c", Reach::Anywhere).unwrap(), b"an image");
        let gone = read("cat/gone", Reach::Below).unwrap_err();
        assert_eq!(gone, "a link that leads nowhere");
        let circle = read("cat/circle", Reach::Below).unwrap_err();
        assert!(circle.starts_with("Too many levels of symbolic links"));
        assert_eq!(
            read("cat", Reach::Below).unwrap_err(),
            "a folder, not a file"
        );
    }
}
