//! Rows back to image files and a table: what a shard holds, for eyes and for other tools.
//!
//! Stored files come out byte for byte, stored pixels as PNG. Invariant: nothing is written outside the
//! output folder, whatever a class is called, and every row's checksum was found right before it is
//! written.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use image::ImageFormat;
use serde::Serialize;

use crate::atomic;
use crate::encode;
use crate::error::{Error, Result};
use crate::manifest::Encoding;
use crate::progress::Reporting;
use crate::resize::RgbView;
use crate::shard::ShardReader;

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
}

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
/// the rows of `range`. What is there already is an error.
pub fn export(
    reader: &ShardReader,
    range: std::ops::Range<usize>,
    out: &Path,
    format: ExportFormat,
    reporting: Reporting,
) -> Result<ExportReport> {
    let manifest = reader.manifest();
    let split = manifest.split.as_str();
    let (table, images) = (out.join(format!("{split}.csv")), out.join(split));
    for path in [&table, &images] {
        if path.exists() {
            return Err(Error::OutputExists { path: path.clone() });
        }
    }
    fs::create_dir_all(out).map_err(Error::write(out))?;
    let temporary = atomic::temporary_name(&table);
    let file = File::create(&temporary).map_err(Error::write(&temporary))?;
    let mut csv = csv::Writer::from_writer(BufWriter::new(file));
    let failed = |err: csv::Error| Error::write(&temporary)(err.into());
    let progress = reporting.start("export", range.len() as u64);
    let rows = range.len() as u64;
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
                        (Cow::Owned(png(image)?), "png")
                    }
                    _ => (Cow::Borrowed(bytes), extension_of(bytes)),
                };
                let name = format!("{split}/{}/{:08}.{extension}", folder_name(class), row.id);
                write_image(&out.join(&name), &stored)?;
                name
            }
        };
        csv.serialize(Line {
            id: row.id,
            path: reader.path(index),
            label: row.label,
            class,
            width: row.width,
            height: row.height,
            num_bytes: row.num_bytes,
            checksum: format!("{:016x}", row.checksum),
            file,
        })
        .map_err(failed)?;
        progress.advance(1);
    }
    progress.finish();
    let inner = csv
        .into_inner()
        .map_err(|err| Error::write(&temporary)(err.into_error()))?;
    let file = inner
        .into_inner()
        .map_err(|err| Error::write(&temporary)(err.into_error()))?;
    file.sync_all().map_err(Error::write(&temporary))?;
    atomic::publish(&temporary, &table)?;
    Ok(ExportReport {
        table,
        rows,
        images: (format == ExportFormat::Images).then_some(images),
    })
}

/// RGB8 pixels (rows from the top) as a PNG file.
pub fn png(image: RgbView<'_>) -> Result<Vec<u8>> {
    encode::png(image).map_err(|reason| Error::Resize {
        reason: format!("{}x{} pixels: {reason}", image.width, image.height),
    })
}

fn write_image(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(dir).map_err(Error::write(dir))?;
    let mut file = File::create_new(path).map_err(Error::write(path))?;
    file.write_all(bytes).map_err(Error::write(path))
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

/// A class name as one folder name: `/`, `%`, control characters and a leading dot become `%XX`.
fn folder_name(class: &str) -> String {
    let mut name = String::new();
    for (at, character) in class.char_indices() {
        let is_hidden = at == 0 && character == '.';
        if character == '/' || character == '%' || character.is_ascii_control() || is_hidden {
            name += &format!("%{:02X}", u32::from(character));
        } else {
            name.push(character);
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_class_name_leads_out_of_the_folder() {
        assert_eq!(folder_name("red star"), "red star");
        assert_eq!(folder_name("../x"), "%2E.%2Fx");
        assert_eq!(folder_name(".."), "%2E.");
        assert_eq!(folder_name("a/b%2F"), "a%2Fb%252F");
        assert_eq!(folder_name("n\u{7}\u{e9}"), "n%07\u{e9}");
    }
}
