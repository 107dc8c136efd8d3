//! Hugging Face image datasets: Parquet with images as `struct<bytes, path>` (or binary) and a
//! `ClassLabel` column.
//!
//! Listing reads labels only; images are read later through a [`RowStore`], in bounded memory.
//! Invariant: rows are in the order of the files' names and of the rows in them.

mod by_path;
mod rows;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use serde::Deserialize;
use serde_json::Value;

pub use rows::RowStore;

use super::container::ContainerFiles;
use super::image_file::Reach;
use super::labels::{FoundLabels, FoundList, resolve};
use super::listed::Root;
use super::{Columns, Content, Item, Source, absent};
use crate::error::{Error, Result};
use crate::table::columns::Columns as ArrowColumns;
use crate::table::{Place, WantedColumns, no_column, parquet};
use lift_shards::classes::ClassNames;
use lift_shards::split::Split;

/// The splits that `dir` has Parquet files of (`train-*.parquet` and so on, also below `data/`).
pub fn splits_in(dir: &Path, subset: Option<&str>) -> Result<Vec<Split>> {
    Ok(ContainerFiles::find(dir, "parquet", subset)?.splits())
}

/// Lists `splits` of the dataset in `source`: a folder of Parquet files, or one file.
///
/// Columns that `columns` does not name are those that the `huggingface` metadata of the file declares
/// as `Image` and `ClassLabel`, or else `image` and `label`. Class names are `class_names`, or those of
/// the metadata, or those found in a label column of text. Images of which only the path is stored may lie within `reach`.
pub fn read(
    source: &Path,
    splits: &[Split],
    class_names: Option<ClassNames>,
    columns: &Columns,
    subset: Option<&str>,
    reach: Reach,
) -> Result<Source> {
    let mut names = class_names.map_or(Names::Unknown, Names::Given);
    let found = find(source, splits, subset)?;
    let (mut lists, mut column_names) = (Vec::new(), Vec::new());
    let mut list = |split: Split, wanted: usize, names: &mut Names| -> Result<()> {
        let files = if source.is_file() {
            vec![source.to_owned()]
        } else {
            found.of_split(source, split, wanted, "parquet")?
        };
        let (list, names) = list_split(source, split, files, columns, names, reach)?;
        column_names = names;
        lists.push(list);
        Ok(())
    };
    for &split in splits {
        list(split, splits.len(), &mut names)?;
    }
    // Without declared names, which classes there are must not depend on the splits asked for.
    if matches!(names, Names::Unknown) {
        for split in found.splits() {
            if !splits.contains(&split) {
                list(split, 1, &mut names)?;
            }
        }
    }
    let names = match names {
        Names::Given(names) | Names::Declared(names) => Some(names),
        Names::Unknown => None,
    };
    let (class_names, mut lists) = resolve(source, lists, names)?;
    lists.truncate(splits.len());
    let mut left_out = found.left_out;
    let mut items = lists.iter().flat_map(|list| &list.items);
    if items.any(|item| matches!(item.content, Content::File)) {
        left_out.without_images();
    }
    Ok(Source {
        class_names,
        splits: lists,
        left_out,
        column_names,
    })
}

/// What is known of the class names.
enum Names {
    Unknown,
    /// By the user.
    Given(ClassNames),
    /// By the metadata of a file.
    Declared(ClassNames),
}

impl Names {
    /// Takes the names that a file declares. They must be those of the other files; names that the user
    /// gave may be others, but not more or fewer.
    fn add(&mut self, file: &Path, names: ClassNames) -> Result<()> {
        let wrong = |reason: String, hint: &str| {
            Err(Error::Source {
                path: file.to_owned(),
                reason,
                hint: hint.to_owned(),
            })
        };
        match self {
            Names::Unknown => *self = Names::Declared(names),
            Names::Declared(known) if *known != names => {
                return wrong(
                    "its metadata has other class names than the files before".to_owned(),
                    "all files must be of one dataset",
                );
            }
            Names::Given(known) if known.len() != names.len() => {
                return wrong(
                    format!(
                        "its metadata has {} class names, --classnames has {}",
                        names.len(),
                        known.len()
                    ),
                    "give one name a class, in the order of the metadata",
                );
            }
            Names::Declared(_) | Names::Given(_) => {}
        }
        Ok(())
    }
}

