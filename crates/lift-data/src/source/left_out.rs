//! What a source has and a build does not take: said and counted, so that nothing goes without a word.
//!
//! Invariant: the counts depend on the source alone; a folder that is left out counts once and is not
//! looked into.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use lift_image::decode::is_named_image;

/// How many names a note shows.
const SHOWN: usize = 5;

/// What was left out of a source, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Files and folders that belong to no split, relative to the source; a folder ends with `/`.
    pub no_split: BTreeSet<String>,
    /// How many files are no image that can be read, by extension.
    pub passed_over: BTreeMap<String, u64>,
    /// Columns of a table whose names promise what their values are not.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub columns: BTreeSet<String>,
    /// What systems and programs put beside images, by name: `@eaDir`, `.DS_Store`, and hidden files.
    pub system: BTreeMap<String, u64>,
}

impl LeftOut {
    /// Whether all was taken.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// A line on each kind.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.no_split.is_empty() {
            let shown: Vec<&str> = self
                .no_split
                .iter()
                .map(String::as_str)
                .take(SHOWN)
                .collect();
            let more = match self.no_split.len() - shown.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let shown = shown.join(", ");
            notes.push(format!("of no split, and left out: {shown}{more}"));
        }
        for column in &self.columns {
            notes.push(format!(
                "column `{column}` names no splits, and is a column as others are"
            ));
        }
        let files = |count| match count {
            1 => "1 file".to_owned(),
            count => format!("{count} files"),
        };
        if let Some((count, kinds)) = counted(&self.passed_over) {
            notes.push(format!("{} passed over: {kinds}", files(count)));
        }
        if let Some((count, kinds)) = counted(&self.system) {
            let system = match count {
                1 => "1 system file or folder".to_owned(),
                count => format!("{count} system files and folders"),
            };
            notes.push(format!("{system} left out: {kinds}"));
        }
        notes
    }

    /// Counts a file that is no image; `name` is its own or a path that ends in it.
    pub(crate) fn pass_over(&mut self, name: &str) {
        let kind = match extension(name) {
            Some(extension) => format!(".{extension}"),
            None => "without an extension".to_owned(),
        };
        self.pass_over_as(&kind);
    }

    /// Counts a file by what keeps it from being taken.
    pub(crate) fn pass_over_as(&mut self, kind: &str) {
        *self.passed_over.entry(kind.to_owned()).or_default() += 1;
    }

    /// Forgets the image files that were counted: they turned out to be taken.
    pub(super) fn without_images(&mut self) {
        self.passed_over
            .retain(|kind, _| !is_named_image(kind.strip_prefix('.')));
    }

    /// Whether a file or folder of this name is nothing of the user's; then it is counted.
    pub(crate) fn is_system(&mut self, name: &str) -> bool {
        let kind = system_kind(name);
        if let Some(kind) = kind {
            *self.system.entry(kind.to_owned()).or_default() += 1;
        }
        kind.is_some()
    }
}

/// The extension of a file's name, in lower case.
pub(super) fn extension(name: &str) -> Option<String> {
    let name = name.rsplit('/').next().unwrap_or(name);
    let (stem, extension) = name.rsplit_once('.')?;
    let plain = !stem.is_empty() && !extension.is_empty() && extension.len() <= 16;
    plain.then(|| extension.to_ascii_lowercase())
}

/// The total, and `6 .heic, 3 .txt`, the most frequent first.
fn counted(kinds: &BTreeMap<String, u64>) -> Option<(u64, String)> {
    let mut sorted: Vec<_> = kinds.iter().collect();
    sorted.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
    let listed: Vec<_> = sorted
        .iter()
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let total = kinds.values().sum();
    (total > 0).then(|| (total, listed.join(", ")))
}

/// What macOS, Windows, network storage and notebooks leave in folders; other hidden files are `hidden`.
fn system_kind(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 15] = [
        ".DS_Store",
        ".ipynb_checkpoints",
        "@eaDir",
        "@Recycle",
        "@Recently-Snapshot",
        "#recycle",
        "#snapshot",
        "$RECYCLE.BIN",
        "System Volume Information",
        "__MACOSX",
        "__pycache__",
        "lost+found",
        "Thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
    ];
    let known = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name));
    match known {
        Some(known) => Some(known),
        None if name.starts_with("._") => Some("._*"),
        None if name.starts_with('.') => Some("hidden"),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_kind_comes_first() {
        let mut left = LeftOut::default();
        assert_eq!(left.notes(), Vec::<String>::new());
        for name in ["a.txt", "b/c.HEIC", "d.heic", "README", "x.", ".y"] {
            left.pass_over(name);
        }
        assert_eq!(
            left.notes(),
            ["6 files passed over: 3 without an extension, 2 .heic, 1 .txt"]
        );
        for name in ["@eaDir", "thumbs.DB", "._x.jpg", ".git", "@EADIR"] {
            assert!(left.is_system(name), "{name}");
        }
        assert!(!left.is_system("cat"));
        left.passed_over.clear();
        left.no_split = (0..7).map(|i| format!("extra{i}/")).collect();
        assert_eq!(
            left.notes(),
            [
                "of no split, and left out: extra0/, extra1/, extra2/, extra3/, extra4/ and 2 more",
                "5 system files and folders left out: 2 @eaDir, 1 ._*, 1 Thumbs.db, 1 hidden",
            ]
        );
    }
}
