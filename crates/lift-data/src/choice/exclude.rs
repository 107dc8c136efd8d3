//! Images that a table names, left out: what a report flagged, or any list with a column `path`.
//!
//! Of a table of duplicates one image of each pair is left out: the training image where the other is of another
//! split, which would be tested with what it was trained on, else the one that comes later. Invariant: a row
//! leaves out the images of its path and, where it says one, of its split.

use std::collections::HashMap;
use std::path::Path;

use lift_page::number::counted;
use lift_page::progress::Reporting;
use lift_shards::split::Split;
use polars::prelude::{Column, StringChunked};

use super::prefix_below;
use crate::error::{Error, Result};
use crate::source::{Source, plain_path, split_of};
use crate::table::{Table, WantedColumns};

/// The columns that are read.
const COLUMNS: [&str; 4] = ["path", "split", "other_path", "other_split"];

pub(super) fn leave_out(
    path: &Path,
    source: &mut Source,
    file: &Path,
    made: &[Split],
    reporting: Reporting,
) -> Result<()> {
    let path_root = source
        .splits
        .first()
        .map_or(path, |list| &list.root)
        .to_owned();
    let path_root = path_root.as_path();
    let wanted = WantedColumns {
        column: &|name| COLUMNS.contains(&name),
        as_written: &COLUMNS,
    };
    let table = Table::read(file, wanted)?;
    let text = |name: &'static str| -> Result<Option<&StringChunked>> {
        let column = table.frame.column(name).ok();
        column.map(|column| texts(&table, column)).transpose()
    };
    table.column("path", "a column of that name")?;
    let [Some(paths), splits, other_paths, other_splits] = [
        text("path")?,
        text("split")?,
        text("other_path")?,
        text("other_split")?,
    ] else {
        unreachable!("the column was found");
    };
    // Of a path the splits that are named, and whether an image of it was found.
    let mut named: HashMap<String, Vec<(Option<Split>, bool)>> = HashMap::new();
    for row in 0..paths.len() {
        let wrong = |reason| Error::Source {
            path: table.place.name(row, || file.to_owned()),
            reason,
            hint: "splits are train, val or test; a row without one is of all splits".to_owned(),
        };
        let word = |splits: Option<&'_ StringChunked>| -> Option<String> {
            splits?.get(row).map(str::to_owned)
        };
        let one = side(word(splits), paths.get(row)).map_err(wrong)?;
        let other_path = other_paths.and_then(|paths| paths.get(row));
        let other = side(word(other_splits), other_path).map_err(wrong)?;
        let (split, path) = match (one, other) {
            (Some(one), None) => one,
            (None, Some(other)) => other,
            (Some(one), Some(other)) => {
                let of_train = one.0 == Some(Split::Train) && other.0 != Some(Split::Train);
                if of_train { one } else { other }
            }
            // Both are of a data set that was compared with.
            (None, None) if paths.get(row).is_some() => continue,
            (None, None) => {
                return Err(Error::Source {
                    path: table.place.name(row, || file.to_owned()),
                    reason: "the path is empty".to_owned(),
                    hint: "every row names an image that is left out".to_owned(),
                });
            }
        };
        let splits = named.entry(plain_path(path, path_root)).or_default();
        if splits.iter().all(|(known, _)| *known != split) {
            splits.push((split, false));
        }
    }
    // What is held out of the training split later is in it now.
    let is_of =
        |named: Split, list: Split| named == list || list == Split::Train && made.contains(&named);
    let mut excluded = 0;
    for list in &mut source.splits {
        let prefix = prefix_below(path, &list.root);
        let mut is_named = |path: &str| {
            let splits = named.get_mut(path).into_iter().flatten();
            let mut splits =
                splits.filter(|(split, _)| split.is_none_or(|split| is_of(split, list.split)));
            splits.next().map(|(_, found)| *found = true).is_some()
        };
        let mut kept = Vec::new();
        for (place, item) in (0_u32..).zip(&list.items) {
            let longer = prefix
                .as_ref()
                .map(|prefix| format!("{prefix}{}", item.path));
            if is_named(&item.path) || longer.is_some_and(|path| is_named(&path)) {
                excluded += 1;
            } else {
                kept.push(place);
            }
        }
        list.keep(&kept);
    }
    let all = named.values().flatten().count();
    let found = named.values().flatten().filter(|(_, found)| *found).count();
    if found == 0 && all > 0 {
        return Err(Error::Source {
            path: file.to_owned(),
            reason: "it names no image of the source".to_owned(),
            hint: "paths are as the shards or the list have them; `lift-data export --format csv` shows them".to_owned(),
        });
    }
    let unknown = match all - found {
        0 => String::new(),
        unknown => format!("; not in the source: {}", counted(unknown as u64, "image")),
    };
    reporting.note(&format!(
        "{}: {} left out{unknown}",
        file.display(),
        counted(excluded, "image")
    ));
    Ok(())
}

/// A side of a row: its split, where it says one, and its path. None where it is of another data set, or not there.
fn side(
    word: Option<String>,
    path: Option<&str>,
) -> std::result::Result<Option<(Option<Split>, &str)>, String> {
    let Some(path) = path else { return Ok(None) };
    match word {
        None => Ok(Some((None, path))),
        // As a report calls the splits of `--compare`.
        Some(word) if word.starts_with("other ") => Ok(None),
        Some(word) => match split_of(&word) {
            Some(split) => Ok(Some((Some(split), path))),
            None => Err(format!("`{word}` is no split")),
        },
    }
}

fn texts<'a>(table: &Table, column: &'a Column) -> Result<&'a StringChunked> {
    column.str().map_err(|_| Error::Source {
        path: table.file.clone(),
        reason: format!(
            "column `{}` holds {}, not text",
            column.name(),
            column.dtype()
        ),
        hint: "paths and splits are text".to_owned(),
    })
}
