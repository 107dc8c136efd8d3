//! Labels as a table has them, numbers or names, become labels of classes.
//!
//! It opens no file: tables and tar shards hand in what they found. Invariant: all lists of a source get
//! their labels from one list of class names, and a value that fits none of them is an error that says
//! where it stands.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::image_file::Bounds;
use super::list::MAX_CLASSES;
use super::table::line_at;
use super::{Item, SplitList};
use crate::error::{Error, Result};
use lift_shards::classes::ClassNames;
use lift_shards::split::Split;

/// One list of images whose labels are as they were found.
pub(super) struct FoundList {
    pub(super) split: Split,
    /// What the items' paths are relative to.
    pub(super) root: PathBuf,
    /// Where image files may lie.
    pub(super) bounds: Bounds,
    /// Items in row order; their label is not set yet.
    pub(super) items: Vec<Item>,
    pub(super) labels: FoundLabels,
    pub(super) place: Place,
}

/// The labels of the items, in the same order.
pub(super) enum FoundLabels {
    Numbers(Vec<i64>),
    Words(Words),
}

/// Texts of which many are equal: each is held once.
#[derive(Default)]
pub(super) struct Words {
    index: HashMap<String, u32>,
    distinct: Vec<String>,
    rows: Vec<u32>,
}

/// How a row is named in messages.
pub(super) enum Place {
    /// `file:line`, from where the rows start in the file.
    Lines { file: PathBuf, offsets: Vec<u64> },
    /// `file: row n`, from 0.
    Rows { file: PathBuf },
    /// The item's own path.
    Items,
}

impl Words {
    pub(super) fn push(&mut self, word: &str) {
        let id = match self.index.get(word) {
            Some(&id) => id,
            None => {
                let id = self.distinct.len() as u32;
                self.index.insert(word.to_owned(), id);
                self.distinct.push(word.to_owned());
                id
            }
        };
        self.rows.push(id);
    }

    pub(super) fn num_distinct(&self) -> usize {
        self.distinct.len()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }
}

impl FoundList {
    fn location(&self, row: usize) -> String {
        match &self.place {
            Place::Lines { file, offsets } => line_at(file, offsets[row]).display().to_string(),
            Place::Rows { file } => format!("{}: row {row}", file.display()),
            Place::Items => self.root.join(&self.items[row].path).display().to_string(),
        }
    }

    fn wrong(&self, row: usize, reason: String, hint: &str) -> Error {
        Error::Source {
            path: PathBuf::from(self.location(row)),
            reason,
            hint: hint.to_owned(),
        }
    }

    /// Words that are all numbers become numbers, unless they are all class names.
    fn read_numbers(&mut self, names: Option<&ClassNames>) -> Result<()> {
        let FoundLabels::Words(words) = &self.labels else {
            return Ok(());
        };
        let known = |names: &ClassNames| {
            let names = labels_of(names);
            words
                .distinct
                .iter()
                .all(|word| names.contains_key(word.as_str()))
        };
        if words.rows.is_empty() || names.is_some_and(known) {
            return Ok(());
        }
        let numbers: Vec<Option<i64>> = words.distinct.iter().map(|word| number(word)).collect();
        let of_row = |row: usize| numbers[words.rows[row] as usize];
        let (mut digits, mut text) = (None, None);
        for row in 0..words.rows.len() {
            let seen = if of_row(row).is_some() {
                &mut digits
            } else {
                &mut text
            };
            seen.get_or_insert(row);
        }
        match (digits, text) {
            (Some(_), None) => {
                let rows = words.rows.iter();
                let numbers = rows.filter_map(|&id| numbers[id as usize]).collect();
                self.labels = FoundLabels::Numbers(numbers);
                Ok(())
            }
            (Some(digit), Some(text)) if names.is_none() => Err(self.wrong(
                digit.max(text),
                format!(
                    "`{}` and `{}` are both labels here: one is a number, the other is not",
                    words.distinct[words.rows[digit] as usize],
                    words.distinct[words.rows[text] as usize],
                ),
                "use numbers or names throughout; with --classnames a name may look like a number",
            )),
            _ => Ok(()),
        }
    }
}

