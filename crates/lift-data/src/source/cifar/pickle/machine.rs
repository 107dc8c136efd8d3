//! The stack machine that a pickle is a program for.
//!
//! It makes objects and calls nothing. Invariant: an opcode makes at most one object and takes from the
//! stack only what was put there after the last mark.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Array, Global, Id, Object, PickleError, Result, string};

/// More opcodes than any of CIFAR's files has (they have some 250,000).
const MAX_OPCODES: usize = 1 << 22;

/// Runs a pickle; its objects, and the one that is left at the end.
pub(super) fn run(bytes: &[u8]) -> Result<(Vec<Object<'_>>, Id)> {
    let mut machine = Machine {
        bytes,
        at: 0,
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        owned_bytes: 0,
    };
    for _ in 0..MAX_OPCODES {
        if let Some(root) = machine.step()? {
            return Ok((machine.objects, root));
        }
    }
    machine.wrong("too many opcodes")
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Bytes of strings that are not in the file as such.
    owned_bytes: usize,
}

impl<'a> Machine<'a> {
    /// Runs one opcode; the pickle's object after the last.
    fn step(&mut self) -> Result<Option<Id>> {
        let opcode = self.byte()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => match self.byte()? {
                1..=4 => {}
                other => return self.wrong(format!("protocol {other} is not known")),
            },
            0x95 => drop(self.take(8)?), // a frame's length
            b'N' => self.push(Object::None),
            0x88 => self.push(Object::Bool(true)),
            0x89 => self.push(Object::Bool(false)),
            b'K' => {
                let number = self.byte()?;
                self.push(Object::Int(number.into()));
            }
            b'M' => {
                let number = u16::from_le_bytes(self.array()?);
                self.push(Object::Int(number.into()));
            }
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Object::Int(number.into()));
            }
            0x8a => self.long()?,
            b'U' | b'C' => {
                let length = self.byte()?.into();
                self.push_bytes(length)?;
            }
            b'T' | b'B' => {
                let length = self.length4()?;
                self.push_bytes(length)?;
            }
            0x8e => {
                let length = self.length8()?;
                self.push_bytes(length)?;
            }
            0x8c => {
                let length = self.byte()?.into();
                self.push_text(length)?;
            }
            b'X' => {
                let length = self.length4()?;
                self.push_text(length)?;
            }
            b']' => self.push(Object::List(Vec::new())),
            b'}' => self.push(Object::Dict(Vec::new())),
            b')' => self.push(Object::Tuple(Vec::new())),
            b'(' => self.marks.push(self.stack.len()),
            b't' => {
                let items = self.pop_to_mark()?;
                self.push(Object::Tuple(items));
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x85..=opcode {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Object::Tuple(items));
            }
            b'a' => {
                let item = self.pop()?;
                self.extend_list(vec![item])?;
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.extend_list(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.extend_dict(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend_dict(&items)?;
            }
            b'q' => {
                let index = self.byte()?.into();
                self.memoize(index)?;
            }
            b'r' => {
                let index = u32::from_le_bytes(self.array()?);
                self.memoize(index)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' => {
                let index = self.byte()?.into();
                self.recall(index)?;
            }
            b'j' => {
                let index = u32::from_le_bytes(self.array()?);
                self.recall(index)?;
            }
            b'c' => {
                let module = self.line()?;
                let name = self.line()?;
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let text = |id: Id| string(&self.objects[id]).unwrap_or_default().to_vec();
                let (module, name) = (text(module), text(name));
                self.global(&module, &name)?;
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            other => return self.wrong(format!("opcode {other:#04x} is not one of CIFAR's files")),
        }
        Ok(None)
    }

    fn wrong<T>(&self, reason: impl Into<String>) -> Result<T> {
        Err(PickleError {
            at: self.at.saturating_sub(1),
            reason: reason.into(),
        })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.bytes[self.at..].get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => {
                self.at = self.bytes.len();
                self.wrong("the file ends too early")
            }
        }
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn length4(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn length8(&mut self) -> Result<usize> {
        let length = u64::from_le_bytes(self.array()?);
        usize::try_from(length).or_else(|_| self.wrong("the file ends too early"))
    }

    fn line(&mut self) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().take(256).position(|&byte| byte == b'\n') else {
            return self.wrong("a name without an end");
        };
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn long(&mut self) -> Result<()> {
        let length = self.byte()?.into();
        let bytes = self.take(length)?;
        if length > 8 {
            return self.wrong("a whole number of more than 64 bits");
        }
        let negative = bytes.last().is_some_and(|&last| last >= 0x80);
        let mut all = [if negative { 0xff } else { 0 }; 8];
        all[..length].copy_from_slice(bytes);
        self.push(Object::Int(i64::from_le_bytes(all)));
        Ok(())
    }

    fn push(&mut self, object: Object<'a>) {
        self.stack.push(self.objects.len());
        self.objects.push(object);
    }

    fn push_bytes(&mut self, length: usize) -> Result<()> {
        let bytes = self.take(length)?;
        self.push(Object::Bytes(Cow::Borrowed(bytes)));
        Ok(())
    }

    fn push_text(&mut self, length: usize) -> Result<()> {
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => {
                self.push(Object::Text(text));
                Ok(())
            }
            Err(_) => self.wrong("text that is not UTF-8"),
        }
    }

    fn pop(&mut self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(id) if self.stack.len() >= floor => Ok(id),
            _ => self.wrong("an opcode without its operand"),
        }
    }

    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => self.wrong("an opcode without its operand"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.wrong("a list without its start"),
        }
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Result<()> {
        let top = self.top()?;
        match &mut self.objects[top] {
            Object::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => self.wrong("items for something that is not a list"),
        }
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<()> {
        let top = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return self.wrong("a key without its value");
        };
        match &mut self.objects[top] {
            Object::Dict(dict) => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => self.wrong("items for something that is not a dictionary"),
        }
    }

    fn memoize(&mut self, index: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<()> {
        match self.memo.get(&index) {
            Some(&id) => {
                self.stack.push(id);
                Ok(())
            }
            None => self.wrong(format!("object {index} is not known")),
        }
    }

    fn global(&mut self, module: &[u8], name: &[u8]) -> Result<()> {
        let global = match (module, name) {
            (b"numpy.core.multiarray" | b"numpy._core.multiarray", b"_reconstruct") => {
                Global::Reconstruct
            }
            (b"numpy", b"ndarray") => Global::NdArray,
            (b"numpy", b"dtype") => Global::DType,
            (b"_codecs", b"encode") => Global::Encode,
            _ => {
                return self.wrong(format!(
                    "`{}.{}` is not one of CIFAR's classes",
                    module.escape_ascii(),
                    name.escape_ascii()
                ));
            }
        };
        self.push(Object::Global(global));
        Ok(())
    }

    /// A call of one of the four functions that are known.
    fn reduce(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Object::Tuple(arguments), Object::Global(global)) =
            (&self.objects[arguments], &self.objects[function])
        else {
            return self.wrong("a call of something that is not a function");
        };
        let argument = |i: usize| arguments.get(i).map(|&id| &self.objects[id]);
        let made = match (global, argument(0), argument(1)) {
            (Global::Reconstruct, Some(Object::Global(Global::NdArray)), _) => Object::Array(None),
            (Global::DType, Some(name), _) => match string(name) {
                Some(b"u1" | b"|u1" | b"uint8") => Object::ByteType,
                name => {
                    let name = name.unwrap_or_default().escape_ascii().to_string();
                    return self.wrong(format!("an array of `{name}`, not of bytes (`u1`)"));
                }
            },
            (Global::Encode, Some(Object::Text(text)), Some(Object::Text("latin1"))) => {
                self.owned_bytes += text.len();
                if self.owned_bytes > self.bytes.len() {
                    return self.wrong("strings that are larger than the file");
                }
                let byte = |c: char| u8::try_from(u32::from(c)).ok();
                match text.chars().map(byte).collect::<Option<Vec<u8>>>() {
                    Some(bytes) => Object::Bytes(Cow::Owned(bytes)),
                    None => return self.wrong("a byte string with a character above 255"),
                }
            }
            _ => return self.wrong("a call with arguments that are not known"),
        };
        self.push(made);
        Ok(())
    }

    /// Sets the state of a numpy object.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let top = self.top()?;
        let Object::Tuple(state) = &self.objects[state] else {
            return self.wrong("a state that is not a tuple");
        };
        match &self.objects[top] {
            // Byte order and fields; bytes have neither.
            Object::ByteType => Ok(()),
            Object::Array(None) => {
                let [_version, shape, kind, order, bytes] = state[..] else {
                    return self.wrong("an array's state has five parts");
                };
                let columns_first = match self.objects[order] {
                    Object::Bool(columns_first) => columns_first,
                    Object::Int(number) => number != 0,
                    _ => return self.wrong("an array without an order"),
                };
                let Object::Tuple(shape) = &self.objects[shape] else {
                    return self.wrong("an array without a shape");
                };
                if !matches!(self.objects[kind], Object::ByteType) {
                    return self.wrong("an array that is not of bytes");
                }
                self.objects[top] = Object::Array(Some(Array {
                    shape: shape.clone(),
                    columns_first,
                    bytes,
                }));
                Ok(())
            }
            _ => self.wrong("a state for something that has none"),
        }
    }
}
