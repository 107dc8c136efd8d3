//! Files that others wrote, read with care: regular files only, no more than a stated size, and text as text. And files of
//! ours, which appear whole or not at all.
//!
//! It knows no format and no dataset; all three programs read through it, so that a file means the same to
//! each of them. Invariant: nothing here waits for a pipe, reads a device, or holds more than the limit it
//! was given.

#![forbid(unsafe_code)]

pub mod limits;
pub mod memory;
mod pace;
pub mod process;
mod restart;
mod text;
mod write;

use std::fs::{self, File, FileType};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

pub use pace::Pace;
pub use restart::restart_with;
pub use text::decode;
pub use write::{NewFile, folder_of, sync_folder, try_folder, write};

/// What a text file is for, which says how large it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Recipes, descriptions of datasets, configurations of models: up to 16 MiB.
    Settings,
    /// Class names, templates, descriptors, taxonomies, vocabularies: up to 256 MiB.
    Names,
    /// Paths and labels: up to 1 GiB.
    List,
}

impl Purpose {
    /// The size that no such file has.
    pub const fn max_bytes(self) -> u64 {
        match self {
            Purpose::Settings => 16 << 20,
            Purpose::Names => 256 << 20,
            Purpose::List => 1 << 30,
        }
    }
}

/// Reads a text file: UTF-8, or UTF-16 with a byte order mark; marks are not part of the text.
///
/// # Errors
/// When it cannot be opened, is no regular file, is larger than its purpose allows, or is not text: then the
/// line is named.
pub fn text(path: &Path, purpose: Purpose) -> io::Result<String> {
    let advise = |err: io::Error, hint: &str| match err.kind() {
        ErrorKind::InvalidInput | ErrorKind::FileTooLarge => {
            io::Error::new(err.kind(), format!("{err}\nhint: {hint}"))
        }
        _ => err,
    };
    let bytes = bytes(path, purpose.max_bytes())
        .map_err(|err| advise(err, "check that this is the right file"))?;
    decode(bytes)
}

/// Reads a regular file of at most `max_bytes`.
///
/// # Errors
/// When it cannot be opened, is no regular file, or is larger.
pub fn bytes(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut file = open(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::with_capacity(size.min(max_bytes) as usize + 1);
    read_on(&mut file, max_bytes, &mut bytes)?;
    Ok(bytes)
}

/// Appends the rest of `file` to `bytes`, which may hold its start; together they are at most `max_bytes`.
///
/// # Errors
/// When it cannot be read, or is larger.
pub fn read_on(file: &mut File, max_bytes: u64, bytes: &mut Vec<u8>) -> io::Result<()> {
    let size = file.metadata()?.len();
    if size <= max_bytes {
        // One more, in case that it grows while it is read.
        let rest = (max_bytes + 1).saturating_sub(bytes.len() as u64);
        file.take(rest).read_to_end(bytes)?;
        if bytes.len() as u64 <= max_bytes {
            return Ok(());
        }
    }
    let size = size.max(bytes.len() as u64);
    Err(io::Error::new(
        ErrorKind::FileTooLarge,
        format!("{size} bytes, allowed are {max_bytes}"),
    ))
}

/// Opens a regular file, or a link to one, for reading.
///
/// # Errors
/// When it cannot be opened, or is something else: a folder, a pipe, a device.
pub fn open(path: &Path) -> io::Result<File> {
    // Asked before it is opened: opening a pipe waits for a writer, opening a device may do anything.
    check(fs::metadata(path)?.file_type())?;
    let file = File::open(path)?;
    // And again: another may have got its name.
    check(file.metadata()?.file_type())?;
    Ok(file)
}

fn check(kind: FileType) -> io::Result<()> {
    if kind.is_file() {
        Ok(())
    } else {
        Err(io::Error::new(
            ErrorKind::InvalidInput,
            format!("{}, not a file", name_of(kind)),
        ))
    }
}

/// What something is that is no regular file: `a folder`, `a pipe`.
fn name_of(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    if kind.is_dir() {
        "a folder"
    } else {
        "something special"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_refused_without_reading_it() {
        let dir = tempfile::tempdir().unwrap();
        let says = |path: &Path| text(path, Purpose::Names).unwrap_err().to_string();
        let hint = "\nhint: check that this is the right file";
        assert_eq!(says(dir.path()), format!("a folder, not a file{hint}"));
        let device = says(Path::new("/dev/zero"));
        assert_eq!(device, format!("a device, not a file{hint}"));
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(says(&socket), format!("a socket, not a file{hint}"));
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert_eq!(says(&pipe), format!("a pipe, not a file{hint}"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert_eq!(says(&link), format!("a pipe, not a file{hint}"));
        let gone = open(&dir.path().join("gone")).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn no_more_than_the_limit_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "12345").unwrap();
        assert_eq!(bytes(file.path(), 5).unwrap(), b"12345");
        let err = bytes(file.path(), 4).unwrap_err();
        assert_eq!(err.to_string(), "5 bytes, allowed are 4");
        // A sparse file of a terabyte costs nothing to refuse.
        let large = tempfile::NamedTempFile::new().unwrap();
        large.as_file().set_len(1 << 40).unwrap();
        let err = text(large.path(), Purpose::Settings).unwrap_err();
        assert!(
            err.to_string()
                .starts_with("1099511627776 bytes, allowed are 16777216\nhint: "),
            "{err}"
        );
        let mut rest = open(file.path()).unwrap();
        let mut bytes = Vec::new();
        (&mut rest).take(2).read_to_end(&mut bytes).unwrap();
        read_on(&mut rest, 5, &mut bytes).unwrap();
        assert_eq!(bytes, b"12345");
    }
}
