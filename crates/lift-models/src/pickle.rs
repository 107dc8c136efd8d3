//! State dicts that `torch.save` wrote (`pytorch_model.bin`), read without Python.
//!
//! Such a file is a zip archive: `data.pkl` is a pickle that says what the tensors are called and how they lie in their
//! storages, and each storage is an entry of raw bytes. A pickle is a program; here only what makes dictionaries and
//! tensors is understood ([`object`]), anything else is refused by name, and nothing is ever run. Files of PyTorch
//! before 1.6 and TorchScript archives are told apart and refused.
//!
//! Invariant: whatever the bytes are, the answer is a state dict or an error, and memory stays within a few times the
//! file's size and a fixed part for the pickle. Storages are read one at a time, so that a file is not held twice.

mod archive;
mod machine;
mod object;

use std::{
    collections::BTreeMap,
    io::{BufReader, Read, Seek},
    path::Path,
};

use tch::{Device, Tensor};

use self::{
    archive::Archive,
    object::{Id, Object, View},
};
use crate::error::{Error, Result};

/// Where programs that save more than a state dict put it.
const WRAPPERS: [&str; 2] = ["state_dict", "model"];

/// Tensors may share bytes, but not so that they become more than this many times the file.
const MAX_GROWTH: u64 = 4;

const DAMAGED: &str =
    "fetch the file again; a size that differs from the publisher's means a cut download";
const NOT_A_STATE_DICT: &str =
    "LIFT reads state dicts: torch.save(model.state_dict(), 'pytorch_model.bin')";
const CALLS: &str = "nothing in the file was run; a state dict calls only what makes torch's tensors, so do not load it \
    elsewhere unless you trust where it is from";

/// Whether the file's name is one that `torch.save` is usually given.
pub fn is_pickle(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    matches!(extension, Some("bin" | "pt" | "pth"))
}

/// Reads all tensors of a state dict onto the CPU, contiguous, in the kind they are stored in.
///
/// # Errors
/// When the file is missing, damaged, or holds anything but a state dict.
pub fn read(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let file = lift_files::open(path).map_err(Error::io(path))?;
    read_from(BufReader::new(file)).map_err(|problem| Error::BadPickle {
        path: path.into(),
        reason: problem.reason,
        hint: problem.hint.into(),
    })
}

/// Reads the dictionaries of these names in a file of `torch.save` that holds several, such as `{"tuner": {..}, "head": {..}}`; each
/// tensor is called `tuner.NAME`. Whatever else the file holds is not looked at.
///
/// # Errors
/// When the file is missing or damaged, has none of the dictionaries, or one of them holds anything but tensors.
pub fn torch_dictionaries(path: &Path, names: &[&str]) -> Result<BTreeMap<String, Tensor>> {
    let file = lift_files::open(path).map_err(Error::io(path))?;
    let read = || {
        let mut archive = Archive::open(BufReader::new(file))?;
        let pickle = archive.pickle()?;
        let (objects, root) = machine::run(&pickle)?;
        let mut views = BTreeMap::new();
        for &name in names {
            if let Some(items) = dictionary(&objects, root, name) {
                let inner = views_of(&objects, items)?;
                let inner = inner.into_iter();
                views.extend(inner.map(|(key, view)| (format!("{name}.{key}"), view)));
            }
        }
        if views.is_empty() {
            let reason = format!("it holds no tensor under {}", names.join(" or "));
            return Err(Problem::new(reason, NOT_A_STATE_DICT));
        }
        load(&mut archive, views)
    };
    read().map_err(|problem| Error::BadPickle {
        path: path.into(),
        reason: problem.reason,
        hint: problem.hint.into(),
    })
}

/// Why bytes are no state dict that can be read.
#[derive(Debug)]
struct Problem {
    reason: String,
    hint: &'static str,
}

impl Problem {
    fn new(reason: impl Into<String>, hint: &'static str) -> Self {
        let reason = reason.into();
        Self { reason, hint }
    }

    fn damaged(reason: impl Into<String>) -> Self {
        Self::new(reason, DAMAGED)
    }
}

impl From<tch::TchError> for Problem {
    fn from(error: tch::TchError) -> Self {
        Self::damaged(format!("libtorch: {error}"))
    }
}

fn read_from<R: Read + Seek>(source: R) -> std::result::Result<BTreeMap<String, Tensor>, Problem> {
    let mut archive = Archive::open(source)?;
    let pickle = archive.pickle()?;
    let (objects, root) = machine::run(&pickle)?;
    load(&mut archive, named_views(&objects, root)?)
}

/// The tensors of the state dict by name.
fn named_views<'o>(
    objects: &'o [Object<'o>],
    root: Id,
) -> std::result::Result<BTreeMap<String, &'o View<'o>>, Problem> {
    let Object::Dict(all) = &objects[root] else {
        let reason = "it holds something else than a dictionary";
        return Err(Problem::new(reason, NOT_A_STATE_DICT));
    };
    let mut items = all;
    let is_view = |(_, value): &(Id, Id)| matches!(objects[*value], Object::View(_));
    if !items.iter().any(is_view) {
        let mut wrapped = WRAPPERS.into_iter();
        items = wrapped
            .find_map(|name| dictionary(objects, root, name))
            .unwrap_or(items);
    }
    views_of(objects, items)
}

