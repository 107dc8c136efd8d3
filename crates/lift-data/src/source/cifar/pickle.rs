//! The part of Python's pickle format that CIFAR's files use.
//!
//! It reads numbers, strings, lists, tuples and dictionaries, and numpy arrays of bytes; it calls
//! nothing, and refuses every other class or opcode by name. Protocols 1 to 4 are read, as Python 2 and
//! 3 write them. Invariant: time and memory are bounded by the number of bytes (no opcode makes more
//! than one object, strings stay where they are), and bad bytes are an error with their place, never a
//! panic.

mod machine;

use std::borrow::Cow;
use std::fmt;

/// Why bytes are not a pickle that this module reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PickleError {
    at: usize,
    reason: String,
}

impl fmt::Display for PickleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: {}", self.at, self.reason)
    }
}

impl std::error::Error for PickleError {}

type Result<T> = std::result::Result<T, PickleError>;

/// An object's place in [`Pickle::objects`].
type Id = usize;

/// The functions and classes that may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Global {
    Reconstruct,
    NdArray,
    DType,
    /// How Python 3 writes byte strings in protocol 2.
    Encode,
}

#[derive(Debug, Clone)]
enum Object<'a> {
    None,
    Bool(bool),
    Int(i64),
    Bytes(Cow<'a, [u8]>),
    Text(&'a str),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// numpy's type of unsigned bytes, the only one there is.
    ByteType,
    /// A numpy array before and after its state is set.
    Array(Option<Array>),
}

#[derive(Debug, Clone)]
struct Array {
    shape: Vec<Id>,
    columns_first: bool,
    bytes: Id,
}

/// A pickle that was read: a dictionary.
#[derive(Debug)]
pub struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads the one object in `bytes`.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let (objects, root) = machine::run(bytes)?;
        Ok(Self { objects, root })
    }

    /// The whole numbers in the list at `key`.
    pub fn numbers(&self, key: &str) -> std::result::Result<Vec<i64>, String> {
        let list = match &self.objects[self.item(key)?] {
            Object::List(list) | Object::Tuple(list) => list,
            _ => return Err(format!("`{key}` is not a list")),
        };
        list.iter()
            .map(|&id| match self.objects[id] {
                Object::Int(number) => Ok(number),
                _ => Err(format!("`{key}` has something that is not a whole number")),
            })
            .collect()
    }

    /// The bytes at `key`, a matrix of `columns` columns, row after row: a numpy array of that shape or
    /// a plain byte string.
    pub fn rows(&self, key: &str, columns: usize) -> std::result::Result<Cow<'_, [u8]>, String> {
        let array = match &self.objects[self.item(key)?] {
            Object::Bytes(bytes) if bytes.len().is_multiple_of(columns) => {
                return Ok(Cow::Borrowed(bytes));
            }
            Object::Array(Some(array)) => array,
            _ => {
                return Err(format!(
                    "`{key}` is not a matrix of bytes with {columns} columns"
                ));
            }
        };
        let Object::Bytes(bytes) = &self.objects[array.bytes] else {
            return Err(format!("`{key}` is an array without bytes"));
        };
        let shape: Vec<_> = array.shape.iter().map(|&id| self.int(id)).collect();
        let rows = bytes.len() / columns;
        if shape != [Some(rows as i64), Some(columns as i64)] || bytes.len() != rows * columns {
            return Err(format!(
                "`{key}` is an array of another shape than rows of {columns} bytes"
            ));
        }
        if !array.columns_first {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut turned = vec![0; bytes.len()];
        for (i, byte) in bytes.iter().enumerate() {
            turned[(i % rows) * columns + i / rows] = *byte;
        }
        Ok(Cow::Owned(turned))
    }

    fn item(&self, key: &str) -> std::result::Result<Id, String> {
        let Object::Dict(items) = &self.objects[self.root] else {
            return Err("it is not a dictionary".to_owned());
        };
        items
            .iter()
            .find(|(name, _)| string(&self.objects[*name]) == Some(key.as_bytes()))
            .map(|(_, value)| *value)
            .ok_or_else(|| format!("there is no `{key}`"))
    }

    fn int(&self, id: Id) -> Option<i64> {
        match self.objects[id] {
            Object::Int(number) => Some(number),
            _ => None,
        }
    }
}

/// Python 2 writes names as bytes, Python 3 as text.
fn string<'o>(object: &'o Object<'_>) -> Option<&'o [u8]> {
    match object {
        Object::Bytes(bytes) => Some(bytes),
        Object::Text(text) => Some(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
