//! From what `--model` names to the tensors: which file has them, or which index the files that have them.
//!
//! It knows layouts by name and no tower; [`files_of`] says what a copy of the model needs. Invariant: the first of the known files that is there, with all that it names, is read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tch::Tensor;

use crate::{
    checkpoint::{Layout, layout},
    error::{Error, Result},
    hub,
    parts::{Index, is_index, is_whole},
    pickle,
    tensor_file::TensorFile,
};

/// The tensors of a model folder or file, in the file's own names, and which layout that is.
pub fn read_model(model: &Path) -> Result<(PathBuf, Layout, BTreeMap<String, Tensor>)> {
    let file = model_file(model)?;
    let tensors = if is_index(&file) {
        Index::read(&file)?.tensors(&file, read_tensors)?
    } else {
        read_tensors(&file)?
    };
    let layout = layout(&file, &tensors)?;
    Ok((file, layout, tensors))
}

/// The files of a model, as they lie, and the names that they have in a folder of a model: that with the tensors (or the index and
/// those that it names), and of [`hub::BESIDE`] those that are there.
///
/// # Errors
/// When it is no model of this machine.
pub fn files_of(model: &Path) -> Result<Vec<(PathBuf, String)>> {
    let file = model_file(model)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let is_torch = pickle::is_pickle(&file) || name.ends_with(".bin.index.json");
    let name = match (hub::WEIGHTS.contains(&name.as_ref()), is_index(&file)) {
        (true, _) => name.into_owned(),
        (false, is_index) => hub::WEIGHTS[3 * usize::from(is_torch) + usize::from(is_index)].into(),
    };
    let mut files = vec![(file.clone(), name)];
    if is_index(&file) {
        let index = Index::read(&file)?;
        let parts = index.files().into_iter();
        files.extend(parts.map(|part| (file.with_file_name(part), part.to_owned())));
    }
    let beside = hub::BESIDE.map(|name| (file.with_file_name(name), name.to_owned()));
    files.extend(beside.into_iter().filter(|(path, _)| path.is_file()));
    Ok(files)
}

fn read_tensors(file: &Path) -> Result<BTreeMap<String, Tensor>> {
    if pickle::is_pickle(file) {
        pickle::read(file)
    } else {
        Ok(TensorFile::read(file)?.tensors)
    }
}

/// The file of `model` that has the tensors, or the index of those that have them.
fn model_file(model: &Path) -> Result<PathBuf> {
    let model = hub::find(model)?;
    if model.is_file() {
        return Ok(model);
    }
    let files = hub::WEIGHTS.map(|name| model.join(name));
    // Of an index whose files are not there, what is missing is said only where there is nothing else.
    let whole = files.iter().find(|file| is_whole(file));
    if let Some(file) = whole.or_else(|| files.iter().find(|file| file.is_file())) {
        return Ok(file.clone());
    }
    Err(match part_of_a_model(&model) {
        Some(part) => Error::BadConfig {
            path: part,
            reason: "one of several files of tensors, and the index that belongs to them is not beside it\n\
                     hint: fetch model.safetensors.index.json (or pytorch_model.bin.index.json) too"
                .into(),
        },
        None => Error::MissingFile {
            path: model.join(hub::WEIGHTS[0]),
            hint: hub::MODEL_HINT.into(),
        },
    })
}

/// The first file of a model that was published in several.
fn part_of_a_model(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut files = entries.filter_map(|entry| Some(entry.ok()?.path()));
    files.find(|file| file.to_string_lossy().contains("-00001-of-"))
}
