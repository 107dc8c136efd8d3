//! A TIFF structure's first directory: what EXIF and TIFF files say of themselves, in either byte order and with
//! offsets of 32 or 64 bits.
//!
//! It decodes no pixels. Invariant: it reads only what lies inside the given bytes, and no more values than asked for.

/// A directory of tags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Directory<'a> {
    bytes: &'a [u8],
    order: Order,
    is_big: bool,
    /// Where its entries start.
    start: usize,
    entries: usize,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Little,
    Big,
}

/// One tag's values.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    directory: Directory<'a>,
    kind: u16,
    count: usize,
    /// Where the values lie.
    at: usize,
}

impl<'a> Directory<'a> {
    /// The first directory; `None` where the bytes are no such structure.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let order = match bytes.get(..2)? {
            b"II" => Order::Little,
            b"MM" => Order::Big,
            _ => return None,
        };
        let mut directory = Self {
            bytes,
            order,
            is_big: false,
            start: 0,
            entries: 0,
        };
        match directory.number(2, 2)? {
            42 => {
                let at = usize::try_from(directory.number(4, 4)?).ok()?;
                directory.entries = directory.number(at, 2)? as usize;
                directory.start = at + 2;
            }
            43 => {
                let at = usize::try_from(directory.number(8, 8)?).ok()?;
                directory.is_big = true;
                directory.entries = usize::try_from(directory.number(at, 8)?).ok()?;
                directory.start = at.checked_add(8)?;
            }
            _ => return None,
        }
        Some(directory)
    }

    /// The first entry of a tag that holds at least one value of a known kind.
    pub(super) fn entry(&self, tag: u16) -> Option<Entry<'a>> {
        let (length, of_count) = if self.is_big { (20, 8) } else { (12, 4) };
        for nth in 0..self.entries {
            let at = self.start.checked_add(nth.checked_mul(length)?)?;
            if self.number(at, 2)? != u64::from(tag) {
                continue;
            }
            let kind = self.number(at + 2, 2)? as u16;
            let count = usize::try_from(self.number(at + 4, of_count)?).ok()?;
            let Some(bytes) = width(kind).and_then(|width| width.checked_mul(count)) else {
                continue;
            };
            let place = at + 4 + of_count;
            let at = if bytes <= of_count {
                place
            } else {
                usize::try_from(self.number(place, of_count)?).ok()?
            };
            let is_there = at
                .checked_add(bytes)
                .is_some_and(|end| end <= self.bytes.len());
            if count > 0 && is_there {
                let directory = *self;
                return Some(Entry {
                    directory,
                    kind,
                    count,
                    at,
                });
            }
        }
        None
    }

    /// The first value of a tag, where it is a whole number.
    pub(super) fn value(&self, tag: u16) -> Option<u64> {
        let value = self.entry(tag)?.values().next()?;
        (value >= 0.0 && value.fract() == 0.0).then_some(value as u64)
    }

    /// All values of a tag that are whole numbers.
    pub(super) fn values(&self, tag: u16) -> impl Iterator<Item = u64> + use<'a> {
        let entry = self.entry(tag);
        entry
            .into_iter()
            .flat_map(|entry| entry.values())
            .map(|value| value as u64)
    }

    fn number(&self, at: usize, bytes: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(bytes)?)?;
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        Some(match self.order {
            Order::Little => bytes.iter().rev().fold(0, add),
            Order::Big => bytes.iter().fold(0, add),
        })
    }
}

impl<'a> Entry<'a> {
    /// Where the values lie in the bytes.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The values as bytes.
    pub(super) fn bytes(&self) -> &'a [u8] {
        let length = width(self.kind).unwrap_or(1) * self.count;
        &self.directory.bytes[self.at..self.at + length]
    }

    /// The values, of any kind of number; none where it is text or bytes without a meaning.
    pub(super) fn values(self) -> impl Iterator<Item = f64> + use<'a> {
        let step = width(self.kind).unwrap_or(1);
        (0..self.count).map_while(move |nth| {
            let at = self.at + nth * step;
            let number = self.directory.number(at, step.min(8))?;
            let half = |at| self.directory.number(at, 4);
            Some(match self.kind {
                3 | 4 | 13 | 16 | 18 => number as f64,
                6 => f64::from(number as i8),
                8 => f64::from(number as i16),
                9 => f64::from(number as i32),
                17 => number as i64 as f64,
                5 => half(at)? as f64 / half(at + 4)? as f64,
                10 => f64::from(half(at)? as i32) / f64::from(half(at + 4)? as i32),
                11 => f64::from(f32::from_bits(number as u32)),
                12 => f64::from_bits(number),
                _ => return None,
            })
        })
    }
}

/// Bytes of a value of a kind.
fn width(kind: u16) -> Option<usize> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 | 17 | 18 => Some(8),
        _ => None,
    }
}
