//! How many images are left of each class while bad ones are found.
//!
//! A class of the training split that loses its last image, and a split that does, end a build: nothing could be learnt
//! or measured there. Invariant: that is known at the bad image that was the last, and not after all shards.

use crate::error::Error;
use lift_shards::manifest::Manifest;
use lift_shards::quarantine::Quarantined;
use lift_shards::split::Split;

/// The images of a plan that are not known to be bad.
pub(super) struct Left<'a> {
    plan: &'a Manifest,
    counts: Vec<u64>,
}

/// Of what the last image is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Emptied {
    /// The training images of this class.
    Class(u32),
    /// The split.
    Split,
}

impl<'a> Left<'a> {
    /// All images of the plan.
    pub(super) fn of(plan: &'a Manifest) -> Self {
        let counts = plan.class_counts.clone();
        Self { plan, counts }
    }

    /// Takes a bad image of class `label` away; says what is empty by that.
    pub(super) fn take(&mut self, label: u32) -> Option<Emptied> {
        let left = &mut self.counts[label as usize];
        *left = left.saturating_sub(1);
        if *left == 0 && self.plan.split == Split::Train {
            return Some(Emptied::Class(label));
        }
        let is_empty = self.counts.iter().all(|&count| count == 0);
        is_empty.then_some(Emptied::Split)
    }

    /// Takes the bad images of a finished shard away. Where that leaves nothing of a class or of the split, it takes none
    /// and says false: that shard is to be built again, since its images may have been mended.
    pub(super) fn take_all(&mut self, bad: &[Quarantined]) -> bool {
        let before = self.counts.clone();
        let is_empty = bad.iter().any(|image| self.take(image.label).is_some());
        if is_empty {
            self.counts = before;
        }
        !is_empty
    }

    /// Images of each class that are left.
    pub(super) fn into_counts(self) -> Vec<u64> {
        self.counts
    }

    /// The error for the bad image at `path` that has emptied something; `go_on` says how to go on once it is mended.
    pub(super) fn error(&self, emptied: Emptied, path: String, reason: &str, go_on: &str) -> Error {
        let (split, plan) = (self.plan.split, self.plan);
        let (of, total, without) = match emptied {
            Emptied::Class(label) => {
                let name = plan.class_names.name(label).unwrap_or_default();
                (
                    format!("training image of class {label} ({name})"),
                    plan.class_counts[label as usize],
                    "take the class out of the source and its class names, which makes another build",
                )
            }
            Emptied::Split => (
                format!("image of the {split} split"),
                plan.rows,
                "build without this split (--split)",
            ),
        };
        let what = match total {
            1 => format!("it is the only {of}"),
            _ => format!("it is the last {of}, all {total} are bad"),
        };
        Error::LastImage {
            path,
            reason: reason.to_owned(),
            what,
            hint: format!("{go_on}, or {without}"),
        }
    }
}
