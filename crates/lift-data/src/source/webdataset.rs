//! WebDataset tar shards: the files of a sample share their name up to its first dot.
//!
//! Headers and labels are read once; images stay where they are and are read by offset. Compressed tars
//! cannot be read so. Invariant: samples are in the order of the tars' names and of their place in them,
//! and every sample has one image and one label. Samples without an image and a class are counted as passed over.

mod metered;
mod sample;

use lift_image::decode::is_named_image;
use std::cell::Cell;
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use tar::Archive;

use metered::{MAX_BYTES, Metered};
use sample::{Image, ImageName, Index, Json, LabelFile, SampleWriter, TarSample};

use super::container::ContainerFiles;
use super::image_file::{HEAD_BYTES, is_image};
use super::labels::{FoundLabels, FoundList, resolve};
use super::left_out::LeftOut;
use super::other_forms::refuse_compressed_tars;
use super::{Bounds, Columns, Source, absent, class_names_beside};
use crate::error::{Error, Result};
use crate::table::Place;
use lift_page::escape::visible;
use lift_shards::classes::ClassNames;
use lift_shards::split::Split;
use polars::prelude::DataFrame;

/// More than any label file has.
const MAX_LABEL_BYTES: u64 = 1 << 20;

/// The splits that `dir` has tars of (`train-*.tar` or `train/*.tar`, and so on).
pub fn splits_in(dir: &Path, subset: Option<&str>) -> Result<Vec<Split>> {
    Ok(ContainerFiles::find(dir, "tar", subset)?.splits())
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
    subset: Option<&str>,
) -> Result<Source> {
    let root = if source.is_dir() {
        source
    } else {
        source.parent().unwrap_or(Path::new(""))
    };
    let class_names = class_names_beside(root, class_names)?;
    let field = columns.label.as_deref().unwrap_or("label");
    let found = find(source, splits, subset)?;
    let mut left_out = found.left_out.clone();
    let index = |split: Split, wanted: usize, left_out: &mut LeftOut| {
        let tars = if source.is_file() {
            vec![source.to_owned()]
        } else {
            found.of_split(source, split, wanted, "tar")?
        };
        index_split(split, &tars, root, field, left_out)
    };
    let mut lists = Vec::new();
    for &split in splits {
        lists.push(index(split, splits.len(), &mut left_out)?);
    }
    // Without names, which classes there are must not depend on the splits asked for.
    if class_names.is_none() {
        for split in found.splits() {
            if !splits.contains(&split) {
                lists.push(index(split, 1, &mut LeftOut::default())?);
            }
        }
    }
    let (class_names, mut lists) = resolve(source, lists, class_names)?;
    lists.truncate(splits.len());
    Ok(Source {
        class_names,
        splits: lists,
        left_out,
        column_names: Vec::new(),
    })
}

fn index_split(
    split: Split,
    tars: &[PathBuf],
    root: &Path,
    field: &str,
    left_out: &mut LeftOut,
) -> Result<FoundList> {
    let mut index = Index::default();
    for tar in tars {
        index_tar(tar, root, field, &mut index, left_out)?;
    }
    index.check_texts(tars.first().map_or(root, PathBuf::as_path))?;
    Ok(FoundList {
        split,
        root: root.to_owned(),
        bounds: Bounds::default(),
        items: index.items,
        labels: FoundLabels::Words(index.labels),
        columns: DataFrame::default(),
        place: Place::Items,
    })
}

/// The tars of a folder; none where `source` is a file, which then is the only split.
fn find(source: &Path, splits: &[Split], subset: Option<&str>) -> Result<ContainerFiles> {
    if source.is_file() {
        return match splits {
            [_] => Ok(ContainerFiles::default()),
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
            absent(source).to_owned(),
            "name the folder that holds train-*.tar",
        ));
    }
    let found = ContainerFiles::find(source, "tar", subset)?;
    if found.is_empty() {
        refuse_compressed_tars(source)?;
    }
    Ok(found)
}