/// The items of the dictionary of this name in another one; a later entry replaces an earlier one, as in Python.
fn dictionary<'o>(objects: &'o [Object<'o>], root: Id, name: &str) -> Option<&'o Vec<(Id, Id)>> {
    let Object::Dict(items) = &objects[root] else {
        return None;
    };
    let is_it = |(key, _): &&(Id, Id)| matches!(objects[*key], Object::Text(k) if k == name);
    match &objects[items.iter().rev().find(is_it)?.1] {
        Object::Dict(inner) => Some(inner),
        _ => None,
    }
}

/// The tensors that these items are, by name. A later entry replaces an earlier one of the same name, as in Python.
fn views_of<'o>(
    objects: &'o [Object<'o>],
    items: &[(Id, Id)],
) -> std::result::Result<BTreeMap<String, &'o View<'o>>, Problem> {
    let not_one = |reason| Problem::new(reason, NOT_A_STATE_DICT);
    let mut views = BTreeMap::new();
    for &(key, value) in items {
        let Object::Text(name) = objects[key] else {
            return Err(not_one("a dictionary with names that are no text".into()));
        };
        let Object::View(view) = &objects[value] else {
            return Err(not_one(format!("{name:?} in it is no tensor")));
        };
        views.insert(name.to_owned(), &**view);
    }
    Ok(views)
}

/// The tensors, storage after storage.
fn load<R: Read + Seek>(
    archive: &mut Archive<R>,
    views: BTreeMap<String, &View<'_>>,
) -> std::result::Result<BTreeMap<String, Tensor>, Problem> {
    let mut left = archive.file_bytes().saturating_mul(MAX_GROWTH);
    let mut by_storage: BTreeMap<&str, Vec<(String, &View)>> = BTreeMap::new();
    for (name, view) in views {
        let bytes = bytes_of(view).map_err(|r| Problem::damaged(format!("{name}: {r}")))?;
        left = left.checked_sub(bytes).ok_or_else(|| {
            Problem::damaged(format!(
                "its tensors are more than {MAX_GROWTH} times as large as the file"
            ))
        })?;
        by_storage
            .entry(view.storage.key)
            .or_default()
            .push((name, view));
    }
    let mut tensors = BTreeMap::new();
    for (key, users) in by_storage {
        let storage = users[0].1.storage;
        if users.iter().any(|(_, view)| view.storage != storage) {
            let reason = format!("storage {key:?} is said to be of two kinds or lengths");
            return Err(Problem::damaged(reason));
        }
        let all = archive.storage(&storage)?;
        let is_shared = users.len() > 1;
        for (name, view) in users {
            let tensor = if view.size.contains(&0) {
                Tensor::f_zeros(&view.size, (storage.kind, Device::Cpu))?
            } else {
                all.f_as_strided(&view.size, &view.stride, view.offset)?
            };
            // No two tensors share memory here, and none keeps more of it alive than it needs.
            let is_all = !is_shared && tensor.numel() as i64 == storage.numel;
            let tensor = if tensor.is_contiguous() && !is_all {
                tensor.copy()
            } else {
                tensor.f_contiguous()?
            };
            tensors.insert(name, tensor);
        }
    }
    Ok(tensors)
}

/// The bytes that a tensor takes by itself, after its sizes, strides and offset are known to stay within the storage.
fn bytes_of(view: &View<'_>) -> std::result::Result<u64, String> {
    let (size, stride, numel) = (&view.size, &view.stride, view.storage.numel);
    let shape = format!(
        "shape {size:?} with strides {stride:?} from {}",
        view.offset
    );
    let is_negative = |numbers: &[i64]| numbers.iter().any(|&n| n < 0);
    if size.len() != stride.len() || is_negative(size) || is_negative(stride) || view.offset < 0 {
        return Err(format!("{shape} cannot be"));
    }
    // Zeros do not hide the overflow of the others, which libtorch would not see either.
    let product = size
        .iter()
        .try_fold(1_i64, |product, &n| product.checked_mul(n.max(1)));
    let last = size
        .iter()
        .zip(stride)
        .try_fold(view.offset, |last, (&n, &step)| {
            last.checked_add((n - 1).max(0).checked_mul(step)?)
        });
    let (Some(elements), Some(last)) = (product, last) else {
        return Err(format!("{shape} is too large"));
    };
    if size.contains(&0) {
        return Ok(0);
    }
    // Repeated values (a stride of 0) may fill the storage's length but not more: memory stays within bounds.
    if last >= numel || elements > numel {
        return Err(format!(
            "{shape} does not fit into its storage of {numel} values"
        ));
    }
    Ok(elements as u64 * view.storage.kind.elt_size_in_bytes() as u64)
}

#[cfg(test)]
mod tests;
