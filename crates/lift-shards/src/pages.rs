//! Parquet files of others, read in memory that is bounded by their size.
//!
//! The library believes what a page says of itself, and makes room for it: 5 kB can hold a dictionary of 2 GB, or a text of
//! 60 MB that each of a million rows repeats. Here a page that unpacks to far more than it takes is refused before it is
//! unpacked, texts are read as views of where they lie, once, and a file with far more rows than bytes is refused too.
//! Invariant: no more than [`PAGE`] and [`RATIO`] times the file's size is unpacked at once.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::SchemaDescriptor;

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

/// More than any page's header takes; statistics in it may hold whole values.
const HEADER: usize = 16 << 20;

/// An opened file.
pub struct Pages {
    file: File,
    /// Where the bytes of pages begin whose headers were read: the library comes back for them.
    bodies: Mutex<HashSet<u64>>,
}

/// A reader that is set up with columns, row groups and so on.
pub type Builder = ParquetRecordBatchReaderBuilder<Pages>;

/// The top-level columns of these names, whatever is in the names: the library takes a dot for a way into a structure.
pub fn columns(schema: &SchemaDescriptor, names: &[&str]) -> ProjectionMask {
    let fields = schema.root_schema().get_fields().iter().enumerate();
    let wanted = fields.filter(|(_, field)| names.contains(&field.name()));
    ProjectionMask::roots(schema, wanted.map(|(root, _)| root).collect::<Vec<_>>())
}

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
    let pages = Pages {
        file: lift_files::open(path)?,
        bodies: Mutex::default(),
    };
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
    let groups = metadata.row_groups().iter();
    let of_groups = groups.fold(0_i64, |sum, group| sum.saturating_add(group.num_rows()));
    let rows = metadata.file_metadata().num_rows().max(of_groups).max(0) as u64;
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
        Length::len(&self.file)
    }
}

impl ChunkReader for Pages {
    type T = BufReader<File>;

    /// Without an index of pages, which is not asked for, every page is read from here, from its header on.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(start))?;
        let mut reader = BufReader::new(file);
        let bodies = || self.bodies.lock().unwrap_or_else(PoisonError::into_inner);
        let header = if bodies().contains(&start) {
            // Whatever these bytes are; where they could be a header too, they are held to the same.
            Header::parse(reader.fill_buf()?)
        } else {
            Some(self.header(start, reader.fill_buf()?)?)
        };
        if let Some(header) = header {
            header.check()?;
            bodies().insert(start + header.length);
        }
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<bytes::Bytes> {
        self.file.get_bytes(start, length)
    }
}

impl Pages {
    /// The header of the page at `start`, of which `begin` is what was read at once.
    fn header(&self, start: u64, begin: &[u8]) -> Result<Header> {
        let rest = Length::len(self).saturating_sub(start).min(HEADER as u64) as usize;
        let (mut found, mut length) = (Header::parse(begin), 8 * begin.len());
        while found.is_none() && length / 8 < rest {
            found = Header::parse(&self.get_bytes(start, length.min(rest))?);
            length = length.saturating_mul(8);
        }
        found.ok_or_else(|| {
            ParquetError::General(format!("there is no header of a page at byte {start}"))
        })
    }
}

/// What a page says of itself.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    unpacked: u64,
    packed: u64,
    /// Its own bytes.
    length: u64,
}

impl Header {
    /// Follows PageHeader to its end; `None` where these bytes hold none, or one that no writer writes: the library takes the last
    /// of two fields of one number, and cuts numbers that are too large.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut walk = Walk::new(bytes);
        let (mut field, mut unpacked, mut packed) = (0, None, None);
        loop {
            let sizes = match walk.field(&mut field)? {
                (_, 0) => break,
                (2, I32) => &mut unpacked,
                (3, I32) => &mut packed,
                (2 | 3, _) => return None,
                (other, kind) => {
                    i16::try_from(other).ok()?;
                    walk.skip(kind, 0)?;
                    continue;
                }
            };
            // An i32 in zigzag order: odd numbers are negative.
            let number = u32::try_from(walk.number()?).ok()?;
            let is_first = sizes.replace(u64::from(number / 2)).is_none();
            if number % 2 == 1 || !is_first {
                return None;
            }
        }
        Some(Self {
            unpacked: unpacked?,
            packed: packed?,
            length: (bytes.len() - walk.left()) as u64,
        })
    }

    /// Refuses a page that unpacks to too much.
    fn check(&self) -> Result<()> {
        if self.unpacked <= PAGE + self.packed.saturating_mul(RATIO) {
            return Ok(());
        }
        let (unpacked, packed) = (number::bytes(self.unpacked), number::bytes(self.packed));
        Err(ParquetError::General(format!(
            "a page of {unpacked} is packed into {packed}: no table of images is like that"
        )))
    }
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
            let (start, packed) = column.byte_range();
            let mut at = start;
            while let Some(page) = pages.get_next_page().unwrap() {
                let header = Header::parse(&file[at as usize..]).unwrap();
                assert_eq!(header.unpacked, page.buffer().len() as u64);
                at += header.length + header.packed;
            }
            assert_eq!(at, start + packed);
        }
    }

    #[test]
    fn a_page_may_unpack_to_much_and_not_to_too_much() {
        // Fields 1, 2 and 3, each an i32 in zigzag order: the kind of page, its size unpacked and packed; then the end.
        let number = |kind: u8, value: u64| {
            let (mut bytes, mut rest) = (vec![kind], value * 2);
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            bytes
        };
        let header = |unpacked: u64, packed: u64| {
            [
                vec![0x15, 0],
                number(0x15, unpacked),
                number(0x15, packed),
                vec![0],
            ]
            .concat()
        };
        let parse = |unpacked, packed| Header::parse(&header(unpacked, packed)).unwrap();
        for (unpacked, packed) in [(PAGE, 0), (PAGE + 64, 1), (1 << 30, 1 << 24)] {
            let found = parse(unpacked, packed);
            assert_eq!((found.unpacked, found.packed), (unpacked, packed));
            assert_eq!(found.length, header(unpacked, packed).len() as u64);
            found.check().unwrap();
        }
        for (unpacked, packed) in [(PAGE + 1, 0), (PAGE + 65, 1)] {
            assert!(parse(unpacked, packed).check().is_err());
        }
        let err = parse(2_000_000_000, 5_000).check().unwrap_err().to_string();
        let said = "a page of 2.0 GB is packed into 5.0 kB: no table of images is like that";
        assert!(err.contains(said), "{err}");
        for cut in 0..header(1, 1).len() {
            assert_eq!(Header::parse(&header(1, 1)[..cut]), None);
        }
        // Field 2 twice, as an i64, of more than 32 bits, negative; field 3 missing.
        let field_2_again = [&[0x05][..], &[4], &number(0, 2_000_000_000)[1..]].concat();
        for odd in [
            [&header(1, 1)[..6], &field_2_again, &[0]].concat(),
            [vec![0x15, 0], number(0x16, 1), number(0x15, 1), vec![0]].concat(),
            [
                vec![0x15, 0],
                number(0x15, 1 << 40),
                number(0x15, 1),
                vec![0],
            ]
            .concat(),
            vec![0x15, 0, 0x15, 3, 0x15, 2, 0],
            vec![0x15, 0, 0x15, 2, 0],
        ] {
            assert_eq!(Header::parse(&odd), None, "{odd:?}");
        }
    }
}
