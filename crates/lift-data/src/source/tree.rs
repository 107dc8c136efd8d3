//! Whether the files that lists name are there, asked before anything is decoded.
//!
//! It opens no image and reads every folder once instead of asking for a million files one by one.
//! Invariant: the answer does not depend on the order of folders or threads, and memory is bounded by
//! the largest folders that are read at a time, not by the tree.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::{Content, SplitList};
use crate::dataset::WrongVersion;
use crate::error::{Error, Result};
use lift_page::escape::visible;

/// Up to so many files of a folder are asked for one by one: the folder may hold thousands of others.
const ASK_ONE_BY_ONE: usize = 4;

/// How many missing files a message shows.
const SHOWN: usize = 5;

/// How many folders below the source are tried as the right source.
const TRIED: usize = 100;

/// How a source's folder is known to be another version.
#[derive(Debug, Clone, Copy)]
pub struct Versions<'a> {
    /// What is known to go wrong.
    pub wrong: &'a [WrongVersion],
    /// Which version to download.
    pub get: Option<&'a str>,
}

/// Fails where more files of `lists` are missing than `allowed` a split, naming how many, the first
/// five, and what the folder seems to be instead. Returns how many are missing.
pub fn check(lists: &[SplitList], versions: Versions<'_>, allowed: u64) -> Result<u64> {
    let missing: Vec<(&SplitList, Vec<u32>)> = lists
        .iter()
        .map(|list| Ok((list, missing(list)?)))
        .collect::<Result<_>>()?;
    let in_all = missing.iter().map(|(_, places)| places.len() as u64).sum();
    let Some((list, first)) = missing
        .iter()
        .find(|(_, places)| places.len() as u64 > allowed)
    else {
        return Ok(in_all);
    };
    let first: &str = &list.items[first[0] as usize].path;
    let (seems, hint) = diagnosis(&list.root, first, versions);
    Err(Error::Source {
        path: list.root.clone(),
        reason: format!("{}{seems}", describe(&missing)),
        hint,
    })
}

/// `3 of 10 files of the train list are missing:` and the first of them.
fn describe(missing: &[(&SplitList, Vec<u32>)]) -> String {
    let parts: Vec<_> = missing
        .iter()
        .filter(|(_, places)| !places.is_empty())
        .map(|(list, places)| {
            let (count, total) = (places.len(), list.items.len());
            format!("{count} of {total} files of the {} list", list.split)
        })
        .collect();
    let shown: Vec<_> = missing
        .iter()
        .flat_map(|(list, places)| places.iter().map(|&i| &list.items[i as usize].path))
        .take(SHOWN)
        .map(|path| format!("\n  {}", visible(path)))
        .collect();
    let in_all: usize = missing.iter().map(|(_, places)| places.len()).sum();
    let more = match in_all - shown.len() {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    format!(
        "missing are {}:{}{more}",
        parts.join(" and "),
        shown.concat()
    )
}

/// The positions in `list` whose file is not there, in order.
fn missing(list: &SplitList) -> Result<Vec<u32>> {
    let mut by_folder: HashMap<&str, Vec<u32>> = HashMap::new();
    for (i, item) in list.items.iter().enumerate() {
        if matches!(item.content, Content::File) {
            let folder = item.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            by_folder.entry(folder).or_default().push(i as u32);
        }
    }
    let lacking: Vec<Vec<u32>> = by_folder
        .par_iter()
        .map(|(folder, places)| missing_of(list, folder, places))
        .collect::<Result<_>>()?;
    let mut missing = lacking.concat();
    missing.sort_unstable();
    Ok(missing)
}

fn missing_of(list: &SplitList, folder: &str, places: &[u32]) -> Result<Vec<u32>> {
    let path = |i: u32| list.items[i as usize].path.as_str();
    if places.len() <= ASK_ONE_BY_ONE {
        let gone = |i: &u32| !list.root.join(path(*i)).exists();
        return Ok(places.iter().copied().filter(gone).collect());
    }
    let dir = list.root.join(folder);
    let names: HashSet<OsString> = match fs::read_dir(&dir) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<std::io::Result<_>>()
            .map_err(Error::read(&dir))?,
        Err(err) => match err.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => HashSet::new(),
            _ => return Err(Error::read(dir)(err)),
        },
    };
    let gone = |i: &u32| {
        let name = path(*i).rsplit('/').next().unwrap_or_default();
        !names.contains(std::ffi::OsStr::new(name))
    };
    Ok(places.iter().copied().filter(gone).collect())
}

