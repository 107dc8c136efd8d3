//! What unit tests and tests of programs share: the optional folder of goldens and real data.

use std::path::{Path, PathBuf};

/// `name` in the shared folder (`LIFT_SHARED`, or `shared` beside the repository). Without it the
/// reason is printed and the caller skips.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LIFT_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there (set LIFT_SHARED)", path.display());
    None
}
