//! Whether what a build writes would lie among what it reads.
//!
//! A folder that is searched for images must not hold the output, be it or lie in it: the next build would read its own
//! shards, or a class that is none. Of a list, only the files that it names are read, so that its output may lie beside
//! them; it may not lie in the list's folder or root themselves, which would then look like a dataset. Invariant: links
//! are followed, and nothing is written.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::{BuildOptions, Dataset};
use crate::dataset::SourceKind;
use crate::error::{Error, Result};

/// Fails where source and output overlap.
pub(super) fn check(options: &BuildOptions) -> Result<()> {
    let is_searched = match &options.dataset {
        Dataset::List | Dataset::Table => false,
        Dataset::Named(named) => named.spec.source != SourceKind::Lists,
        Dataset::Folder | Dataset::Hf | Dataset::WebDataset | Dataset::Shards => true,
    };
    let of_splits = options.splits.iter();
    let of_splits = of_splits.map(|split| options.out.join(split.as_str()));
    let outputs = [options.out.clone()].into_iter().chain(of_splits);
    let outputs: Vec<_> = outputs.map(|output| (real(&output), output)).collect();
    let mut folders = folders_of(options);
    if is_searched {
        folders.extend(links_in(&options.source));
    }
    for (shown, source) in folders {
        for (output, out) in &outputs {
            let how = match (source.starts_with(output), output.starts_with(&source)) {
                (true, true) => "is that of",
                // Images below what will be a split's folder of shards are never beside it.
                (true, false) if is_searched || *out != options.out => "lies around",
                (false, true) if is_searched => "lies inside",
                _ => continue,
            };
            return Err(Error::Overlap {
                out: out.clone(),
                how,
                source_dir: shown,
            });
        }
    }
    Ok(())
}

/// The folders that are read, as they were given and as they are. The folder of a file is not searched.
fn folders_of(options: &BuildOptions) -> Vec<(PathBuf, PathBuf)> {
    let source = &options.source;
    let list_root = match (&options.dataset, &options.root) {
        (Dataset::List | Dataset::Table, Some(root)) => root.clone(),
        (Dataset::List | Dataset::Table, None) if source.is_file() => match source.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        },
        _ => source.clone(),
    };
    let folders = options.sources().into_iter().chain([list_root]);
    let folders = folders.filter(|folder| folder.is_dir());
    folders
        .map(|folder| (folder.clone(), real(&folder)))
        .collect()
}

/// The links to folders that lie in `dir`, and where they lead: a search follows them.
fn links_in(dir: &Path) -> Vec<(PathBuf, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
    let links = links.map(|link| (link.path(), real(&link.path())));
    links.filter(|(_, target)| target.is_dir()).collect()
}

/// The path without links, as far as it is there.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut there = path.as_path();
    let mut rest = Vec::new();
    loop {
        if let Ok(found) = fs::canonicalize(there) {
            let mut found = found;
            for component in rest.into_iter().rev() {
                match component {
                    Component::ParentDir => {
                        found.pop();
                    }
                    component => found.push(component),
                }
            }
            return found;
        }
        let (Some(parent), Some(last)) = (there.parent(), there.components().next_back()) else {
            return path;
        };
        rest.push(last);
        there = parent;
    }
}