/// What the folder seems to be, as the end of a message, and what to do.
fn diagnosis(root: &Path, first_missing: &str, versions: Versions<'_>) -> (String, String) {
    let known = versions
        .wrong
        .iter()
        .find(|wrong| wrong.has.iter().any(|pattern| has(root, pattern)));
    if let Some(wrong) = known {
        return (format!("\n{}", wrong.is), wrong.hint.clone());
    }
    if !root.is_dir() {
        let hint = "name the folder that holds the images as --source";
        return (
            "\nthe folder itself is not there".to_owned(),
            hint.to_owned(),
        );
    }
    if let Some(child) = child_with(root, first_missing) {
        return (
            format!("\nit is in the folder {child}"),
            format!("name {} as --source", root.join(child).display()),
        );
    }
    let inside = first_missing.split_once('/');
    if let Some((folder, _)) = inside.filter(|(_, rest)| root.join(rest).exists()) {
        return (
            format!("\nthis is the inside of the folder {folder}"),
            format!("name the folder that holds {folder} as --source"),
        );
    }
    let hint = match versions.get {
        Some(get) => format!("the version to download is {get}"),
        None => "check that --source is the folder that the list's paths start at".to_owned(),
    };
    (String::new(), hint)
}

/// Whether `pattern` is below `root`; a `*` at its end stands for the rest of a name.
fn has(root: &Path, pattern: &str) -> bool {
    let Some(start) = pattern.strip_suffix('*') else {
        return root.join(pattern).exists();
    };
    let (folder, start) = start.rsplit_once('/').unwrap_or(("", start));
    let Ok(entries) = fs::read_dir(root.join(folder)) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with(start))
}

/// The folder right below `root` in which `path` is found.
fn child_with(root: &Path, path: &str) -> Option<String> {
    let mut children: Vec<_> = fs::read_dir(root)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    children.sort();
    children
        .into_iter()
        .take(TRIED)
        .find(|child| root.join(child).join(path).exists())
}

#[cfg(test)]
mod tests {
    use polars::prelude::DataFrame;

    use super::*;
    use crate::source::Item;
    use lift_shards::split::Split;

    fn list(root: &Path, paths: &[String]) -> SplitList {
        let item = |path: &String| Item {
            path: path.clone(),
            label: 0,
            content: Content::File,
        };
        SplitList {
            split: Split::Train,
            root: root.to_owned(),
            bounds: crate::source::Bounds::default(),
            items: paths.iter().map(item).collect(),
            columns: DataFrame::default(),
            imbalance_ratio: None,
        }
    }

    /// Files a/0..9, b/0..1, c/d/0..5 and plain; every third of the list is not written.
    #[test]
    fn missing_files_are_those_that_a_stat_does_not_find() {
        let dir = tempfile::tempdir().unwrap();
        let mut paths: Vec<String> = Vec::new();
        for (folder, count) in [("a/", 10), ("b/", 2), ("c/d/", 6), ("", 7), ("gone/", 9)] {
            paths.extend((0..count).map(|i| format!("{folder}{i}.jpg")));
        }
        // A list's order is not that of the folders.
        paths.sort_by_key(|path| path.bytes().rev().collect::<Vec<_>>());
        for (i, path) in paths.iter().enumerate() {
            if i % 3 != 0 && !path.starts_with("gone") {
                fs::create_dir_all(dir.path().join(path).parent().unwrap()).unwrap();
                fs::write(dir.path().join(path), "").unwrap();
            }
        }
        let list = list(dir.path(), &paths);
        let expected: Vec<u32> = (0..paths.len() as u32)
            .filter(|&i| !dir.path().join(&paths[i as usize]).exists())
            .collect();
        assert!(expected.len() > 9);
        assert_eq!(missing(&list).unwrap(), expected);
        let versions = Versions {
            wrong: &[],
            get: None,
        };
        let lists = [list];
        assert!(check(&lists, versions, expected.len() as u64 - 1).is_err());
        let allowed = check(&lists, versions, expected.len() as u64).unwrap();
        assert_eq!(allowed, expected.len() as u64);
    }

    #[test]
    fn a_star_stands_for_the_rest_of_a_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("train/00000_Animalia_Annelida")).unwrap();
        for (pattern, there) in [
            ("train/00000_Animalia_*", true),
            ("train/00000_Plantae_*", false),
            ("trai*", true),
            ("train", true),
            ("val/*", false),
        ] {
            assert_eq!(has(dir.path(), pattern), there, "{pattern}");
        }
    }
}
