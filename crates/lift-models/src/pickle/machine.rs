//! The stack machine that a pickle is a program for, with the few instructions that a state dict needs.
//!
//! It makes objects and calls nothing but what [`object`] knows; a function of another name is refused before it could
//! be called. Invariant: an opcode makes at most one object, whose size is bounded or paid for by bytes of the pickle,
//! and takes from the stack only what was put there after the last mark; nothing here calls itself.

use std::collections::HashMap;

use super::{
    CALLS, Problem,
    object::{self, Global, Id, Object},
};

type Result<T> = std::result::Result<T, Problem>;

/// A tensor takes about 40.
const MAX_OPCODES: usize = 1 << 20;

/// Runs a pickle; its objects, and the one that is left at the end.
pub fn run(bytes: &[u8]) -> Result<(Vec<Object<'_>>, Id)> {
    let mut machine = Machine {
        bytes,
        at: 0,
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    for _ in 0..MAX_OPCODES {
        if let Some(root) = machine.step()? {
            return Ok((machine.objects, root));
        }
    }
    machine.damaged("too many opcodes")
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    /// Runs one opcode; the pickle's object after the last.
    fn step(&mut self) -> Result<Option<Id>> {
        let opcode = self.byte()?;
        match opcode {
            b'.' => return self.pop().map(Some),
            0x80 => match self.byte()? {
                2..=5 => {}
                other => return self.damaged(format!("protocol {other} is not known")),
            },
            0x95 => drop(self.take(8)?), // a frame's length
            b'N' | 0x88 | 0x89 => self.push(Object::Other),
            b'G' => {
                self.take(8)?;
                self.push(Object::Other);
            }
            b'C' | b'B' => {
                let length = self.length(opcode == b'C')?;
                self.take(length)?;
                self.push(Object::Other);
            }
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
            0x8c | b'X' => self.text(opcode == 0x8c)?,
            b']' => self.push(Object::List),
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
                self.pop()?;
                self.is_list()?;
            }
            b'e' => {
                self.pop_to_mark()?;
                self.is_list()?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend_dict(&items)?;
            }
            b'q' | b'r' => {
                let index = self.index(opcode == b'q')?;
                self.memoize(index)?;
            }
            0x94 => self.memoize(self.memo.len() as u32)?,
            b'h' | b'j' => {
                let index = self.index(opcode == b'h')?;
                match self.memo.get(&index) {
                    Some(&id) => self.stack.push(id),
                    None => return self.damaged(format!("object {index} is not known")),
                }
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.objects[module], &self.objects[name]) {
                    (&Object::Text(module), &Object::Text(name)) => self.global(module, name)?,
                    _ => return self.damaged("a function whose name is no text"),
                }
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.storage()?,
            other => {
                let name = opcode_name(other).map_or(format!("{other:#04x}"), str::to_owned);
                let reason = format!("it uses the pickle opcode {name}, which LIFT refuses");
                return Err(Problem::new(reason, CALLS));
            }
        }
        Ok(None)
    }

    fn damaged<T>(&self, reason: impl std::fmt::Display) -> Result<T> {
        let at = self.at.saturating_sub(1);
        Err(Problem::damaged(format!("data.pkl, byte {at}: {reason}")))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.bytes[self.at..].get(..length) {
            Some(bytes) => {
                self.at += length;
                Ok(bytes)
            }
            None => {
                self.at = self.bytes.len();
                self.damaged("it ends too early")
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

    /// A number without sign in one byte or four.
    fn index(&mut self, is_short: bool) -> Result<u32> {
        if is_short {
            Ok(self.byte()?.into())
        } else {
            Ok(u32::from_le_bytes(self.array()?))
        }
    }

    fn length(&mut self, is_short: bool) -> Result<usize> {
        Ok(self.index(is_short)? as usize)
    }

    fn text(&mut self, is_short: bool) -> Result<()> {
        let length = self.length(is_short)?;
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => self.push(Object::Text(text)),
            Err(_) => return self.damaged("text that is not UTF-8"),
        }
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(256).position(|&byte| byte == b'\n');
        match length.map(|length| std::str::from_utf8(&rest[..length])) {
            Some(Ok(name)) => {
                self.at += name.len() + 1;
                Ok(name)
            }
            _ => self.damaged("a name without an end"),
        }
    }

    fn long(&mut self) -> Result<()> {
        let length = self.byte()?.into();
        let bytes = self.take(length)?;
        if length > 8 {
            return self.damaged("a whole number of more than 64 bits");
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

    fn pop(&mut self) -> Result<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => self.damaged("an opcode without its operand"),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>> {
        match self.marks.pop() {
            Some(mark) => Ok(self.stack.split_off(mark)),
            None => self.damaged("items without their start"),
        }
    }

    fn is_list(&self) -> Result<()> {
        match self.objects[self.top()?] {
            Object::List => Ok(()),
            _ => self.damaged("items for something that is no list"),
        }
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<()> {
        let top = self.top()?;
        let (pairs, []) = items.as_chunks::<2>() else {
            return self.damaged("a key without its value");
        };
        match &mut self.objects[top] {
            Object::Dict(dict) => {
                dict.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => self.damaged("items for something that is no dictionary"),
        }
    }

    fn memoize(&mut self, index: u32) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let Some(global) = Global::named(module, name) else {
            // The names may be anything, and long.
            let shown = format!("{module}.{name}")
                .chars()
                .take(200)
                .collect::<String>();
            let reason = format!("it wants to call `{}`", shown.escape_debug());
            return Err(Problem::new(reason, CALLS));
        };
        self.push(Object::Global(global));
        Ok(())
    }

    fn reduce(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        match object::call(&self.objects, function, arguments) {
            Ok(made) => self.push(made),
            Err(reason) => return self.damaged(reason),
        }
        Ok(())
    }

    /// Attributes of an object: a state dict has the versions of its modules, which say nothing about the tensors.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.objects[self.top()?] {
            Object::Dict(_) => Ok(()),
            _ => self.damaged("a state for something that has none"),
        }
    }

    fn storage(&mut self) -> Result<()> {
        let name = self.pop()?;
        match object::storage(&self.objects, name) {
            Some(storage) => self.push(Object::Storage(storage)),
            None => return self.damaged("a reference to something that is no storage"),
        }
        Ok(())
    }
}

/// Opcodes that make objects of classes or look functions up in other ways.
fn opcode_name(opcode: u8) -> Option<&'static str> {
    Some(match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        b'P' => "PERSID",
        0x82..=0x84 => "EXT",
        0x97 | 0x98 => "NEXT_BUFFER",
        _ => return None,
    })
}
