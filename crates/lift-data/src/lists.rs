//! Writes the lists of a source's splits, as `build list` reads them, without building.
//!
//! It opens no image. Invariant: the folder is complete or not there, and reading the lists back gives
//! the same images, labels and class names (`val.txt` without `test.txt` as the test split).

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::build::{BuildOptions, read_source};
use crate::error::{Error, Result};
use crate::source::{CLASS_NAMES_FILE, Content, LeftOut, SplitList};
use crate::stats::{Counted, Stats, describe};
use lift_page::progress::Reporting;
use lift_shards::atomic;
use lift_shards::split::{BandEdges, Split};

/// What [`write_lists`] wrote; `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct ListsReport {
    /// The dataset's name.
    pub dataset: String,
    /// The folder with the lists.
    pub dir: PathBuf,
    /// What the lists' paths are relative to: `--root` of `build list`.
    pub root: PathBuf,
    /// Where the bands end.
    pub band_edges: BandEdges,
    /// The lists.
    pub splits: Vec<Stats>,
    /// What else the source has.
    pub left_out: LeftOut,
}

/// Writes `train.txt`, `val.txt`, `test.txt` (those that there are) and `classnames.txt` into
/// `options.out`. What says how images are stored has no effect.
///
/// # Errors
/// When the folder is not empty, the source is bad or its images are not files of their own.
pub fn write_lists(options: &BuildOptions, reporting: Reporting) -> Result<ListsReport> {
    // Created after reading: the folder may lie in the source, and is no class of it.
    check_vacant(&options.out)?;
    let source = read_source(options, reporting)?;
    for list in &source.splits {
        list.check_not_empty(&options.source, &source.class_names)?;
    }
    let root = match &options.root {
        Some(root) => root.clone(),
        None if options.source.is_dir() => options.source.clone(),
        None => options
            .source
            .parent()
            .unwrap_or(Path::new(""))
            .to_path_buf(),
    };
    let mut folder = UnfinishedFolder::create(&options.out)?;
    let mut counted = Vec::new();
    for list in &source.splits {
        let file = folder.write(&format!("{}.txt", list.split), &lines(list, &root)?)?;
        let counts = list.class_counts(source.class_names.len());
        counted.push(Counted {
            split: Some(list.split),
            path: file,
            counts,
        });
    }
    let names = source.class_names.as_slice().join("\n") + "\n";
    folder.write(CLASS_NAMES_FILE, &names)?;
    folder.keep();
    Ok(ListsReport {
        dataset: options.dataset.name(),
        dir: options.out.clone(),
        root,
        band_edges: options.bands,
        splits: describe(&counted, options.bands),
        left_out: source.left_out,
    })
}

fn lines(list: &SplitList, root: &Path) -> Result<String> {
    let below = list.root.strip_prefix(root).unwrap_or(Path::new(""));
    let prefix = match below.to_str() {
        Some("") | None => String::new(),
        Some(below) => format!("{below}/"),
    };
    let mut text = String::new();
    for item in &list.items {
        let path = &item.path;
        let wrong = |reason: &str, hint: &str| Error::Source {
            path: list.root.join(path),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        };
        // What lies elsewhere is named as it was found.
        let (prefix, path) = match &item.content {
            Content::File => (prefix.as_str(), path.as_str()),
            Content::At(file) => {
                let file = file.strip_prefix(root).unwrap_or(file);
                let text = file.to_str().ok_or_else(|| {
                    wrong("its path is not UTF-8", "move what is in it elsewhere")
                })?;
                ("", text)
            }
            Content::Memory(_)
            | Content::Slice { .. }
            | Content::Row { .. }
            | Content::Stored(_) => {
                return Err(wrong(
                    "not a file of its own, so that no list can name it",
                    "build it directly: `lift-data build` takes the same settings",
                ));
            }
        };
        if path.contains(['\n', '\r']) || path.trim() != path {
            return Err(wrong(
                "a list cannot hold its name: it has a line break, or a blank at its start or end",
                "rename the file",
            ));
        }
        let _ = writeln!(text, "{prefix}{path} {}", item.label);
    }
    Ok(text)
}

/// The splits in which some class has no image, with the number of such classes.
pub fn without_images(splits: &[Stats]) -> impl Iterator<Item = (Split, usize)> + '_ {
    splits.iter().filter_map(|stats| {
        let split = stats.split?;
        (stats.empty_classes > 0).then_some((split, stats.empty_classes))
    })
}
fn check_vacant(dir: &Path) -> Result<()> {
    let vacant = match fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(err) => err.kind() == std::io::ErrorKind::NotFound,
    };
    if vacant {
        Ok(())
    } else {
        Err(lift_shards::Error::OutputExists {
            path: dir.to_owned(),
        }
        .into())
    }
}

/// A new folder whose files go again unless it is kept.
struct UnfinishedFolder<'a> {
    dir: &'a Path,
    written: Vec<PathBuf>,
}

impl<'a> UnfinishedFolder<'a> {
    fn create(dir: &'a Path) -> Result<Self> {
        check_vacant(dir)?;
        fs::create_dir_all(dir).map_err(Error::write(dir))?;
        Ok(Self {
            dir,
            written: Vec::new(),
        })
    }

    fn write(&mut self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        atomic::write(&path, text.as_bytes())?;
        self.written.push(path.clone());
        Ok(path)
    }

    fn keep(mut self) {
        self.written.clear();
    }
}

impl Drop for UnfinishedFolder<'_> {
    fn drop(&mut self) {
        // Only what was written here, and the folder where it is empty; the error that led here is the one to report.
        for path in &self.written {
            let _ = fs::remove_file(path);
        }
        let _ = fs::remove_dir(self.dir);
    }
}
