//! A classifier file as a run or a zero-shot evaluation starts from it: read, and looked at before it is used.
//!
//! Shape, finite values and zero rows are looked at wherever the file is read ([`Head::read`]); here it is what depends
//! on how it is used. Invariant: classes that start alike are never gone on with in silence.

use std::path::Path;

use lift_models::{Head, hub};
use lift_page::{escape::visible, terminal};
use lift_shards::ClassNames;

use crate::error::{Error, Result};

/// Groups of alike classes that are named.
const MOST_NAMED: usize = 10;

/// A classifier file that was named, and whether classes may start alike.
#[derive(Clone, Copy, Debug)]
pub struct HeadFile<'a> {
    path: &'a Path,
    allow_identical: bool,
}

impl<'a> HeadFile<'a> {
    /// The file at `path`.
    pub fn new(path: &'a Path, allow_identical: bool) -> Self {
        Self {
            path,
            allow_identical,
        }
    }

    /// Where it lies.
    pub fn path(self) -> &'a Path {
        self.path
    }

    /// Reads it for a model. The hash must be that of its names; a file of another model is worth a warning.
    ///
    /// # Errors
    /// When it is missing or damaged, or classes in it cannot be told apart and that is not allowed.
    pub fn read(self, model: &Path) -> Result<Head> {
        let path = self.path;
        let bad = |reason: String| Error::BadRun {
            path: path.into(),
            reason,
        };
        if !path.is_file() {
            return Err(bad(
                "no such file\nhint: make it with `lift-text classifier`".into(),
            ));
        }
        let head = Head::read(path)?;
        if ClassNames::new(head.class_names.clone())?.hash() != head.class_hash {
            return Err(bad(
                "class_hash is not the hash of its class_names\nhint: make the file again".into(),
            ));
        }
        let alike = head.identical();
        if !alike.is_empty() {
            let said = said_of(&alike, &head.class_names);
            if !self.allow_identical {
                return Err(bad(format!(
                    "classes have the same row or class text, so that nothing tells them apart at the start:\n{said}\
                     hint: give them texts of their own (`lift-text classifier --descriptors`), join them, or go on with --allow-identical"
                )));
            }
            terminal::say(format_args!(
                "warning: {}: classes start alike:\n{}",
                path.display(),
                said.trim_end()
            ));
        }
        let name = hub::short_name(model);
        if name != head.model {
            let made_with = visible(&head.model);
            terminal::say(format_args!(
                "warning: {} was made with {made_with}, not with {name}",
                path.display()
            ));
        }
        Ok(head)
    }
}

/// A line a group, the first ten of them.
pub(super) fn said_of(groups: &[Vec<usize>], names: &[String]) -> String {
    let class = |&label: &usize| format!("{label} {:?}", visible(&names[label]));
    let mut text = String::new();
    for group in groups.iter().take(MOST_NAMED) {
        let classes: Vec<String> = group.iter().map(class).collect();
        text += &format!("  {}\n", classes.join(", "));
    }
    if groups.len() > MOST_NAMED {
        text += &format!("  and {} more\n", groups.len() - MOST_NAMED);
    }
    text
}
