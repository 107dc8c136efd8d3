//! Models whose tensors lie in several files, with an index that says which tensor is in which
//! (`model.safetensors.index.json`, as Hugging Face's `save_pretrained` writes it).
//!
//! Invariant: what is read are the files that the index names, which lie beside it; no tensor is in two of them. What a tower lacks,
//! or has no use for, it says itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use lift_files::Purpose;
use serde::Deserialize;
use tch::Tensor;

use crate::error::{Error, Result};

const HINT: &str = "fetch the model again: the index and its files belong together";

/// Whether the file is such an index by its name.
pub fn is_index(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".index.json")
}

/// The file of each tensor. `metadata` is of no use: sizes in it have been wrong in published models.
#[derive(Deserialize)]
pub struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Index {
    /// Reads an index.
    ///
    /// # Errors
    /// When it is no such JSON, lists nothing, or names a file that does not lie beside it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = lift_files::text(path, Purpose::Settings).map_err(Error::io(path))?;
        let index: Self = serde_json::from_str(&text)
            .map_err(|error| bad(path, &format!("no index of tensors: {error}")))?;
        if index.weight_map.is_empty() {
            return Err(bad(path, "weight_map: it lists no tensor"));
        }
        for (tensor, file) in &index.weight_map {
            if !is_plain_name(file) {
                let reason = format!(
                    "weight_map: {tensor} is in {file:?}, which is not the name of a file of tensors beside the index"
                );
                return Err(bad(path, &reason));
            }
        }
        Ok(index)
    }

    /// The files that it names, each once, in order.
    pub fn files(&self) -> BTreeSet<&str> {
        self.weight_map.values().map(String::as_str).collect()
    }

    /// All tensors of the files, each of which `read` reads.
    ///
    /// # Errors
    /// When a file is missing or damaged, or two hold the same tensor.
    pub fn tensors(
        &self,
        path: &Path,
        read: impl Fn(&Path) -> Result<BTreeMap<String, Tensor>>,
    ) -> Result<BTreeMap<String, Tensor>> {
        let mut all = BTreeMap::new();
        for file in self.files() {
            let part = path.with_file_name(file);
            if !part.exists() {
                return Err(Error::MissingFile {
                    path: part,
                    hint: format!("{} names it; {HINT}", path.display()),
                });
            }
            for (name, tensor) in read(&part)? {
                if all.insert(name.clone(), tensor).is_some() {
                    let reason = format!("{name} is in {file} and in a file before it");
                    return Err(bad(path, &reason));
                }
            }
        }
        Ok(all)
    }
}

/// Whether a model's file is there and, where it is an index, the files that it names.
pub fn is_whole(file: &Path) -> bool {
    if !file.is_file() || !is_index(file) {
        return file.is_file();
    }
    // What is wrong with an index is said when the model is loaded.
    Index::read(file).map_or(true, |index| {
        index
            .files()
            .iter()
            .all(|part| file.with_file_name(part).is_file())
    })
}

/// A name that leads nowhere but into the index's own folder, and not to another index.
fn is_plain_name(file: &str) -> bool {
    let is_tensors = [".safetensors", ".bin"]
        .iter()
        .any(|end| file.strip_suffix(end).is_some_and(|stem| !stem.is_empty()));
    is_tensors && !file.contains(['/', '\\', ':']) && !file.contains(char::is_control)
}

fn bad(path: &Path, reason: &str) -> Error {
    Error::BadConfig {
        path: path.into(),
        reason: format!("{reason}\nhint: {HINT}"),
    }
}