/// Sets the labels of all lists of `source`. Without `class_names` they are the names found, sorted
/// bytewise, or the numbers from 0 to the largest found.
pub(super) fn resolve(
    source: &Path,
    mut lists: Vec<FoundList>,
    class_names: Option<ClassNames>,
) -> Result<(ClassNames, Vec<SplitList>)> {
    for list in &mut lists {
        list.read_numbers(class_names.as_ref())?;
    }
    let class_names = match class_names {
        Some(names) => names,
        None => names_found(source, &lists)?,
    };
    let has_words = |list: &FoundList| matches!(list.labels, FoundLabels::Words(_));
    if let Some(name) = class_names
        .repeated()
        .filter(|_| lists.iter().any(has_words))
    {
        return Err(Error::Source {
            path: source.to_owned(),
            reason: format!("two classes are called `{name}`, and labels are names"),
            hint: "give one distinct name a class, or labels as numbers".to_owned(),
        });
    }
    let labels = labels_of(&class_names);
    let lists = lists
        .into_iter()
        .map(|list| label_items(list, &labels, class_names.len()))
        .collect::<Result<_>>()?;
    Ok((class_names, lists))
}

/// A number as it is usually written: `07` and `+7` are names, so that they differ from `7`.
fn number(word: &str) -> Option<i64> {
    let number: i64 = word.parse().ok()?;
    (number.to_string() == word).then_some(number)
}

fn labels_of(names: &ClassNames) -> HashMap<&str, u32> {
    names
        .as_slice()
        .iter()
        .map(String::as_str)
        .zip(0..)
        .collect()
}

fn names_found(source: &Path, lists: &[FoundList]) -> Result<ClassNames> {
    let mut names: Vec<&str> = Vec::new();
    let mut num_numbers = 0;
    for list in lists {
        match &list.labels {
            FoundLabels::Words(words) => names.extend(words.distinct.iter().map(String::as_str)),
            FoundLabels::Numbers(numbers) => {
                for (row, &label) in numbers.iter().enumerate() {
                    check_number(list, row, label, None)?;
                    num_numbers = num_numbers.max(label + 1);
                }
            }
        }
    }
    if !names.is_empty() && num_numbers > 0 {
        return Err(Error::Source {
            path: source.to_owned(),
            reason: "labels are names in one list and numbers in another".to_owned(),
            hint: "use one of them, or name the classes with --classnames".to_owned(),
        });
    }
    let names = if num_numbers > 0 {
        (0..num_numbers).map(|label| label.to_string()).collect()
    } else {
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(str::to_owned).collect()
    };
    Ok(ClassNames::with_origin(
        names,
        &source.display().to_string(),
    )?)
}

fn check_number(
    list: &FoundList,
    row: usize,
    label: i64,
    num_classes: Option<usize>,
) -> Result<()> {
    match num_classes {
        _ if label == -1 => Err(list.wrong(
            row,
            "label -1: this image has no label".to_owned(),
            "splits whose labels were never published cannot be built: choose others with --split, or take its files out of the folder",
        )),
        Some(num_classes) if !(0..num_classes as i64).contains(&label) => Err(Error::Label {
            location: list.location(row),
            label,
            num_classes,
        }),
        None if !(0..MAX_CLASSES).contains(&label) => Err(list.wrong(
            row,
            format!("label {label} is out of range"),
            "labels are whole numbers from 0, one a class",
        )),
        _ => Ok(()),
    }
}

