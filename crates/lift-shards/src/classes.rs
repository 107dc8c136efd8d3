//! Class names: the label of a class is its place in the list.
//!
//! It does not know where names come from (folders, files, datasets). Invariant: the list is never
//! empty, and no name is blank or has a line break. Names may repeat: ImageNet's usual names have two
//! classes `missile` and two `sunglasses`. Who finds labels by name asks [`ClassNames::repeated`] first.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use lift_files::Purpose;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use unicode_normalization::UnicodeNormalization;

use crate::error::{Error, Result};

/// The names of a dataset's classes in label order. Serialised as a plain list of strings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct ClassNames(Vec<String>);

impl ClassNames {
    /// Takes names in label order; an empty list or a blank name is an error.
    pub fn new(names: Vec<String>) -> Result<Self> {
        Self::with_origin(names, "class names")
    }

    /// Reads one name a line, in label order. Blank lines at the end are allowed, others are errors.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = lift_files::text(path, Purpose::Names).map_err(Error::read(path))?;
        let lines = text.trim_end().lines();
        let names = lines.map(|line| line.trim().to_owned()).collect();
        Self::with_origin(names, &path.display().to_string())
    }

    /// As [`ClassNames::new`], with `origin` named in the error.
    pub fn with_origin(names: Vec<String>, origin: &str) -> Result<Self> {
        let wrong = |reason| Error::ClassNames {
            origin: origin.to_owned(),
            reason,
        };
        if names.is_empty() {
            return Err(wrong("the list is empty".to_owned()));
        }
        for (label, name) in names.iter().enumerate() {
            if name.trim().is_empty() {
                return Err(wrong(format!("the name of class {label} is blank")));
            }
            if name.contains(['\n', '\r']) {
                return Err(wrong(format!("the name of class {label} has a line break")));
            }
        }
        Ok(Self(names))
    }

    /// The number of classes, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "the list is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The names in label order.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// The first name that more than one class has.
    pub fn repeated(&self) -> Option<&str> {
        let mut seen = HashSet::new();
        let name = self.0.iter().find(|name| !seen.insert(name.as_str()))?;
        Some(name)
    }

    /// Refuses two names that are written in other code points and are the same letters, such as an accented letter as one
    /// and as a letter with an accent behind it: nobody can see which is meant, and file systems differ on it.
    ///
    /// # Errors
    /// Names the two classes with the code points that cannot be seen; `origin` comes first.
    pub fn require_no_twins(&self, origin: &str) -> Result<()> {
        let mut composed: HashMap<String, usize> = HashMap::new();
        for (label, name) in self.0.iter().enumerate() {
            let Some(first) = composed.insert(name.nfc().collect(), label) else {
                continue;
            };
            let other = &self.0[first];
            if other != name {
                return Err(Error::TwinNames {
                    origin: origin.to_owned(),
                    first: format!("{first} ({})", code_points(other)),
                    second: format!("{label} ({})", code_points(name)),
                });
            }
        }
        Ok(())
    }

    /// The name of `label`, or `None` beyond the last class.
    pub fn name(&self, label: u32) -> Option<&str> {
        self.0.get(label as usize).map(String::as_str)
    }

    /// The hex SHA-256 over each name followed by a line feed: equal exactly when names and order are.
    pub fn hash(&self) -> String {
        let mut sha = Sha256::new();
        for name in &self.0 {
            sha.update(name.as_bytes());
            sha.update(b"\n");
        }
        sha.finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Names as people can tell them apart, in label order: `missile (657)` where several classes bear the name.
pub fn told_apart(names: &[String]) -> Vec<String> {
    distinct(names, str::to_owned, |label| {
        format!("{} ({label})", names[label])
    })
}

/// `names`, and instead of those with a `key` that others have too what `labelled` makes of them, which ends
/// in the label in parentheses.
pub fn distinct(
    names: &[String],
    key: impl Fn(&str) -> String,
    labelled: impl Fn(usize) -> String,
) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for name in names {
        *counts.entry(key(name)).or_default() += 1;
    }
    let one = |(label, name): (usize, &String)| match counts[&key(name)] {
        1 => name.clone(),
        _ => labelled(label),
    };
    let found: Vec<String> = names.iter().enumerate().map(one).collect();
    let different: HashSet<String> = found.iter().map(|name| key(name)).collect();
    match different.len() == names.len() {
        true => found,
        // Somebody calls a class `cat (1)`. With the label behind each name all differ.
        false => (0..names.len()).map(labelled).collect(),
    }
}

