//! A walk through what Parquet writes in Thrift's compact protocol: fields are found, and nothing is decoded or kept.
//!
//! Invariant: its recursion is bounded, and it ends, with `None`, where the bytes end or are not what they should be.

/// The kind of a list.
pub const LIST: u8 = 9;
/// The kind of a set, which is written like a list.
pub const SET: u8 = 10;
/// The kind of a structure.
pub const STRUCT: u8 = 12;
/// The kind of an `i32`.
pub const I32: u8 = 5;

/// Structures within structures; Parquet has four, and its library follows as many as this.
const MAX_NESTING: usize = 64;

/// A place in the bytes.
pub struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    /// At the first of these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The id and kind of the next field; kind 0 ends a structure.
    pub fn field(&mut self, last: &mut i64) -> Option<(i64, u8)> {
        let head = self.byte()?;
        let kind = head & 0x0F;
        if kind != 0 {
            *last = match head >> 4 {
                0 => {
                    let number = self.number()?;
                    (number >> 1) as i64 ^ -((number & 1) as i64)
                }
                step => last.checked_add(i64::from(step))?,
            };
        }
        Some((*last, kind))
    }

    pub fn list(&mut self) -> Option<(u64, u8)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.number()?,
            length => u64::from(length),
        };
        Some((length, head & 0x0F))
    }

    pub fn skip(&mut self, kind: u8, nesting: usize) -> Option<()> {
        if nesting > MAX_NESTING {
            return None;
        }
        match kind {
            // A field's yes or no stands in its head.
            1 | 2 => {}
            3 => self.bytes(1)?,
            4..=6 => {
                self.number()?;
            }
            7 => self.bytes(8)?,
            8 => {
                let length = self.number()?;
                self.bytes(length)?;
            }
            LIST | SET => {
                let (length, of) = self.list()?;
                for _ in 0..length {
                    match of {
                        1 | 2 => self.bytes(1)?,
                        of => self.skip(of, nesting + 1)?,
                    }
                }
            }
            STRUCT => {
                let mut field = 0;
                loop {
                    match self.field(&mut field)? {
                        (_, 0) => break,
                        (_, kind) => self.skip(kind, nesting + 1)?,
                    }
                }
            }
            _ => return None,
        }
        Some(())
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    fn bytes(&mut self, length: u64) -> Option<()> {
        self.rest = self.rest.get(usize::try_from(length).ok()?..)?;
        Some(())
    }
}