fn label_items(
    mut list: FoundList,
    names: &HashMap<&str, u32>,
    num_classes: usize,
) -> Result<SplitList> {
    match &list.labels {
        FoundLabels::Numbers(numbers) => {
            for (row, &label) in numbers.iter().enumerate() {
                check_number(&list, row, label, Some(num_classes))?;
            }
        }
        FoundLabels::Words(words) => {
            let known: Vec<bool> = words
                .distinct
                .iter()
                .map(|word| names.contains_key(word.as_str()))
                .collect();
            if let Some(row) = words.rows.iter().position(|&id| !known[id as usize]) {
                let word = &words.distinct[words.rows[row] as usize];
                return Err(list.wrong(
                    row,
                    format!("`{word}` is not among the {} class names", names.len()),
                    "class names come from --classnames, or else from the source",
                ));
            }
        }
    }
    match &list.labels {
        FoundLabels::Numbers(numbers) => {
            for (item, &label) in list.items.iter_mut().zip(numbers) {
                item.label = label as u32;
            }
        }
        FoundLabels::Words(words) => {
            let labels: Vec<u32> = words
                .distinct
                .iter()
                .map(|word| names[word.as_str()])
                .collect();
            for (item, &id) in list.items.iter_mut().zip(&words.rows) {
                item.label = labels[id as usize];
            }
        }
    }
    Ok(SplitList {
        split: list.split,
        root: list.root,
        bounds: list.bounds,
        items: list.items,
        imbalance_ratio: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Content;

    fn list(split: Split, words: &[&str]) -> FoundList {
        let mut found = Words::default();
        words.iter().for_each(|word| found.push(word));
        let item = |i: usize| Item {
            path: format!("{i}.jpg"),
            label: 0,
            content: Content::File,
        };
        FoundList {
            split,
            root: PathBuf::from("r"),
            bounds: Bounds::default(),
            items: (0..words.len()).map(item).collect(),
            labels: FoundLabels::Words(found),
            place: Place::Rows {
                file: PathBuf::from("a.csv"),
            },
        }
    }

    fn resolved(lists: Vec<FoundList>, names: Option<&[&str]>) -> Result<(Vec<String>, Vec<u32>)> {
        let names = names.map(|names| {
            ClassNames::new(names.iter().map(|&name| name.to_owned()).collect()).unwrap()
        });
        let (names, lists) = resolve(Path::new("src"), lists, names)?;
        let labels = lists.iter().flat_map(|list| &list.items);
        Ok((names.into(), labels.map(|item| item.label).collect()))
    }

    #[test]
    fn names_are_sorted_over_all_lists_and_numbers_stay() {
        let lists = vec![
            list(Split::Train, &["dog", "cat", "dog"]),
            list(Split::Test, &["ant"]),
        ];
        let (names, labels) = resolved(lists, None).unwrap();
        assert_eq!(names, ["ant", "cat", "dog"]);
        assert_eq!(labels, [2, 1, 2, 0]);
        let (names, labels) = resolved(vec![list(Split::Train, &["2", "0"])], None).unwrap();
        assert_eq!((names.len(), labels), (3, vec![2, 0]));
        let (names, labels) = resolved(vec![list(Split::Train, &["02", "01"])], None).unwrap();
        assert_eq!(
            (names, labels),
            (vec!["01".into(), "02".into()], vec![1, 0])
        );
        // A class may be called 7 where the class names say so.
        let found = vec![list(Split::Train, &["7", "x"])];
        let (_, labels) = resolved(found, Some(&["x", "7"])).unwrap();
        assert_eq!(labels, [1, 0]);
    }

    #[test]
    fn what_fits_no_class_is_named() {
        for (words, names, message) in [
            (&["0", "x"][..], None, "a.csv: row 1: `0` and `x` are both"),
            (
                &["a", "c"],
                Some(&["a", "b"][..]),
                "a.csv: row 1: `c` is not among the 2",
            ),
            (
                &["0", "2"],
                Some(&["a", "b"]),
                "a.csv: row 1: label 2 is out of range",
            ),
            (
                &["0", "-1"],
                None,
                "a.csv: row 1: label -1: this image has no label",
            ),
            (
                &["0", "-1"],
                Some(&["a"]),
                "a.csv: row 1: label -1: this image has no label",
            ),
            (
                &["0", "99999999"],
                None,
                "a.csv: row 1: label 99999999 is out of range",
            ),
            (&["", "a"], None, "is blank"),
        ] {
            let err = resolved(vec![list(Split::Train, words)], names).unwrap_err();
            assert!(err.to_string().contains(message), "{err}");
            assert!(err.to_string().contains("\nhint: "), "{err}");
        }
        // Two of ImageNet's classes share a name: numbers tell them apart, names do not.
        let names = Some(&["a", "b", "b"][..]);
        let (_, labels) = resolved(vec![list(Split::Train, &["2", "0"])], names).unwrap();
        assert_eq!(labels, [2, 0]);
        let err = resolved(vec![list(Split::Train, &["b", "a"])], names).unwrap_err();
        assert!(
            err.to_string().contains("two classes are called `b`"),
            "{err}"
        );
        let lists = vec![list(Split::Train, &["a"]), list(Split::Test, &["0"])];
        let err = resolved(lists, None).unwrap_err().to_string();
        assert!(err.contains("names in one list and numbers"), "{err}");
    }
}