fn index_tar(
    tar: &Path,
    root: &Path,
    field: &str,
    index: &mut Index,
    left_out: &mut LeftOut,
) -> Result<()> {
    let bad = |err: std::io::Error| {
        wrong(
            tar,
            format!("cannot read as tar: {err}"),
            "tars must be whole",
        )
    };
    let file = lift_files::open(tar).map_err(Error::read(tar))?;
    let size = file.metadata().map_err(Error::read(tar))?.len();
    let left = Rc::new(Cell::new(MAX_BYTES));
    let mut archive = Archive::new(Metered {
        file,
        left: Rc::clone(&left),
    });
    let mut writer = SampleWriter {
        tar,
        name: tar.strip_prefix(root).unwrap_or(tar).display().to_string(),
        file: Arc::from(tar),
        seen: HashSet::new(),
        index,
        left_out,
    };
    let mut sample = TarSample::default();
    for entry in archive.entries_with_seek().map_err(bad)? {
        let mut entry = entry.map_err(bad)?;
        left.set(MAX_BYTES);
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
        if path.split('/').any(|part| writer.left_out.is_system(part)) {
            continue;
        }
        let Some((key, extension)) = split_name(path) else {
            writer.left_out.pass_over(path);
            continue;
        };
        if key != sample.key {
            let finished = std::mem::take(&mut sample);
            writer.finish(finished)?;
            sample.key = key.to_owned();
        }
        sample.names.push(path.to_owned());
        let label_file = match extension.as_str() {
            "cls" => Some(LabelFile::Class),
            "json" => Some(LabelFile::Json),
            "txt" => Some(LabelFile::Text),
            _ => None,
        };
        let last = extension.rsplit('.').next();
        let is_named = is_named_image(last);
        let is_file = kind.is_file() || kind.is_contiguous();
        if !is_file && (label_file.is_some() || is_named) {
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
        let Some(label_file) = label_file else {
            let is_image = is_named
                || is_file && {
                    let mut head = Vec::new();
                    (&mut entry)
                        .take(HEAD_BYTES)
                        .read_to_end(&mut head)
                        .map_err(bad)?;
                    is_image(&head, last)
                };
            if is_image {
                let named = match (last == Some(&*extension), is_named) {
                    (false, _) => ImageName::InParts,
                    (true, false) => ImageName::Other,
                    (true, true) => ImageName::Plain,
                };
                let name = path.to_owned();
                let image = Image {
                    name,
                    offset,
                    num_bytes,
                };
                sample.images.push((named, image));
            }
            continue;
        };
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
        let text =
            lift_files::decode(bytes).map_err(|err| reason(&format!("cannot be read: {err}")))?;
        let label = match label_file {
            LabelFile::Class => Some(text.trim().to_owned()),
            LabelFile::Json => {
                let json = Json::parse(&text, field).map_err(|err| reason(&err))?;
                sample.caption = json.caption;
                json.label
            }
            LabelFile::Text => {
                sample.text = Some(text.trim().to_owned());
                None
            }
        };
        let better = sample.label.as_ref().is_none_or(|(of, _)| *of < label_file);
        if let Some(label) = label.filter(|_| better) {
            sample.label = Some((label_file, label));
        }
    }
    writer.finish(sample)
}

/// `a/b.seg.PNG` as `a/b` and `seg.png`; `None` for hidden files and names without a dot.
fn split_name(path: &str) -> Option<(&str, String)> {
    let start = path.rfind('/').map_or(0, |slash| slash + 1);
    let dot = start + path[start..].find('.')?;
    (dot > start).then(|| (&path[..dot], path[dot + 1..].to_ascii_lowercase()))
}

fn wrong(path: &Path, reason: String, hint: &str) -> Error {
    Error::Source {
        path: path.to_owned(),
        // The names in a tar may be any.
        reason: visible(&reason),
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
}
