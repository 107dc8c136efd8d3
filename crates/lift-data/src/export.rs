//! Rows back to image files and a table: what a shard holds, for eyes and for other tools.
//!
//! Stored files come out byte for byte, stored pixels as PNG. Invariant: nothing is written outside the
//! output folder, whatever a class is called ([`folders`]), every class has a folder of its own, every row's
//! checksum was found right before it is written, and what is under its final name is whole ([`unfinished`]).

mod folders;
mod unfinished;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use arrow::util::display::array_value_to_string;
use image::ImageFormat;
use serde::Serialize;
use twox_hash::XxHash3_64;

use crate::error::{Error, Result};
use folders::folder_names;
use lift_image::encode;
use lift_image::resize::RgbView;
use lift_page::progress::Reporting;
use lift_shards::manifest::{Encoding, MANIFEST_FILE};
use lift_shards::shard::{ShardReader, free_name};
use unfinished::Unfinished;

/// What an export writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ExportFormat {
    /// Image files in class folders, and the table.
    Images,
    /// The table alone.
    Csv,
}

/// What an export of one split wrote; `--json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct ExportReport {
    /// The table, a line a row.
    pub table: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// The folder of image files, where they were written.
    pub images: Option<PathBuf>,
    /// The classes whose images lie in a folder that is not called as they are.
    pub folders: Vec<ClassFolder>,
}

/// The folder of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClassFolder {
    /// Its label.
    pub label: u32,
    /// Its name.
    pub class: String,
    /// Its folder's name.
    pub folder: String,
}

/// What is exported, by which an unfinished export is known again.
#[derive(Serialize)]
struct ExportPlan<'a> {
    format: &'a str,
    /// XXH3-64 of the manifest, which has the hashes of all shards.
    manifest: String,
    rows: [usize; 2],
    images: bool,
}

/// An export of one split that is written, and not yet under its final name.
pub struct Written {
    unfinished: Unfinished,
    table: File,
    report: ExportReport,
}

impl Written {
    /// Gives the files their final names.
    ///
    /// # Errors
    /// When they cannot be made durable or renamed.
    pub fn finish(self) -> Result<ExportReport> {
        self.unfinished.finish(self.table)?;
        Ok(self.report)
    }
}

/// The heading of the table, before the columns that were kept.
const HEADING: [&str; 9] = [
    "id",
    "path",
    "label",
    "class",
    "width",
    "height",
    "num_bytes",
    "checksum",
    "file",
];

/// A line of the table.
#[derive(Debug, Serialize)]
struct Line<'a> {
    id: u64,
    path: &'a str,
    label: u32,
    class: &'a str,
    width: u32,
    height: u32,
    num_bytes: u32,
    /// XXH3-64 in hex, as in the shard.
    checksum: String,
    /// Relative to the table's folder; empty where no image was written.
    file: String,
}

/// Writes `OUT/<split>.csv`, and `OUT/<split>/<class>/<id>.<extension>` for [`ExportFormat::Images`], for
/// the rows of `range` of the shards in `dir`, once [`Written::finish`] is called: for all splits at the end,
/// so that one that fails leaves none finished, and the same export can be asked for again. What is
/// unfinished is gone on with; what is there already is an error.
pub fn export(
    dir: &Path,
    reader: &ShardReader,
    range: std::ops::Range<usize>,
    out: &Path,
    format: ExportFormat,
    reporting: Reporting,
) -> Result<Written> {
    let manifest = reader.manifest();
    let split = manifest.split.as_str();
    let table = out.join(format!("{split}.csv"));
    let images = (format == ExportFormat::Images).then(|| out.join(split));
    let path = dir.join(MANIFEST_FILE);
    let hash = XxHash3_64::oneshot(&fs::read(&path).map_err(Error::read(&path))?);
    let plan = ExportPlan {
        format: "lift-export/1",
        manifest: format!("{hash:016x}"),
        rows: [range.start, range.end],
        images: images.is_some(),
    };
    let plan = serde_json::to_string(&plan).expect("a plan is plain data") + "\n";
    let unfinished = Unfinished::open(out, split, &plan, (images.clone(), table.clone()))?;
    let folders = folder_names(manifest.class_names.as_slice());
    let path = unfinished.table_in_progress();
    let unwritten = |err| lift_shards::Error::write_csv(&path, err);
    let mut csv = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(unfinished.table()?);
    let kept = reader.kept_columns()?;
    let mut heading: Vec<String> = HEADING.map(str::to_owned).to_vec();
    for column in &manifest.columns {
        let name = free_name(&column.name, |name| {
            heading.iter().any(|known| known == name)
        });
        heading.push(name);
    }
    csv.write_record(&heading).map_err(unwritten)?;
    let progress = reporting.start("export", range.len() as u64);
    let rows = range.len() as u64;
    let mut other_folders = BTreeMap::new();
    for index in range {
        let row = reader.row(index);
        let class = manifest.class_names.name(row.label).unwrap_or_default();
        let file = match format {
            ExportFormat::Csv => String::new(),
            ExportFormat::Images => {
                let bytes = reader.bytes(index)?;
                let (stored, extension) = match manifest.encoding {
                    Encoding::Rgb8 => {
                        let image = RgbView {
                            width: row.width,
                            height: row.height,
                            pixels: bytes,
                        };
                        (Cow::Owned(encode::png(image)?), "png")
                    }
                    _ => (Cow::Borrowed(bytes), extension_of(bytes)),
                };
                let folder = &folders[row.label as usize];
                if folder != class {
                    other_folders.insert(row.label, folder);
                }
                let file = format!("{:08}.{extension}", row.id);
                unfinished.image(folder, &file, &stored)?;
                format!("{split}/{folder}/{file}")
            }
        };
        let line = Line {
            id: row.id,
            path: reader.path(index),
            label: row.label,
            class,
            width: row.width,
            height: row.height,
            num_bytes: row.num_bytes,
            checksum: format!("{:016x}", row.checksum),
            file,
        };
        let values = kept.columns().iter().map(|column| {
            array_value_to_string(column, index).expect("every kept column can be text")
        });
        csv.serialize((line, values.collect::<Vec<_>>()))
            .map_err(unwritten)?;
        progress.advance(1);
    }
    progress.finish();
    let file = csv
        .into_inner()
        .map_err(|err| Error::write(&path)(err.into_error()))?;
    let folder = |(label, folder): (u32, &String)| ClassFolder {
        label,
        class: manifest
            .class_names
            .name(label)
            .unwrap_or_default()
            .to_owned(),
        folder: folder.clone(),
    };
    let report = ExportReport {
        table,
        rows,
        images,
        folders: other_folders.into_iter().map(folder).collect(),
    };
    Ok(Written {
        unfinished,
        table: file,
        report,
    })
}

fn extension_of(bytes: &[u8]) -> &'static str {
    match image::guess_format(bytes) {
        Ok(ImageFormat::Jpeg) => "jpg",
        Ok(ImageFormat::Png) => "png",
        Ok(ImageFormat::WebP) => "webp",
        Ok(ImageFormat::Gif) => "gif",
        Ok(ImageFormat::Bmp) => "bmp",
        Ok(ImageFormat::Tiff) => "tiff",
        _ => "bin",
    }
}
