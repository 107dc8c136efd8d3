//! What a state dict's pickle is made of, and the four functions that make it.
//!
//! `collections.OrderedDict()`, `torch._utils._rebuild_tensor_v2` and `_rebuild_parameter`, and the reference to a
//! storage. None of them does anything but describe: the description is not yet held against the storage.

use tch::Kind;

/// More than any tensor of a model has; bounds what one call can copy.
const MAX_DIMENSIONS: usize = 16;

/// An object's place in the list of them all.
pub type Id = usize;

/// What a pickle made.
#[derive(Debug)]
pub enum Object<'a> {
    /// Nothing, truth values, fractions and bytes, none of which is looked at.
    Other,
    Int(i64),
    Text(&'a str),
    /// Its items are not kept: no list says anything about a tensor.
    List,
    Tuple(Vec<Id>),
    /// Keys and values in their order, doubles too.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Storage<'a>),
    /// Boxed: it is the largest by far, and the rarest.
    View(Box<View<'a>>),
}

/// The functions and classes that may be named.
#[derive(Clone, Copy, Debug)]
pub enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// The class of the storages of this kind.
    StorageOf(Kind),
}

/// Numbers of one kind in an entry of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage<'a> {
    pub kind: Kind,
    /// Name of the entry.
    pub key: &'a str,
    /// How many numbers.
    pub numel: i64,
}

/// A tensor as the pickle describes it: unchecked.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub storage: Storage<'a>,
    pub offset: i64,
    pub size: Vec<i64>,
    pub stride: Vec<i64>,
}

impl Global {
    /// The function or class of this name, if it may be called.
    pub fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", class) => storage_kind(class).map(Self::StorageOf),
            _ => None,
        }
    }
}

/// The kind of the numbers in a class of storages of the module `torch`.
fn storage_kind(class: &str) -> Option<Kind> {
    Some(match class {
        "FloatStorage" => Kind::Float,
        "HalfStorage" => Kind::Half,
        "BFloat16Storage" => Kind::BFloat16,
        "DoubleStorage" => Kind::Double,
        "LongStorage" => Kind::Int64,
        "IntStorage" => Kind::Int,
        "ShortStorage" => Kind::Int16,
        "CharStorage" => Kind::Int8,
        "ByteStorage" => Kind::Uint8,
        "BoolStorage" => Kind::Bool,
        _ => return None,
    })
}

/// What a function makes of a tuple of arguments.
pub fn call<'a>(objects: &[Object<'a>], function: Id, arguments: Id) -> Result<Object<'a>, String> {
    let (&Object::Global(function), Object::Tuple(arguments)) =
        (&objects[function], &objects[arguments])
    else {
        return Err("a call of something that is no function".into());
    };
    match (function, arguments.as_slice()) {
        (Global::OrderedDict, []) => Ok(Object::Dict(Vec::new())),
        // The last two are whether it learns, and hooks, which say nothing about the values.
        (Global::RebuildTensor, &[storage, offset, size, stride, _, _]) => {
            let (&Object::Storage(storage), &Object::Int(offset)) =
                (&objects[storage], &objects[offset])
            else {
                return Err("a tensor without a storage or an offset".into());
            };
            Ok(Object::View(Box::new(View {
                storage,
                offset,
                size: numbers(objects, size)?,
                stride: numbers(objects, stride)?,
            })))
        }
        (Global::RebuildTensor, [_, _, _, _, _, _, _]) => {
            Err("a tensor with metadata (it is negated or conjugated) is not read".into())
        }
        (Global::RebuildParameter, &[data, _, _]) => match &objects[data] {
            Object::View(view) => Ok(Object::View(view.clone())),
            _ => Err("a parameter without a tensor".into()),
        },
        _ => Err("a call with arguments that are not known".into()),
    }
}

fn numbers(objects: &[Object<'_>], tuple: Id) -> Result<Vec<i64>, String> {
    let Object::Tuple(items) = &objects[tuple] else {
        return Err("a shape that is no tuple".into());
    };
    if items.len() > MAX_DIMENSIONS {
        return Err(format!("a tensor of {} dimensions", items.len()));
    }
    let number = |&id: &Id| match objects[id] {
        Object::Int(number) => Ok(number),
        _ => Err("a shape that is not of whole numbers".to_owned()),
    };
    items.iter().map(number).collect()
}

/// `('storage', class, key, device, numel)`, torch's name for what lies beside the pickle.
pub fn storage<'a>(objects: &[Object<'a>], name: Id) -> Option<Storage<'a>> {
    let Object::Tuple(parts) = &objects[name] else {
        return None;
    };
    let &[tag, class, key, _device, numel] = parts.as_slice() else {
        return None;
    };
    match (
        &objects[tag],
        &objects[class],
        &objects[key],
        &objects[numel],
    ) {
        (
            Object::Text("storage"),
            &Object::Global(Global::StorageOf(kind)),
            &Object::Text(key),
            &Object::Int(numel),
        ) => Some(Storage { kind, key, numel }),
        _ => None,
    }
}
