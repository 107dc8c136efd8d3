//! Whether the columns of a Parquet file are nested no deeper than any image dataset's, asked before the library reads the
//! footer: it goes down the schema by recursion, and a file of 5 kB can hold 10,000 levels, which end the whole process.
//!
//! Invariant: what ends as Parquet does and cannot be followed is refused.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::thrift::{LIST, SET, STRUCT, Walk};

/// Levels of groups within groups; datasets have three or four.
const MAX_LEVELS: usize = 64;
/// Larger footers have so many row groups that the walk is not worth its memory; their schema comes first.
const WALKED: u64 = 16 << 20;

/// Opens a regular file that may be Parquet.
///
/// # Errors
/// When it cannot be opened, or its columns are nested deeper than any dataset's.
pub fn open(path: &Path) -> io::Result<File> {
    let mut file = lift_files::open(path)?;
    check(&mut file)?;
    file.rewind()?;
    Ok(file)
}

fn check(file: &mut (impl Read + Seek)) -> io::Result<()> {
    let size = file.seek(SeekFrom::End(0))?;
    let mut end = [0; 8];
    if size < 12 {
        return Ok(());
    }
    file.seek(SeekFrom::Start(size - 8))?;
    file.read_exact(&mut end)?;
    let [length @ .., b'P', b'A', b'R', b'1'] = end else {
        return Ok(());
    };
    let length = u64::from(u32::from_le_bytes(length));
    let Some(start) = (size - 8).checked_sub(length) else {
        return Ok(());
    };
    file.seek(SeekFrom::Start(start))?;
    let mut footer = Vec::new();
    file.take(length.min(WALKED)).read_to_end(&mut footer)?;
    let invalid = |reason: String| Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    match levels(&footer) {
        Some(levels) if levels > MAX_LEVELS => invalid(format!(
            "its columns are nested more than {MAX_LEVELS} deep, which no dataset needs"
        )),
        Some(_) => Ok(()),
        // The library might follow it all the same.
        None => invalid("its footer is none of Parquet's".to_owned()),
    }
}

/// How deep the schema is nested, as far as it is more than [`MAX_LEVELS`] or its end is reached; `None` for what is no footer.
fn levels(footer: &[u8]) -> Option<usize> {
    let mut walk = Walk::new(footer);
    let mut field = 0;
    loop {
        match walk.field(&mut field)? {
            (_, 0) => return None,
            // FileMetaData.schema, a list of SchemaElement in the order of a walk through the tree.
            (2, LIST | SET) => return schema(&mut walk),
            (2, _) => return None,
            (_, kind) => walk.skip(kind, 0)?,
        }
    }
}

fn schema(walk: &mut Walk<'_>) -> Option<usize> {
    let (elements, STRUCT) = walk.list()? else {
        return None;
    };
    // The children that are still to come, of each group from the root to where the walk is.
    let mut open: Vec<u64> = Vec::new();
    let mut deepest = 0;
    for _ in 0..elements {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(to_come) = open.last_mut() {
            *to_come -= 1;
        }
        let children = element(walk)?;
        if children > 0 {
            open.push(children);
        }
        deepest = deepest.max(open.len());
        if deepest > MAX_LEVELS {
            break;
        }
    }
    Some(deepest)
}

/// The number of children of a schema's element.
fn element(walk: &mut Walk<'_>) -> Option<u64> {
    let (mut field, mut children) = (0, 0);
    loop {
        match walk.field(&mut field)? {
            (_, 0) => return Some(children),
            // SchemaElement.num_children, an i32 in zigzag order: odd numbers are negative.
            (5, 4..=6) => {
                let number = walk.number()?;
                children = if number % 2 == 0 { number / 2 } else { 0 };
            }
            (_, kind) => walk.skip(kind, 0)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch, StructArray};
    use arrow::datatypes::Field;
    use parquet::arrow::ArrowWriter;

    /// A file with a column that is nested so deep, as the library writes it.
    fn nested(levels: usize) -> Vec<u8> {
        let mut column: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
        for _ in 1..levels {
            let field = Field::new("group", column.data_type().clone(), true);
            column = Arc::new(StructArray::from(vec![(Arc::new(field), column)]));
        }
        let flat: ArrayRef = Arc::new(Int32Array::from(vec![3, 4]));
        let batch = RecordBatch::try_from_iter([("deep", column), ("flat", flat)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn walked(file: &[u8]) -> Option<usize> {
        let end = file.len() - 8;
        let length = u32::from_le_bytes(file[end..end + 4].try_into().unwrap());
        levels(&file[end - length as usize..end])
    }

    #[test]
    fn levels_are_those_that_the_library_wrote() {
        for depth in [1, 2, 20, 63, 64] {
            let file = nested(depth);
            assert_eq!(walked(&file), Some(depth));
            check(&mut io::Cursor::new(&file)).unwrap();
        }
        let err = check(&mut io::Cursor::new(nested(65))).unwrap_err();
        assert!(
            err.to_string().contains("nested more than 64 deep"),
            "{err}"
        );
    }

    #[test]
    fn what_is_no_footer_is_left_to_the_library() {
        let file = nested(3);
        for cut in 0..file.len() {
            check(&mut io::Cursor::new(&file[..cut])).unwrap();
        }
        // Lists within lists without end, a list of 2^63 elements.
        let lists = [vec![0x19], vec![0x19; 10_000]].concat();
        assert_eq!(levels(&lists), None);
        let long = [&[0x29, 0xFC][..], &[0xFF; 8], &[0x7F]].concat();
        assert_eq!(levels(&long), None);
    }
}
