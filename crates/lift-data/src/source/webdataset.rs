//! WebDataset tar shards: the files of a sample share their name up to its first dot.
//!
//! Headers and labels are read once; images stay where they are and are read by offset. Compressed tars
//! cannot be read so. Invariant: samples are in the order of the tars' names and of their place in them,
//! and every sample has one image and one label.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tar::Archive;

use super::container::ContainerFiles;
use super::folder::EXTENSIONS;
use super::labels::{FoundLabels, FoundList, Place, Words, resolve};
use super::{Columns, Content, Item, Source, class_names_beside};
use crate::classes::ClassNames;
use crate::error::{Error, Result};
use crate::split::Split;

/// More than any label file has.
const MAX_LABEL_BYTES: u64 = 1 << 20;

/// The splits that `dir` has tars of (`train-*.tar` or `train/*.tar`, and so on).
pub fn splits_in(dir: &Path) -> Result<Vec<Split>> {
    Ok(ContainerFiles::find(dir, "tar")?.splits())
}

/// Lists the samples of `splits` in `source`: a folder of tars, or one tar.
///
/// A label is the text of a `.cls` file, else the field `label` of a `.json` file (or the field that
/// `columns` names), else the text of a `.txt` file: a number or a class name. Class names are
/// `class_names`, or those of `classnames.txt` beside the tars, or what is found in
/// all splits of the folder.
pub fn read(
    source: &Path,
    splits: &[Split],
    class_names: Option<ClassNames>,
    columns: &Columns,
) -> Result<Source> {
    let root = match source.is_dir() {
        true => source,
        false => source.parent().unwrap_or(Path::new("")),
    };
    let class_names = class_names_beside(root, class_names)?;
    let field = columns.label.as_deref().unwrap_or("label");
    let mut lists = Vec::new();
    for (split, tars) in tars_of(source, splits)? {
        lists.push(index_split(split, &tars, root, field)?);
    }
    // Without names, which classes there are must not depend on the splits asked for.
    if class_names.is_none() && source.is_dir() {
        for split in splits_in(source)? {
            if !splits.contains(&split) {
                for (split, tars) in tars_of(source, &[split])? {
                    lists.push(index_split(split, &tars, root, field)?);
                }
            }
        }
    }
    let (class_names, mut lists) = resolve(source, lists, class_names)?;
    lists.truncate(splits.len());
    Ok(Source {
        class_names,
        splits: lists,
    })
}

fn index_split(split: Split, tars: &[PathBuf], root: &Path, field: &str) -> Result<FoundList> {
    let (mut items, mut words) = (Vec::new(), Words::default());
    for tar in tars {
        index_tar(tar, root, field, &mut items, &mut words)?;
    }
    Ok(FoundList {
        split,
        root: root.to_owned(),
        items,
        labels: FoundLabels::Words(words),
        place: Place::Items,
    })
}

fn tars_of(source: &Path, splits: &[Split]) -> Result<Vec<(Split, Vec<PathBuf>)>> {
    if source.is_file() {
        return match splits {
            [split] => Ok(vec![(*split, vec![source.to_owned()])]),
            _ => Err(wrong(
                source,
                "a single tar cannot be all splits".to_owned(),
                "say which with --split train or --split test, or cut it with --holdout",
            )),
        };
    }
    if !source.is_dir() {
        return Err(wrong(
            source,
            "no such file or folder".to_owned(),
            "name the folder that holds train-*.tar",
        ));
    }
    let found = ContainerFiles::find(source, "tar")?;
    splits
        .iter()
        .map(|&split| {
            let tars = found.of_split(source, split, splits.len(), "tar")?;
            Ok((split, tars.to_vec()))
        })
        .collect()
}

/// The files that share a name, as far as they matter.
#[derive(Default)]
struct Sample {
    key: String,
    image: Option<Image>,
    /// The label, and how much its kind of file is worth.
    label: Option<(u8, String)>,
}

struct Image {
    name: String,
    offset: u64,
    num_bytes: u64,
}

