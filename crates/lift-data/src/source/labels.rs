//! Labels as a table has them, numbers or names, become labels of classes.
//!
//! It opens no file: tables and tar shards hand in what they found. Invariant: all lists of a source get
//! their labels from one list of class names, and a value that fits none of them is an error that says
//! where it stands.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame, DataType};

use super::image_file::Bounds;
use super::list::MAX_CLASSES;
use super::{Item, SplitList};
use crate::error::{Error, Result};
use crate::table::{Place, whole_number};
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
    /// What else the table says of each item; see [`SplitList::columns`].
    pub(super) columns: DataFrame,
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
}

impl FoundLabels {
    /// Of a table's column: whole numbers, whole floats, booleans or text.
    ///
    /// # Errors
    /// When a value is missing or none of these; `place` names its row.
    pub(super) fn of(column: &Column, place: impl Fn(usize) -> PathBuf) -> Result<Self> {
        let wrong = |row: usize, reason: String| Error::Source {
            path: place(row),
            reason,
            hint: "every row needs a label: a whole number from 0, or a class name".to_owned(),
        };
        let empty = |row| wrong(row, "the label is empty".to_owned());
        let series = column.as_materialized_series();
        match column.dtype() {
            DataType::String => {
                let mut words = Words::default();
                let texts = series.str().expect("it is text");
                for (row, text) in texts.iter().enumerate() {
                    let text = text.filter(|text| !text.is_empty());
                    words.push(text.ok_or_else(|| empty(row))?);
                }
                Ok(Self::Words(words))
            }
            DataType::Boolean => {
                let mut words = Words::default();
                let values = series.bool().expect("it is boolean");
                for (row, value) in values.iter().enumerate() {
                    let word = value.map(|value| if value { "true" } else { "false" });
                    words.push(word.ok_or_else(|| empty(row))?);
                }
                Ok(Self::Words(words))
            }
            DataType::Float64 => {
                let values = series.f64().expect("it is a float");
                let whole = values.iter().enumerate().map(|(row, value)| match value {
                    Some(value) if value.is_nan() => Err(empty(row)),
                    // Beyond 2^53 a float is no exact number; no label is.
                    Some(value) if value.fract() == 0.0 && value.abs() < 9.0e15 => Ok(value as i64),
                    Some(value) => Err(wrong(row, format!("label {value} is no whole number"))),
                    None => Err(empty(row)),
                });
                whole.collect::<Result<_>>().map(Self::Numbers)
            }
            _ => {
                let values = series.i64().expect("a table's columns are of four types");
                let rows = values.iter().enumerate();
                let numbers = rows.map(|(row, value)| value.ok_or_else(|| empty(row)));
                numbers.collect::<Result<_>>().map(Self::Numbers)
            }
        }
    }
}

impl FoundList {
    fn location(&self, row: usize) -> PathBuf {
        let item = || self.root.join(&self.items[row].path);
        self.place.name(row, item)
    }

    fn wrong(&self, row: usize, reason: String, hint: &str) -> Error {
        Error::Source {
            path: self.location(row),
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
        let word_of = |row: usize| words.distinct[words.rows[row] as usize].as_str();
        let fractions: Vec<bool> = words
            .distinct
            .iter()
            .map(|word| has_fraction(word))
            .collect();
        let fraction = words.rows.iter().position(|&id| fractions[id as usize]);
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
            (_, Some(_)) if names.is_none() && fraction.is_some() => Err(self.wrong(
                fraction.unwrap_or_default(),
                format!("label {} is no whole number", word_of(fraction.unwrap_or_default())),
                "labels are whole numbers from 0 or class names; with --classnames a name may look like a number",
            )),
            (Some(digit), Some(text)) if names.is_none() => Err(self.wrong(
                digit.max(text),
                format!(
                    "`{}` and `{}` are both labels here: one is a number, the other is not",
                    word_of(digit),
                    word_of(text),
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

/// A whole number as it is usually written, or as a float is, which pandas makes of numbers beside a missing value.
fn number(word: &str) -> Option<i64> {
    let whole = match word.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        _ => word,
    };
    whole_number(whole)
}

/// Whether a word is a number with a fraction, which is neither a label nor, unless it is listed as one, a class name.
fn has_fraction(word: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts = word.strip_prefix('-').unwrap_or(word).split_once('.');
    number(word).is_none() && parts.is_some_and(|(a, b)| digits(a) && digits(b))
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
            location: list.location(row).display().to_string(),
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
        columns: list.columns,
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
            columns: DataFrame::default(),
            place: Place::Rows {
                file: PathBuf::from("a.csv"),
                rows: (0..words.len() as u64).collect(),
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
        let (names, labels) = resolved(vec![list(Split::Train, &["10.0", "2.0"])], None).unwrap();
        assert_eq!((names.len(), labels), (11, vec![10, 2]));
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
                &["1", "2.5"],
                None,
                "a.csv: row 1: label 2.5 is no whole number",
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
