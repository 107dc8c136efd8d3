//! How much memory there is to have: of the machine, or of the group of processes (cgroup) that a container or a job
//! scheduler confines this one to.
//!
//! It says nothing where the system does not: callers then go without. Invariant: of a group within groups, the tightest
//! limit counts, and files that the system keeps in memory count as free.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

const MEMINFO: &str = "/proc/meminfo";

/// What the machine, the group or this process (`ulimit -v`) may have in all, in bytes.
pub fn total_bytes() -> Option<u64> {
    let limits = groups().into_iter().filter_map(|group| group.limit());
    let limits = limits.chain(bytes_of(MEMINFO, "MemTotal:"));
    limits.chain(address_space()).min()
}

/// What could be had without others giving up theirs, in bytes.
pub fn free_bytes() -> Option<u64> {
    let left = groups().into_iter().filter_map(|group| group.left());
    let left = left.chain(bytes_of(MEMINFO, "MemAvailable:"));
    left.chain(address_space_left()).min()
}

/// A group's folder, of the second version of groups or of the first.
struct Group {
    folder: PathBuf,
    is_first_version: bool,
}

impl Group {
    fn limit(&self) -> Option<u64> {
        // A group without a limit says `max`, or a number that no machine has.
        self.number(["memory.max", "memory.limit_in_bytes"])
    }

    fn left(&self) -> Option<u64> {
        let used = self.number(["memory.current", "memory.usage_in_bytes"])?;
        let stat = fs::read_to_string(self.folder.join("memory.stat")).ok();
        let files = stat.map_or(0, |stat| {
            let prefix = if self.is_first_version { "total_" } else { "" };
            let kept = ["inactive_file", "active_file"];
            let kept = kept.map(|name| field(&stat, &format!("{prefix}{name} ")).unwrap_or(0));
            kept.iter().sum()
        });
        let limit = self.limit()?;
        Some(limit.saturating_sub(used.saturating_sub(files)))
    }

    fn number(&self, [second, first]: [&str; 2]) -> Option<u64> {
        let name = if self.is_first_version { first } else { second };
        let text = fs::read_to_string(self.folder.join(name)).ok()?;
        text.trim().parse().ok()
    }
}

/// The group of this process and those around it.
fn groups() -> Vec<Group> {
    let lines = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups_of(&lines, Path::new("/sys/fs/cgroup"))
}

fn groups_of(lines: &str, mount: &Path) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in lines.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let is_first_version = controllers.split(',').any(|name| name == "memory");
        if !is_first_version && !controllers.is_empty() {
            continue;
        }
        let root = if is_first_version {
            mount.join("memory")
        } else {
            mount.to_owned()
        };
        // A container may see its group as the root, and its path as it is outside.
        let path = Path::new(path.trim_start_matches('/'));
        let folders = path.ancestors().map(|path| root.join(path));
        groups.extend(folders.map(|folder| Group {
            folder,
            is_first_version,
        }));
    }
    groups
}

/// What this process may map, where that is limited.
fn address_space() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_AS).ok()?;
    (soft != RLIM_INFINITY).then_some(soft)
}

/// Where this process may map no more than so much (`ulimit -v`): starts it anew with few arenas.
///
/// glibc reserves an arena of 64 MiB for each thread, of which next to nothing is used, and which counts.
pub fn prepare() {
    if address_space().is_some() && env::var_os(ARENAS).is_none() {
        crate::restart_with([(ARENAS, "2")]);
    }
}

const ARENAS: &str = "MALLOC_ARENA_MAX";

/// What this process may still map, where that is limited, once so many threads are at work: an arena besides the main one, and
/// each thread's stack and images of usual sizes.
pub fn left_to_map(threads: usize) -> Option<u64> {
    const ARENA: u64 = 64 << 20;
    const THREAD: u64 = 24 << 20;
    let reserved = ARENA + THREAD.saturating_mul(threads as u64);
    Some(address_space_left()?.saturating_sub(reserved))
}

fn address_space_left() -> Option<u64> {
    let limit = address_space()?;
    Some(limit.saturating_sub(bytes_of("/proc/self/status", "VmSize:")?))
}

/// The bytes that a file of `/proc` says in KiB after `name`.
pub(crate) fn bytes_of(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    field(&text, name).map(|kib| kib * 1024)
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_name() {
        let text = "MemTotal:       24689764 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(20_000_000));
        assert_eq!(field(text, "MemTotal:"), Some(24_689_764));
        assert_eq!(field(text, "SwapTotal:"), None);
    }

    fn write(folder: &Path, files: &[(&str, &str)]) {
        fs::create_dir_all(folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_tightest_group_counts_and_cached_files_are_free() {
        let mount = tempfile::tempdir().unwrap();
        let stat = "anon 100\nfile 700\ninactive_file 300\nactive_file 400\n";
        write(
            &mount.path().join("job/step"),
            &[
                ("memory.max", "1000\n"),
                ("memory.current", "900\n"),
                ("memory.stat", stat),
            ],
        );
        write(
            &mount.path().join("job"),
            &[("memory.max", "max\n"), ("memory.current", "950\n")],
        );
        let groups = groups_of("0::/job/step\n", mount.path());
        let limits: Vec<_> = groups.iter().map(Group::limit).collect();
        assert_eq!(limits, [Some(1000), None, None]);
        // 900 used, of which 700 are files.
        assert_eq!(groups[0].left(), Some(800));

        let stat = "inactive_file 1\ntotal_inactive_file 30\ntotal_active_file 0\n";
        write(
            &mount.path().join("memory/job"),
            &[
                ("memory.limit_in_bytes", "500"),
                ("memory.usage_in_bytes", "100"),
                ("memory.stat", stat),
            ],
        );
        let lines = "7:cpu,cpuacct:/other\n4:memory:/job\n";
        let groups = groups_of(lines, mount.path());
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].left(), Some(430));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn less_is_free_than_there_is() {
        assert!(free_bytes().unwrap() <= total_bytes().unwrap());
    }
}
