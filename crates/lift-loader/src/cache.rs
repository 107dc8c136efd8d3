//! Where training shards are while they are read: in the system's cache, as far as it keeps them, or in memory of our own.

use lift_files::memory;
use lift_page::progress::Reporting;
use lift_shards::shard::ShardReader;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Where training shards are while they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Mapped: the system keeps what fits, and shares it with other processes.
    #[default]
    System,
    /// Read into this process's memory before the first step, for disks that are slow to come back to.
    Ram,
}

impl Cache {
    /// What is typed for each, and what it means.
    pub const WORDS: [(Self, &str, &str); 2] = [
        (
            Self::System,
            "system",
            "Mapped: the system keeps what fits, and shares it with other processes",
        ),
        (
            Self::Ram,
            "ram",
            "Read into this process's memory before the first step, for disks that are slow to come back to",
        ),
    ];
}

impl Cache {
    /// A line for the plan; nothing where the system decides.
    ///
    /// # Errors
    /// When the shards are larger than the memory that is free.
    pub fn plan(self, shards_bytes: u64) -> Result<Option<String>> {
        match self {
            Self::System => Ok(None),
            Self::Ram => ram_plan(shards_bytes, memory::free_bytes()).map(Some),
        }
    }

    /// Reads the shards into memory where that is wanted, with a progress bar.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn fill(self, reader: &mut ShardReader) -> Result<()> {
        if self == Self::Ram {
            let progress = Reporting::Stderr.start_of("cache", "bytes", reader.num_bytes());
            reader.read_into_memory(|bytes| progress.advance(bytes))?;
            progress.finish();
        }
        Ok(())
    }
}

fn ram_plan(shards_bytes: u64, free_bytes: Option<u64>) -> Result<String> {
    let gib = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
    let needed = gib(shards_bytes);
    match free_bytes {
        Some(free) if free < shards_bytes => Err(Error::Memory(format!(
            "--cache ram: the training shards have {needed:.2} GiB, and {:.2} GiB of memory are free\n\
             hint: without it the system keeps what fits; --shuffle-window reads fewer places at a time",
            gib(free)
        ))),
        Some(free) => Ok(format!(
            "training shards in memory, {needed:.2} GiB of {:.2} that are free",
            gib(free)
        )),
        None => Ok(format!("training shards in memory, {needed:.2} GiB")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_says_what_it_takes_and_refuses_what_is_not_there() {
        let gib = 1 << 30;
        assert_eq!(
            ram_plan(gib, Some(4 * gib)).unwrap(),
            "training shards in memory, 1.00 GiB of 4.00 that are free"
        );
        assert_eq!(
            ram_plan(gib / 2, None).unwrap(),
            "training shards in memory, 0.50 GiB"
        );
        let refused = ram_plan(3 * gib, Some(2 * gib)).unwrap_err().to_string();
        assert!(
            refused.contains("3.00 GiB, and 2.00 GiB of memory are free"),
            "{refused}"
        );
        assert_eq!(Cache::System.plan(u64::MAX).unwrap(), None);
    }
}
