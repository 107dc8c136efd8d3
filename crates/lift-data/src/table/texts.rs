//! A column of texts of which many may be one long text: each long one is held once.
//!
//! A Parquet file of a few kilobytes can give a million rows a text of megabytes by a dictionary. Invariant: what is
//! held grows with the distinct texts, and the texts of all rows together are bounded.

use std::collections::HashMap;

use polars::prelude::{PlSmallStr, StringChunked};
use polars_arrow::array::{Utf8ViewArray, View};
use polars_arrow::bitmap::Bitmap;
use polars_arrow::datatypes::ArrowDataType;
use twox_hash::XxHash3_64;

/// Texts that are not looked for among those before.
const SHORT: usize = 256;

/// Bytes of a block of texts.
const BLOCK: usize = 1 << 20;

/// The most bytes that all rows' texts may have, each counted as often as it stands there.
const MOST_BYTES: u64 = 64 << 30;

/// A column that grows by rows.
pub(crate) struct Texts {
    name: PlSmallStr,
    views: Vec<View>,
    is_there: Vec<bool>,
    blocks: Vec<Vec<u8>>,
    /// The long texts by their hash.
    long: HashMap<u64, View>,
    bytes: u64,
}

impl Texts {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            views: Vec::new(),
            is_there: Vec::new(),
            blocks: Vec::new(),
            long: HashMap::new(),
            bytes: 0,
        }
    }

    /// Appends a row.
    ///
    /// # Errors
    /// When the texts are too many or too long.
    pub(super) fn append(&mut self, text: Option<&str>) -> Result<(), String> {
        let bytes = text.unwrap_or_default().as_bytes();
        self.bytes += bytes.len() as u64;
        if self.bytes > MOST_BYTES || bytes.len() > u32::MAX as usize {
            let most = MOST_BYTES >> 30;
            return Err(format!("its texts take more than {most} GiB"));
        }
        let known = (bytes.len() > SHORT).then(|| self.known(bytes)).flatten();
        let view = match known {
            Some(view) => view,
            None => self.add(bytes),
        };
        self.views.push(view);
        self.is_there.push(text.is_some());
        Ok(())
    }

    fn known(&self, bytes: &[u8]) -> Option<View> {
        let view = *self.long.get(&XxHash3_64::oneshot(bytes))?;
        let from = view.offset as usize;
        let block = &self.blocks[view.buffer_idx as usize];
        (block.get(from..from + view.length as usize)? == bytes).then_some(view)
    }

    fn add(&mut self, bytes: &[u8]) -> View {
        if bytes.len() <= View::MAX_INLINE_SIZE as usize {
            return View::new_inline(bytes);
        }
        let fits = |block: &Vec<u8>| block.len() + bytes.len() <= BLOCK;
        if !self.blocks.last().is_some_and(fits) {
            self.blocks.push(Vec::with_capacity(BLOCK.max(bytes.len())));
        }
        let number = self.blocks.len() - 1;
        let block = &mut self.blocks[number];
        let view = View::new_from_bytes(bytes, number as u32, block.len() as u32);
        block.extend_from_slice(bytes);
        if bytes.len() > SHORT {
            self.long.insert(XxHash3_64::oneshot(bytes), view);
        }
        view
    }

    pub(super) fn finish(self) -> StringChunked {
        let blocks: Vec<_> = self.blocks.into_iter().map(Into::into).collect();
        let array = Utf8ViewArray::try_new(
            ArrowDataType::Utf8View,
            self.views.into(),
            blocks.into(),
            Some(Bitmap::from_iter(self.is_there)),
        );
        let array = array.expect("every view is of a text in its block");
        StringChunked::with_chunk(self.name, array)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_come_back(
            rows in prop::collection::vec(prop::option::of((0_u8..4, 0_usize..600)), 0..80),
        ) {
            let text = |(letter, length): (u8, usize)| char::from(b'a' + letter).to_string().repeat(length);
            let rows: Vec<Option<String>> = rows.into_iter().map(|row| row.map(text)).collect();
            let mut texts = Texts::new("x");
            for row in &rows {
                texts.append(row.as_deref()).unwrap();
            }
            let column = texts.finish();
            let back: Vec<Option<String>> = column.iter().map(|text| text.map(str::to_owned)).collect();
            prop_assert_eq!(back, rows);
        }
    }

    #[test]
    fn a_long_text_is_held_once() {
        let mut texts = Texts::new("x");
        let long = "é".repeat(700_000);
        for _ in 0..1000 {
            texts.append(Some(&long)).unwrap();
            texts.append(Some("short")).unwrap();
        }
        assert_eq!(texts.blocks.len(), 1);
        let column = texts.finish();
        assert_eq!(column.get(1998), Some(long.as_str()));
    }
}
