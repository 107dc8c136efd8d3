//! Scalars as a TensorBoard event file: TFRecords of `tensorflow.Event` messages, written by hand.
//!
//! A record is the length (u64), its checksum, the message, its checksum; checksums are CRC-32C, rotated and shifted so
//! that a checksum of data that holds checksums stays sound. Only the fields of a scalar are written: `Event` { wall_time
//! = 1, step = 2, file_version = 3, summary = 5, session_log = 7 }, `Summary` { value = 1 }, `Value` { tag = 1,
//! simple_value = 2 }, `SessionLog` { status = 1 }.
//! It reads nothing. Invariant: the file on disk ends with a whole record after every call, unless the call failed.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::error::{Error, Result};

/// A file that grows by events.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    path: PathBuf,
}

impl EventFile {
    /// A new file in `run`'s folder `tensorboard`; its name sorts behind those of earlier ones.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(run: &Path) -> Result<Self> {
        let dir = run.join("tensorboard");
        fs::create_dir_all(&dir).map_err(Error::io(&dir))?;
        let seconds = now() as u64;
        let mut part = 0;
        let (file, path) = loop {
            let path = dir.join(format!("events.out.tfevents.{seconds:010}.{part:03}.lift"));
            let made = OpenOptions::new().write(true).create_new(true).open(&path);
            match made {
                Ok(file) => break (file, path),
                // Two files in one second.
                Err(e) if e.kind() == ErrorKind::AlreadyExists && part < 999 => part += 1,
                Err(e) => return Err(Error::io(&path)(e)),
            }
        };
        let mut events = Self { file, path };
        events.append(&version_event(now()))?;
        Ok(events)
    }

    /// Says that the run goes on with this step: readers let go of what earlier files have from it on, which a run that was
    /// killed wrote behind its last checkpoint.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn goes_on(&mut self, step: usize) -> Result<()> {
        self.append(&start_event(now(), step as u64))
    }

    /// Appends scalars of a step.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn scalars(&mut self, step: usize, values: &[(&str, f64)]) -> Result<()> {
        self.append(&scalar_event(now(), step as u64, values))
    }

    fn append(&mut self, event: &[u8]) -> Result<()> {
        let written = self.file.write_all(&record(event));
        written.map_err(Error::io(&self.path))
    }
}

/// Seconds since 1970, which TensorBoard's time axis shows.
fn now() -> f64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

/// A TFRecord.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(crc32c(&length)).to_le_bytes());
    record.extend(data);
    record.extend(masked(crc32c(data)).to_le_bytes());
    record
}

/// The first event of a file.
fn version_event(time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    double_field(&mut event, 1, time);
    bytes_field(&mut event, 3, b"brain.Event:2");
    event
}

fn scalar_event(time: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut message = Vec::new();
        bytes_field(&mut message, 1, tag.as_bytes());
        key(&mut message, 2, 5);
        message.extend((*value as f32).to_le_bytes());
        bytes_field(&mut summary, 1, &message);
    }
    let mut event = Vec::new();
    double_field(&mut event, 1, time);
    key(&mut event, 2, 0);
    varint(&mut event, step);
    bytes_field(&mut event, 5, &summary);
    event
}

/// A session's start.
fn start_event(time: f64, step: u64) -> Vec<u8> {
    let mut event = Vec::new();
    double_field(&mut event, 1, time);
    key(&mut event, 2, 0);
    varint(&mut event, step);
    // Status START is 1.
    bytes_field(&mut event, 7, &[1 << 3, 1]);
    event
}

/// A field's number and wire type: 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
fn key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    varint(out, field << 3 | wire_type);
}

fn double_field(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, 1);
    out.extend(value.to_le_bytes());
}

fn bytes_field(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    key(out, field, 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// TFRecord's mask.
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), a bit at a time: events are some hundred bytes.
fn crc32c(data: &[u8]) -> u32 {
    let step = |crc: u32, _| match crc & 1 {
        1 => crc >> 1 ^ 0x82f6_3b78,
        _ => crc >> 1,
    };
    !data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), step)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standard() {
        // RFC 3720, B.4; and the usual check value of CRC-32C.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// Records that TensorBoard 2.21's own `RecordWriter` wrote for its own messages.
    #[test]
    fn records_are_tensorboards() {
        let hex = |bytes: Vec<u8>| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        assert_eq!(
            hex(record(&version_event(1.5))),
            "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c"
        );
        let scalars = [("train/loss", 0.25), ("train/lr", -2.0)];
        assert_eq!(
            hex(record(&scalar_event(1.5, 300, &scalars))),
            "3200000000000000241956ec09000000000000f83f10ac022a240a110a0a747261696e2f6c6f7373150000803e\
             0a0f0a08747261696e2f6c7215000000c01a9780cb"
        );
    }

    #[test]
    fn files_of_one_second_have_names_of_their_own_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..3)
            .map(|_| EventFile::create(dir.path()).unwrap().path)
            .collect();
        assert!(paths.windows(2).all(|pair| pair[0] < pair[1]), "{paths:?}");
    }
}
