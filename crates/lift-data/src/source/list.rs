//! List files: one `relative/path.jpg label` a line, as the papers' repositories have them.
//!
//! It opens no image. Invariant: the label is what follows the line's last blank, so paths may hold
//! blanks, and every error names the file and the line.

use std::path::{Path, PathBuf};

use lift_files::Purpose;

use super::image_file::Reach;
use super::list_files::{ListFiles, ListKind};
use super::listed::{OF_A_LIST, Root};
use super::{Item, Source, SplitList, class_names_beside};
use crate::error::{Error, Result};
use lift_shards::classes::ClassNames;
use lift_shards::split::Split;
use polars::prelude::DataFrame;

/// More classes than any list has; a larger number is a typing error, not a label.
pub(super) const MAX_CLASSES: i64 = 1 << 20;

const KIND: ListKind = ListKind {
    word: "list file",
    extensions: &["txt"],
    alone: "say which with --split train or --split test, cut it with --holdout, or name a folder with train.txt and test.txt",
    missing: "name a list file, or a folder with train.txt and test.txt",
    none: "a folder of lists holds train.txt and test.txt (or val.txt); for one of them use --split",
};

/// Reads the lists of `splits`.
///
/// `source` is a list file (then there is one split), or a folder with `train.txt` and `test.txt`
/// (or `val.txt`). Paths start at `root`, by default the lists' folder. Without `class_names` they
/// are those of `classnames.txt` in the lists' folder; without that a class is named by its number,
/// and the largest label found in any of the lists is the last class.
pub fn read(
    source: &Path,
    splits: &[Split],
    root: Option<&Path>,
    class_names: Option<ClassNames>,
    reach: Reach,
) -> Result<Source> {
    let parent = if source.is_dir() {
        source
    } else {
        source.parent().unwrap_or(Path::new(""))
    };
    let start = Root::new(root.unwrap_or(parent), reach, OF_A_LIST)?;
    let class_names = class_names_beside(parent, class_names)?;
    let files = ListFiles::find(source, KIND.extensions)?;
    let mut lists = Vec::new();
    for &split in splits {
        let file = files.of_split(source, split, splits.len(), &KIND)?;
        lists.push((split, read_list(&file, class_names.as_ref(), &start)?));
    }
    let class_names = match class_names {
        Some(names) => names,
        None => {
            let has_train = lists.iter().any(|(split, _)| *split == Split::Train);
            let also = match files.one(source, Split::Train)? {
                Some(train) if !has_train => read_list(train, None, &start)?,
                _ => Vec::new(),
            };
            let all = lists.iter().flat_map(|(_, items)| items).chain(&also);
            let classes = all.map(|item| item.label + 1).max().unwrap_or(0);
            let names = (0..classes).map(|label| label.to_string()).collect();
            ClassNames::with_origin(names, &source.display().to_string())?
        }
    };
    let bounds = start.bounds()?;
    let splits = lists
        .into_iter()
        .map(|(split, items)| SplitList {
            split,
            root: root.unwrap_or(parent).to_owned(),
            bounds: bounds.clone(),
            items,
            columns: DataFrame::default(),
            imbalance_ratio: None,
        })
        .collect();
    Ok(Source {
        class_names,
        splits,
        left_out: files.left_out(),
        column_names: Vec::new(),
    })
}

/// The splits that `dir` has lists of.
pub fn splits_in(dir: &Path) -> Result<Vec<Split>> {
    Ok(ListFiles::find(dir, KIND.extensions)?.splits())
}

fn read_list(file: &Path, class_names: Option<&ClassNames>, root: &Root<'_>) -> Result<Vec<Item>> {
    let text = lift_files::text(file, Purpose::List).map_err(Error::read(file))?;
    parse(file, &text, class_names.map(ClassNames::len), root)
}

/// Parses a list's `text`; labels are below `num_classes`, paths start at `root`. `file` is named in errors.
pub(super) fn parse(
    file: &Path,
    text: &str,
    num_classes: Option<usize>,
    root: &Root<'_>,
) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let (path, label) = parse_line(line).map_err(|reason| Error::ListLine {
            path: file.to_owned(),
            line: number + 1,
            reason,
        })?;
        check_label(label, num_classes, file, number + 1)?;
        let place = || PathBuf::from(format!("{}:{}", file.display(), number + 1));
        items.push(Item {
            label: label as u32,
            ..root.item(path, place)?
        });
    }
    if items.is_empty() {
        return Err(Error::Source {
            path: file.to_owned(),
            reason: "the list is empty".to_owned(),
            hint: "every line is `relative/path.jpg label`".to_owned(),
        });
    }
    Ok(items)
}

