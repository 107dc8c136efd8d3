//! Amounts of memory as people write them, and what they are limits of; how much a machine has, `lift_files::memory` says.
//!
//! Invariant: what is written into a file is read back to the byte.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use tch::Device;

use crate::libtorch;

/// An amount of memory, as `12GiB`, `500 MB` or a number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MemorySize {
    /// In bytes.
    pub bytes: u64,
}

/// Units, each shorter ending after those it ends.
const UNITS: [(&str, u64); 8] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("b", 1),
];

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.trim().to_lowercase();
        let unit = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((lower.strip_suffix(unit)?, *bytes)));
        let (number, unit) = unit.unwrap_or((&lower, 1));
        match number.trim().parse::<f64>() {
            Ok(number) if number > 0.0 && number * (unit as f64) < 1e18 => Ok(Self {
                bytes: (number * unit as f64) as u64,
            }),
            _ => Err(format!(
                "{text:?} is not an amount of memory; write 12GiB or 500MB"
            )),
        }
    }
}

impl fmt::Display for MemorySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes } = *self;
        match bytes {
            0..1_048_576 => write!(f, "{bytes} B"),
            1_048_576..1_073_741_824 => write!(f, "{:.1} MiB", bytes as f64 / 1_048_576.0),
            _ => write!(f, "{:.2} GiB", bytes as f64 / 1_073_741_824.0),
        }
    }
}

impl TryFrom<String> for MemorySize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<MemorySize> for String {
    /// Exactly, which [`fmt::Display`] is not.
    fn from(size: MemorySize) -> Self {
        size.bytes.to_string()
    }
}

/// Lets libtorch's allocator take no more of a device's memory than this; on the CPU there is no such limit, and estimates
/// keep to it.
///
/// # Errors
/// When the device refuses.
pub fn limit(device: Device, limit: Option<MemorySize>) -> crate::Result<()> {
    if let (Some(limit), Some(total)) = (limit, libtorch::total_memory(device)?) {
        let share = limit.bytes as f64 / total as f64;
        libtorch::limit_memory(share.min(1.0))?;
    }
    Ok(())
}

/// How much there is to have: what it was limited to, or what the device has, or the machine.
pub fn there(
    device: Device,
    limit: Option<MemorySize>,
    machine_bytes: Option<u64>,
) -> Option<MemorySize> {
    limit.or_else(|| {
        let of_device = libtorch::total_memory(device).ok().flatten();
        of_device
            .or(machine_bytes)
            .map(|bytes| MemorySize { bytes })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written() {
        let bytes = |text: &str| text.parse::<MemorySize>().map(|size| size.bytes);
        assert_eq!(bytes("12GiB"), Ok(12 << 30));
        assert_eq!(bytes(" 1.5 gb"), Ok(1_500_000_000));
        assert_eq!(bytes("500MB"), Ok(500_000_000));
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("7 B"), Ok(7));
        for text in ["", "GiB", "-1GiB", "0", "nan", "12 apples", "1e30"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        let shown = |bytes| MemorySize { bytes }.to_string();
        assert_eq!(shown(1023), "1023 B");
        assert_eq!(shown(3 << 19), "1.5 MiB");
        assert_eq!(shown(5 << 29), "2.50 GiB");
        let size = MemorySize {
            bytes: 1_234_567_891,
        };
        assert_eq!(MemorySize::try_from(String::from(size)), Ok(size));
    }
}