fn list_split(
    source: &Path,
    split: Split,
    files: Vec<PathBuf>,
    columns: &Columns,
    names: &mut Names,
    reach: Reach,
) -> Result<(FoundList, Vec<String>)> {
    let layout = Layout::of(&files[0], columns)?;
    for file in &files {
        if let Some(declared) = Layout::of(file, columns)?.names(file)? {
            names.add(file, declared)?;
        }
    }
    list_rows(source, split, files, &layout, columns, reach)
}

/// Whether `file` is a Parquet file with an image column, rather than a table of paths.
pub fn holds_images(file: &Path, columns: &Columns) -> bool {
    let is_parquet = file
        .extension()
        .is_some_and(|extension| extension == "parquet");
    is_parquet
        && Layout::of(file, columns).is_ok_and(|layout| {
            parquet::open(file)
                .is_ok_and(|builder| rows::image_leaf(&builder, &layout.image).is_ok())
        })
}

/// The files of a folder; none where `source` is a file, which then is the only split.
fn find(source: &Path, splits: &[Split], subset: Option<&str>) -> Result<ContainerFiles> {
    let wrong = |reason: &str, hint: &str| {
        Err(Error::Source {
            path: source.to_owned(),
            reason: reason.to_owned(),
            hint: hint.to_owned(),
        })
    };
    if source.is_file() {
        return match splits {
            [_] => Ok(ContainerFiles::default()),
            _ => wrong(
                "a single file cannot be all splits",
                "say which with --split train or --split test, or cut it with --holdout",
            ),
        };
    }
    if !source.is_dir() {
        return wrong(absent(source), "name the folder that holds train-*.parquet");
    }
    ContainerFiles::find(source, "parquet", subset)
}

fn list_rows(
    source: &Path,
    split: Split,
    files: Vec<PathBuf>,
    layout: &Layout,
    columns: &Columns,
    reach: Reach,
) -> Result<(FoundList, Vec<String>)> {
    let root = if source.is_dir() {
        source.to_owned()
    } else {
        source.parent().unwrap_or(Path::new("")).to_owned()
    };
    let mean_bytes = mean_image_bytes(&files, &layout.image)?;
    let store = RowStore::new(files.clone(), layout.image.clone(), mean_bytes);
    let store = Arc::new(store);
    let wanted = WantedColumns {
        column: &|name| name == layout.label || (columns.others.want(name) && name != layout.image),
        as_written: &[],
    };
    let first = parquet::open(&files[0])?;
    let mut table = ArrowColumns::new(&files[0], first.schema(), wanted)?;
    let mut items = Vec::new();
    let places = Root::new(&root, reach, by_path::START)?;
    for (index, file) in (0_u32..).zip(&files) {
        let below = file.strip_prefix(&root).unwrap_or(file);
        let name = below.display();
        let by_path = by_path::paths(file, &layout.image)?;
        let mut by_path = by_path.into_iter().peekable();
        let mut row = 0;
        let builder = parquet::open(file)?;
        table.next_file(file, builder.schema())?;
        for batch in parquet::batches(file, builder, &table.taken())? {
            let batch = batch?;
            table.append(&batch)?;
            for _ in 0..batch.num_rows() {
                items.push(match by_path.next_if(|(at, _)| *at == row) {
                    Some((_, path)) => by_path::item(&places, (file, below), row, &path)?,
                    None => Item {
                        path: format!("{name}#{row}"),
                        label: 0,
                        content: Content::Row {
                            store: Arc::clone(&store),
                            file: index,
                            row,
                        },
                    },
                });
                row += 1;
            }
        }
    }
    let bounds = places.bounds()?;
    let table = table.finish();
    let label = table.column(&layout.label, "--label-column")?;
    let labels = FoundLabels::of(label, |row| root.join(&items[row].path))?;
    let list = FoundList {
        split,
        columns: super::table::others(&table.frame, columns, &[&layout.label]),
        root,
        bounds,
        items,
        labels,
        place: Place::Items,
    };
    Ok((list, table.names))
}