fn check_label(label: i64, classes: Option<usize>, file: &Path, line: usize) -> Result<()> {
    match classes {
        Some(num_classes) if !(0..num_classes as i64).contains(&label) => Err(Error::Label {
            location: format!("{}:{line}", file.display()),
            label,
            num_classes,
        }),
        None if !(0..MAX_CLASSES).contains(&label) => Err(Error::ListLine {
            path: file.to_owned(),
            line,
            reason: format!("label {label} is out of range"),
        }),
        _ => Ok(()),
    }
}

fn parse_line(line: &str) -> std::result::Result<(&str, i64), String> {
    let (path, label) = line
        .rsplit_once([' ', '\t'])
        .ok_or_else(|| format!("no label in `{line}`"))?;
    let label = label
        .parse()
        .map_err(|_| format!("`{label}` is not a label"))?;
    Ok((path.trim_end(), label))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(
        source: &Path,
        splits: &[Split],
        root: Option<&Path>,
        names: Option<ClassNames>,
    ) -> Result<Source> {
        super::read(source, splits, root, names, Reach::Below)
    }

    fn list(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("train.txt");
        fs::write(&file, text).unwrap();
        (dir, file)
    }

    #[test]
    fn the_label_follows_the_last_blank() {
        let (_dir, file) = list("a b/c 1.jpg 1\r\nx.jpg\t0\n\n");
        let source = read(&file, &[Split::Train], None, None).unwrap();
        let items: Vec<_> = source.splits[0]
            .items
            .iter()
            .map(|item| (item.path.as_str(), item.label))
            .collect();
        assert_eq!(items, [("a b/c 1.jpg", 1), ("x.jpg", 0)]);
        assert_eq!(source.class_names.as_slice(), ["0", "1"]);
    }

    #[test]
    fn errors_name_file_and_line() {
        let names = || ClassNames::new(vec!["a".to_owned(), "b".to_owned()]).ok();
        for (text, message) in [
            ("a.jpg 0\nb.jpg\n", "train.txt:2: no label in `b.jpg`"),
            ("a.jpg x\n", "train.txt:1: `x` is not a label"),
            (
                "a.jpg 0\nb.jpg 2\n",
                "train.txt:2: label 2 is out of range: there are 2 classes",
            ),
            ("a.jpg -1\n", "train.txt:1: label -1 is out of range"),
            ("\n", "train.txt: the list is empty"),
        ] {
            let (_dir, file) = list(text);
            let err = read(&file, &[Split::Train], None, names())
                .unwrap_err()
                .to_string();
            assert!(err.contains(message), "{err}");
        }
    }

    #[test]
    fn a_list_is_utf_8_text() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("train.txt");
        fs::write(&file, b"a.jpg 0\nb\xff.jpg 0\n").unwrap();
        let err = read(&file, &[Split::Train], None, None).unwrap_err();
        let reason = "train.txt: cannot read: line 2 is not UTF-8 text\nhint: save it as UTF-8";
        assert!(err.to_string().ends_with(reason), "{err}");
    }

    #[test]
    fn labels_are_bounded_without_class_names() {
        for label in ["-1", "4000000000", "99999999999999999999"] {
            let (_dir, file) = list(&format!("a.jpg {label}\n"));
            let err = read(&file, &[Split::Train], None, None).unwrap_err();
            assert!(matches!(err, Error::ListLine { line: 1, .. }), "{err}");
        }
    }

    #[test]
    fn a_test_list_shares_the_training_lists_classes() {
        let (dir, _) = list("a.jpg 0\nb.jpg 4\n");
        fs::write(dir.path().join("val.txt"), "c.jpg 1\n").unwrap();
        let source = read(dir.path(), &[Split::Test], None, None).unwrap();
        assert_eq!(source.class_names.len(), 5);
        assert_eq!(source.splits[0].items.len(), 1);
    }
}
