//! What the tests of this package share: the place of the reference data, and how far tensors lie apart.
//!
//! The reference data lie beside the checkout (`../shared`, or `LIFT_SHARED`) where development happens. Users do
//! not have them: a test that needs them asks [`shared`] and returns, with the reason printed, when it says `None`.

use std::path::{Path, PathBuf};

use tch::{Kind, Tensor};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the repository")
        .to_path_buf()
}

/// A file or folder of the reference data, or `None` and a printed reason.
pub fn shared(relative: &str) -> Option<PathBuf> {
    let base =
        std::env::var_os("LIFT_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    let path = base.join(relative);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "skipped: the reference data {relative} are not on this machine (set LIFT_SHARED to their folder)"
    );
    None
}

/// The largest absolute difference of two tensors of the same shape.
pub fn largest_difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size(), "shapes differ");
    (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double))
        .abs()
        .max()
        .double_value(&[])
}