/// Bytes of an image on average, as the footers say; and now, not after hours, that a file lacks the column.
fn mean_image_bytes(files: &[PathBuf], column: &str) -> Result<u64> {
    let (mut rows, mut bytes) = (0, 0);
    for file in files {
        let builder = parquet::open(file)?;
        let leaf = rows::image_leaf(&builder, column).map_err(|reason| Error::Source {
            path: file.clone(),
            reason,
            hint:
                "images are a binary column, or a struct with `bytes`; name it with --image-column"
                    .to_owned(),
        })?;
        for group in builder.metadata().row_groups() {
            rows += group.num_rows() as u64;
            bytes += group.column(leaf).uncompressed_size().max(0) as u64;
        }
    }
    Ok(bytes / rows.max(1))
}

/// Which columns of a file hold images and labels.
#[derive(Debug)]
struct Layout {
    image: String,
    label: String,
    names: Option<Vec<String>>,
}

impl Layout {
    fn of(file: &Path, columns: &Columns) -> Result<Self> {
        let builder = parquet::open(file)?;
        let schema = builder.schema();
        let features = Features::of(schema);
        let there: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let choose = |given: &Option<String>, kind: &str, usual: &str, flag: &str| {
            if let Some(name) = given {
                return if there.contains(name) {
                    Ok(name.clone())
                } else {
                    Err(no_column(file, name, flag, &there))
                };
            }
            // In the order of the columns, so that messages do not depend on a map's order.
            let declared: Vec<&String> = there
                .iter()
                .filter(|name| features.kind(name) == Some(kind))
                .collect();
            match declared.as_slice() {
                [one] => Ok((*one).clone()),
                [] if there.iter().any(|name| name == usual) => Ok(usual.to_owned()),
                [] => Err(no_column(file, usual, flag, &there)),
                several => Err(Error::Source {
                    path: file.to_owned(),
                    reason: format!("there are {} {kind} columns", several.len()),
                    hint: format!(
                        "choose one with {flag}: {}",
                        several
                            .iter()
                            .map(|name| name.as_str())
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                }),
            }
        };
        let image = choose(&columns.image, "Image", "image", "--image-column")?;
        let label = choose(&columns.label, "ClassLabel", "label", "--label-column")?;
        let names = features.names(&label);
        Ok(Self {
            image,
            label,
            names,
        })
    }

    fn names(self, file: &Path) -> Result<Option<ClassNames>> {
        let origin = file.display().to_string();
        let names = self
            .names
            .map(|names| ClassNames::with_origin(names, &origin));
        Ok(names.transpose()?)
    }
}

/// What `datasets` wrote about the columns: the value of `huggingface` in the schema's metadata.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Features {
    info: Info,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Info {
    features: serde_json::Map<String, Value>,
}

impl Features {
    /// None of them where the metadata is not there or not as known.
    fn of(schema: &Schema) -> Self {
        let text = schema.metadata().get("huggingface");
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    fn kind(&self, column: &str) -> Option<&str> {
        self.info.features.get(column)?.get("_type")?.as_str()
    }

    fn names(&self, column: &str) -> Option<Vec<String>> {
        let names = self.info.features.get(column)?.get("names")?.as_array()?;
        names
            .iter()
            .map(|name| name.as_str().map(str::to_owned))
            .collect()
    }
}

/// Whether a column of this type can hold an image's bytes.
fn is_binary(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}