/// `name` with every character that is not plain ASCII as its code point.
fn code_points(name: &str) -> String {
    let shown = |c: char| match c {
        ' '..='~' => c.to_string(),
        other => format!("[U+{:04X}]", u32::from(other)),
    };
    name.chars().map(shown).collect()
}

impl TryFrom<Vec<String>> for ClassNames {
    type Error = Error;

    fn try_from(names: Vec<String>) -> Result<Self> {
        Self::new(names)
    }
}

impl From<ClassNames> for Vec<String> {
    fn from(names: ClassNames) -> Self {
        names.0
    }
}

/// Whether labels that count from 0 seem to have been written from 1: the first class, and no other, has no image.
pub fn labels_begin_at_one(counts: &[u64]) -> bool {
    matches!(counts, [0, others @ ..] if !others.is_empty() && others.iter().all(|&n| n > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Result<ClassNames> {
        ClassNames::new(list.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn hash_is_sha256_of_lines() {
        // printf 'red star\nblue ring\n' | sha256sum
        assert_eq!(
            names(&["red star", "blue ring"]).unwrap().hash(),
            "4116ff0b67606d26a9a03879228c8eecfc009d3d1c836c34ddf9aae64aa21795"
        );
        assert_ne!(
            names(&["a", "b"]).unwrap().hash(),
            names(&["b", "a"]).unwrap().hash()
        );
    }

    #[test]
    fn refuses_what_cannot_be_labels() {
        assert!(names(&[]).unwrap_err().to_string().contains("empty"));
        assert!(
            names(&["a", " "])
                .unwrap_err()
                .to_string()
                .contains("class 1 is blank")
        );
        assert!(
            names(&["a\nb"])
                .unwrap_err()
                .to_string()
                .contains("line break")
        );
    }

    #[test]
    fn names_may_repeat_and_say_so() {
        assert_eq!(names(&["a", "b"]).unwrap().repeated(), None);
        let repeated = names(&["a", "b", "c", "b", "a"]).unwrap();
        assert_eq!(repeated.repeated(), Some("b"));
    }

    #[test]
    fn classes_of_one_name_are_told_apart() {
        let apart = |list: &[&str]| told_apart(names(list).unwrap().as_slice());
        assert_eq!(
            apart(&["crane", "cat", "crane"]),
            ["crane (0)", "cat", "crane (2)"]
        );
        assert_eq!(apart(&["a", "b"]), ["a", "b"]);
        // A name that looks like another with its label.
        assert_eq!(
            apart(&["cat", "cat", "cat (1)"]),
            ["cat (0)", "cat (1)", "cat (1) (2)"]
        );
    }

    #[test]
    fn one_name_in_two_spellings_is_refused_with_its_code_points() {
        let twins = names(&["dog", "Caf\u{e9}", "dog", "Cafe\u{301}"]).unwrap();
        assert_eq!(
            twins.require_no_twins("names.txt").unwrap_err().to_string(),
            "names.txt: class 1 (Caf[U+00E9]) and class 3 (Cafe[U+0301]) are one name in two spellings\n\
             hint: write it the same way in both places, and it is one class; or give one of them another name"
        );
        // Two classes of one name are a matter of their own, and so are compatibility forms.
        let fine = names(&["Caf\u{e9}", "Caf\u{e9}", "\u{fb01}n", "fin"]).unwrap();
        fine.require_no_twins("names.txt").unwrap();
    }

    #[test]
    fn serialises_as_a_list_and_checks_on_the_way_in() {
        let two = names(&["a", "b"]).unwrap();
        assert_eq!(serde_json::to_string(&two).unwrap(), r#"["a","b"]"#);
        assert_eq!(
            serde_json::from_str::<ClassNames>(r#"["a","b"]"#).unwrap(),
            two
        );
        assert!(serde_json::from_str::<ClassNames>(r#"["a",""]"#).is_err());
        assert_eq!((two.name(1), two.name(2)), (Some("b"), None));
    }
}
