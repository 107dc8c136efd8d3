//! Parquet files of others, read in memory that is bounded by their size.
//!
//! The library believes what a page says of itself, and makes room for it: 5 kB can hold a dictionary of 2 GB, or a text of
//! 60 MB that each of a million rows repeats. Here a page that unpacks to far more than it takes is refused before it is
//! unpacked, texts are read as views of where they lie, once, and a file with far more rows than bytes is refused too.
//! Invariant: no more than [`PAGE`] and [`RATIO`] times the file's size is unpacked at once.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::footer;
use crate::thrift::{I32, Walk};
use lift_page::number;

/// What any page may unpack to, however little it takes.
const PAGE: u64 = 64 << 20;
/// How many times what it takes a page may unpack to. Writers keep a page to a megabyte, or to a thousand images, which hardly
/// pack.
const RATIO: u64 = 64;
/// The rows that any file may have.
const ROWS: u64 = 1 << 20;
/// The rows that a file may have for each of its bytes. A path takes several bytes, an image hundreds.
const ROWS_A_BYTE: u64 = 8;

/// An opened file.
pub struct Pages(File);

/// A reader that is set up with columns, row groups and so on.
pub type Builder = ParquetRecordBatchReaderBuilder<Pages>;

/// Opens a regular file that is Parquet.
///
/// # Errors
/// When it cannot be opened, is nested too deep ([`footer::open`]), has more rows than its size allows, or is not Parquet.
pub fn open(path: &Path) -> io::Result<Builder> {
    with_footer(path, footer(path)?)
}

/// Opens the file, whose footer is known.
///
/// # Errors
/// When it cannot be opened.
pub fn with_footer(path: &Path, footer: ArrowReaderMetadata) -> io::Result<Builder> {
    let pages = Pages(lift_files::open(path)?);
    Ok(Builder::new_with_metadata(pages, footer))
}

/// The footer of the file, by which texts and bytes are read as views.
///
/// # Errors
/// As [`open`].
pub fn footer(path: &Path) -> io::Result<ArrowReaderMetadata> {
    let file = footer::open(path)?;
    let bytes = file.metadata()?.len();
    let invalid = |err: ParquetError| io::Error::new(io::ErrorKind::InvalidData, err.to_string());
    let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(invalid)?;
    let metadata = found.metadata();
    let rows = metadata.file_metadata().num_rows().max(0) as u64;
    if rows > ROWS + bytes.saturating_mul(ROWS_A_BYTE) {
        let reason = format!(
            "{} in {}: no table of images is like that",
            number::counted(rows, "row"),
            number::bytes(bytes)
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let schema = found.schema();
    let views = Schema::new_with_metadata(views(schema.fields()), schema.metadata().clone());
    let options = ArrowReaderOptions::new().with_schema(Arc::new(views));
    ArrowReaderMetadata::try_new(Arc::clone(metadata), options).map_err(invalid)
}

/// The fields with views in place of texts and bytes.
fn views(fields: &Fields) -> Fields {
    let view = |field: &FieldRef| {
        let kind = match field.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
            DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
            DataType::Struct(fields) => DataType::Struct(views(fields)),
            _ => return Arc::clone(field),
        };
        Arc::new(Field::clone(field).with_data_type(kind))
    };
    fields.iter().map(view).collect()
}

impl Length for Pages {
    fn len(&self) -> u64 {
        Length::len(&self.0)
    }
}

impl ChunkReader for Pages {
    type T = BufReader<File>;

    /// Without an index of pages, which is not asked for, every page is read from here, from its header on.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut file = self.0.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        let mut reader = BufReader::new(file);
        check(reader.fill_buf()?)?;
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes> {
        self.0.get_bytes(start, length)
    }
}

/// Refuses a page by its header, if these bytes begin with one.
fn check(bytes: &[u8]) -> Result<()> {
    let Some((unpacked, packed)) = sizes(bytes) else {
        return Ok(());
    };
    if unpacked <= PAGE + packed.saturating_mul(RATIO) {
        return Ok(());
    }
    let (unpacked, packed) = (number::bytes(unpacked), number::bytes(packed));
    Err(ParquetError::General(format!(
        "a page of {unpacked} is packed into {packed}: no table of images is like that"
    )))
}

/// PageHeader.uncompressed_page_size and .compressed_page_size.
fn sizes(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut walk = Walk::new(bytes);
    let (mut field, mut unpacked, mut packed) = (0, None, None);
    while unpacked.is_none() || packed.is_none() {
        // An i32 in zigzag order: odd numbers are negative, which the library refuses.
        match walk.field(&mut field)? {
            (_, 0) => return None,
            (2, I32) => unpacked = Some(walk.number()? / 2),
            (3, I32) => packed = Some(walk.number()? / 2),
            (_, kind) => walk.skip(kind, 0)?,
        }
    }
    unpacked.zip(packed)
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::{ArrayRef, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::{Compression, ZstdLevel};
    use parquet::file::properties::WriterProperties;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    /// The library's own word on how long its pages are, unpacked.
    #[test]
    fn sizes_are_those_of_the_pages_that_the_library_reads() {
        for (length, compression) in [
            (10, Compression::UNCOMPRESSED),
            (5_000, Compression::SNAPPY),
            (3_000_000, Compression::ZSTD(ZstdLevel::default())),
        ] {
            let texts = StringArray::from_iter_values([&"x".repeat(length), "y"]);
            let batch = RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]);
            let batch = batch.unwrap();
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_dictionary_enabled(false)
                .build();
            let mut writer =
                ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
            writer.write(&batch).unwrap();
            let file = bytes::Bytes::from(writer.into_inner().unwrap());
            let reader = SerializedFileReader::new(file.clone()).unwrap();
            let column = reader.metadata().row_group(0).column(0).clone();
            let group = reader.get_row_group(0).unwrap();
            let mut pages = group.get_column_page_reader(0).unwrap();
            let page = pages.get_next_page().unwrap().unwrap();
            let (start, packed) = column.byte_range();
            let (unpacked, of_page) = sizes(&file[start as usize..]).unwrap();
            assert_eq!(unpacked, page.buffer().len() as u64);
            // The chunk is this page and its header.
            assert!(
                of_page < packed && of_page + 100 > packed,
                "{of_page} of {packed}"
            );
        }
    }

    #[test]
    fn a_page_may_unpack_to_much_and_not_to_too_much() {
        // Fields 1, 2 and 3, each an i32 in zigzag order: the kind of page, its size unpacked and packed.
        let header = |unpacked: u64, packed: u64| {
            let mut bytes = vec![0x15, 0];
            for size in [unpacked, packed] {
                bytes.push(0x15);
                let mut rest = size * 2;
                while rest >= 0x80 {
                    bytes.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
            }
            bytes
        };
        for (unpacked, packed) in [(PAGE, 0), (PAGE + 64, 1), (1 << 30, 1 << 24)] {
            assert_eq!(sizes(&header(unpacked, packed)), Some((unpacked, packed)));
            check(&header(unpacked, packed)).unwrap();
        }
        for (unpacked, packed) in [(PAGE + 1, 0), (PAGE + 65, 1)] {
            assert!(check(&header(unpacked, packed)).is_err());
        }
        let err = check(&header(2_000_000_000, 5_000))
            .unwrap_err()
            .to_string();
        let said = "a page of 2.0 GB is packed into 5.0 kB: no table of images is like that";
        assert!(err.contains(said), "{err}");
        for cut in 0..header(1, 1).len() {
            assert_eq!(sizes(&header(1, 1)[..cut]), None);
        }
    }
}