fn index_tar(
    tar: &Path,
    root: &Path,
    field: &str,
    items: &mut Vec<Item>,
    labels: &mut Words,
) -> Result<()> {
    let bad = |err: std::io::Error| {
        wrong(
            tar,
            format!("cannot read as tar: {err}"),
            "tars must be whole and not compressed (gunzip .tar.gz first)",
        )
    };
    let file = File::open(tar).map_err(Error::read(tar))?;
    let size = file.metadata().map_err(Error::read(tar))?.len();
    let mut archive = Archive::new(file);
    let mut writer = SampleWriter {
        tar,
        name: tar.strip_prefix(root).unwrap_or(tar).display().to_string(),
        file: Arc::from(tar),
        seen: HashSet::new(),
    };
    let mut sample = Sample::default();
    for entry in archive.entries_with_seek().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        let kind = entry.header().entry_type();
        if kind.is_dir() || kind.is_pax_global_extensions() {
            continue;
        }
        let path = entry.path().map_err(bad)?.into_owned();
        let Some(path) = path.to_str() else {
            let reason = format!("the name `{}` in it is not UTF-8", path.display());
            return Err(wrong(tar, reason, "write it with UTF-8 names"));
        };
        let path = path.strip_prefix("./").unwrap_or(path);
        let Some((key, extension)) = split_name(path) else {
            continue;
        };
        if key != sample.key {
            let finished = std::mem::take(&mut sample);
            writer.finish(finished, items, labels)?;
            sample.key = key.to_owned();
        }
        let is_image = EXTENSIONS.contains(&extension.as_str());
        let rank = match extension.as_str() {
            "cls" => 3,
            "json" => 2,
            "txt" => 1,
            _ if is_image => 0,
            _ => continue,
        };
        if !kind.is_file() && !kind.is_contiguous() {
            let reason = format!("`{path}` in it is a link or a special file");
            return Err(wrong(
                tar,
                reason,
                "write the files themselves into the tar",
            ));
        }
        let (offset, num_bytes) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(num_bytes).is_none_or(|end| end > size) {
            let reason = format!("it ends within `{path}`");
            return Err(wrong(tar, reason, "the tar is truncated; copy it again"));
        }
        if is_image {
            if let Some(other) = &sample.image {
                let reason = format!("sample `{key}` has two images, {} and {path}", other.name);
                return Err(wrong(tar, reason, "a sample has one image and one label"));
            }
            sample.image = Some(Image {
                name: path.to_owned(),
                offset,
                num_bytes,
            });
        } else if sample.label.as_ref().is_none_or(|(best, _)| *best < rank) {
            let reason = |reason: &str| {
                let reason = format!("`{path}` in it {reason}");
                wrong(
                    tar,
                    reason,
                    "a label is a number or a class name, in a .cls or .txt file or in the field `label` of a .json file (--label-column names another)",
                )
            };
            if num_bytes > MAX_LABEL_BYTES {
                return Err(reason("is too large for a label"));
            }
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(bad)?;
            let text = String::from_utf8(bytes).map_err(|_| reason("is not UTF-8"))?;
            let label = match extension.as_str() {
                "json" => json_label(&text, field).map_err(|err| reason(&err))?,
                _ => Some(text.trim().to_owned()),
            };
            if let Some(label) = label {
                sample.label = Some((rank, label));
            }
        }
    }
    writer.finish(sample, items, labels)
}

/// Turns the samples of one tar into items.
struct SampleWriter<'a> {
    tar: &'a Path,
    name: String,
    file: Arc<Path>,
    seen: HashSet<String>,
}

impl SampleWriter<'_> {
    fn finish(&mut self, sample: Sample, items: &mut Vec<Item>, labels: &mut Words) -> Result<()> {
        let Sample { key, image, label } = sample;
        if key.is_empty() {
            return Ok(());
        }
        let fail = |reason: String, hint: &str| Err(wrong(self.tar, reason, hint));
        let Some(image) = image else {
            let hint = "every sample has one image, such as KEY.jpg, beside KEY.cls";
            return fail(format!("sample `{key}` has no image"), hint);
        };
        let label = match label {
            Some((_, label)) if !label.is_empty() => label,
            _ => {
                let hint = "the label is a .cls or .txt file or the field `label` of a .json file (--label-column names another)";
                return fail(format!("sample `{key}` has no label"), hint);
            }
        };
        if self.seen.contains(&key) {
            let hint = "the files of a sample must follow each other; write the tar sorted by name";
            return fail(format!("sample `{key}` is there twice"), hint);
        }
        items.push(Item {
            path: format!("{}#{}", self.name, image.name),
            label: 0,
            content: Content::Slice {
                file: Arc::clone(&self.file),
                offset: image.offset,
                num_bytes: image.num_bytes,
            },
        });
        labels.push(&label);
        self.seen.insert(key);
        Ok(())
    }
}

/// `a/b.seg.PNG` as `a/b` and `seg.png`; `None` for hidden files and names without a dot.
fn split_name(path: &str) -> Option<(&str, String)> {
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + path[start..].find('.')?;
    (dot > start).then(|| (&path[..dot], path[dot + 1..].to_ascii_lowercase()))
}

/// The label in a JSON text: the text itself when it is a number or a string, or its field. `None`
/// where there is no such field, since such files often hold other things.
fn json_label(text: &str, field: &str) -> std::result::Result<Option<String>, String> {
    let json: Value = serde_json::from_str(text).map_err(|err| format!("is not JSON: {err}"))?;
    let value = match &json {
        Value::Object(fields) => match fields.get(field) {
            Some(value) => value,
            None => return Ok(None),
        },
        other => other,
    };
    match value {
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::String(text) => Ok(Some(text.trim().to_owned())),
        _ => Err(format!("has a `{field}` that is neither number nor text")),
    }
}

fn wrong(path: &Path, reason: String, hint: &str) -> Error {
    Error::Source {
        path: path.to_owned(),
        reason,
        hint: hint.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_named_up_to_the_first_dot() {
        let name = |path| split_name(path).map(|(key, extension)| (key.to_owned(), extension));
        let pair = |key: &str, extension: &str| Some((key.to_owned(), extension.to_owned()));
        assert_eq!(name("a.b/c.seg.PNG"), pair("a.b/c", "seg.png"));
        assert_eq!(name("0.jpg"), pair("0", "jpg"));
        assert_eq!(name("x/.hidden"), None);
        assert_eq!(name("readme"), None);
    }

    #[test]
    fn a_label_in_json_is_a_field_or_the_whole() {
        let label = |text, field| json_label(text, field).unwrap();
        assert_eq!(label(r#"{"label": 3}"#, "label").as_deref(), Some("3"));
        assert_eq!(label(r#"{"c": " cat "}"#, "c").as_deref(), Some("cat"));
        assert_eq!(label("7", "label").as_deref(), Some("7"));
        assert_eq!(label(r#"{"width": 3}"#, "label"), None);
        assert!(json_label("{", "label").is_err());
        assert!(json_label(r#"{"label": []}"#, "label").is_err());
    }
}
