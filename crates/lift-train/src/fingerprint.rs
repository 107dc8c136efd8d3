//! Hashes that tell whether two inputs are the same: of a file's bytes, of named tensors, of what a run starts from.
//!
//! XXH3-64 in 16 lower-case hex digits, as in the shards' manifest. It finds damage and mix-ups, it is no signature.
//! Invariant: a hash of tensors depends on names, kinds, shapes and values, not on the device or the file's layout.

use std::{hash::Hasher, path::Path};

use lift_models::{Normalisation, TextTower, Tokenizer, VisionTower};
use lift_shards::{
    Split,
    layout::{split_dir, split_dir_if_there},
    manifest::MANIFEST_FILE,
};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use twox_hash::XxHash3_64;

use crate::{
    config::TrainConfig,
    error::{Error, Result},
    file_hash::{digits, of_file},
};

/// What a run starts from: everything that is read and decides what comes out. What is not in files of older versions is
/// not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origins {
    /// Of the training shards' manifest, which holds hashes of every shard.
    pub shards: String,
    /// Of the test shards' manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<String>,
    /// Of the validation shards' manifest, where the run looks at them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val: Option<String>,
    /// Of the classifier file, or of what another run had tuned, whichever it starts from; in a checkpoint also of a classifier
    /// file that the run made itself.
    pub head: Option<String>,
    /// Of the image tower's shape and tensors as they are read, whatever file they come from.
    pub model: String,
    /// Of the constants that pixels are normalised with, whatever file they come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normalisation: Option<String>,
    /// Of the text tower and the tokenizer's file, where words are learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Origins {
    /// Hashes the inputs of a run; `text` is what learned words are encoded with.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(
        config: &TrainConfig,
        tower: &VisionTower,
        text: Option<(&TextTower, &Tokenizer)>,
    ) -> Result<Self> {
        Ok(Self {
            shards: of_split(config, Split::Train)?,
            test: of_split_if_there(config, Split::Test)?,
            val: of_split_if_there(config, Split::Val)?,
            head: config.start_file().as_deref().map(of_file).transpose()?,
            model: of_tower(tower)?,
            normalisation: Some(of_normalisation(&config.model, tower)?),
            text: text.map(of_text).transpose()?,
        })
    }

    /// Refuses other shards and another classifier file than these.
    ///
    /// # Errors
    /// When they differ, or cannot be read.
    pub fn require_files(&self, config: &TrainConfig) -> Result<()> {
        self.require_shards(config)?;
        for (known, split) in [(&self.test, Split::Test), (&self.val, Split::Val)] {
            let found = of_split_if_there(config, split)?;
            require_known(known, &found, &config.shards, &format!("{split} shards"))?;
        }
        match &config.start_file() {
            Some(path) => require_known(&self.head, &Some(of_file(path)?), path, HEAD),
            None => Ok(()),
        }
    }

    /// Refuses other training shards than these.
    ///
    /// # Errors
    /// When they differ, or cannot be read.
    pub fn require_shards(&self, config: &TrainConfig) -> Result<()> {
        let found = of_split(config, Split::Train)?;
        require(&self.shards, &found, &config.shards, "shards")
    }

    /// Refuses another image tower than this one, and other constants of its pixels.
    ///
    /// # Errors
    /// When they differ, or cannot be read.
    pub fn require_model(&self, model: &Path, tower: &VisionTower) -> Result<()> {
        require(&self.model, &of_tower(tower)?, model, "model")?;
        let found = Some(of_normalisation(model, tower)?);
        require_known(&self.normalisation, &found, model, CONSTANTS)
    }

    /// Refuses what was started from anything else.
    ///
    /// # Errors
    /// When it was.
    pub fn require_same(&self, found: &Self, config: &TrainConfig) -> Result<()> {
        let TrainConfig { shards, model, .. } = config;
        require(&self.shards, &found.shards, shards, "shards")?;
        require_known(&self.test, &found.test, shards, "test shards")?;
        require_known(&self.val, &found.val, shards, "val shards")?;
        require(&self.model, &found.model, model, "model")?;
        require_known(&self.normalisation, &found.normalisation, model, CONSTANTS)?;
        require_known(&self.text, &found.text, model, "text tower and tokenizer")?;
        match &config.start_file() {
            Some(path) => require_known(&self.head, &found.head, path, HEAD),
            None => Ok(()),
        }
    }

    /// Takes down the classifier file that the run has made itself.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn note_made_head(&mut self, path: &Path) -> Result<()> {
        self.head = Some(of_file(path)?);
        Ok(())
    }

    /// Refuses another file than the run has made itself.
    ///
    /// # Errors
    /// When it is another, or cannot be read.
    pub fn require_made_head(&self, path: &Path) -> Result<()> {
        require_known(&self.head, &Some(of_file(path)?), path, HEAD)
    }
}

const HEAD: &str = "classifier file";
const CONSTANTS: &str = "normalisation of pixels (preprocessor_config.json or config.json)";

/// The hash of tensors in the order given, which is part of it, begun with the bytes of `head`.
///
/// # Errors
/// When a tensor cannot be brought to the CPU.
pub fn of_tensors<'a>(
    head: &[u8],
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
) -> Result<String> {
    let mut hash = XxHash3_64::new();
    hash.write(head);
    let mut bytes = Vec::new();
    for (name, tensor) in tensors {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let shape = format!("\n{name} {:?} {:?}\n", tensor.kind(), tensor.size());
        hash.write(shape.as_bytes());
        bytes.resize(tensor.numel() * tensor.kind().elt_size_in_bytes(), 0);
        tensor
            .f_copy_data_u8(&mut bytes, tensor.numel())
            .map_err(lift_models::Error::from)?;
        hash.write(&bytes);
    }
    Ok(digits(&hash))
}

fn of_split(config: &TrainConfig, split: Split) -> Result<String> {
    of_file(&split_dir(&config.shards, split)?.join(MANIFEST_FILE))
}

/// None where the folder has no such split.
fn of_split_if_there(config: &TrainConfig, split: Split) -> Result<Option<String>> {
    let dir = split_dir_if_there(&config.shards, split)?;
    dir.map(|dir| of_file(&dir.join(MANIFEST_FILE))).transpose()
}

fn of_tower(tower: &VisionTower) -> Result<String> {
    of_named(&format!("{:?}", tower.config()), &tower.named_tensors())
}

fn of_normalisation(model: &Path, tower: &VisionTower) -> Result<String> {
    let normalisation = Normalisation::of_model(model, tower.usual_normalisation())?;
    let mut constants = XxHash3_64::new();
    for value in normalisation.mean.iter().chain(&normalisation.std) {
        constants.write(&value.to_le_bytes());
    }
    Ok(digits(&constants))
}

fn of_named(head: &str, tensors: &[(String, &Tensor)]) -> Result<String> {
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), *tensor));
    of_tensors(head.as_bytes(), tensors)
}

fn of_text((tower, tokenizer): (&TextTower, &Tokenizer)) -> Result<String> {
    let head = format!("{:?} {}", tower.config(), of_file(tokenizer.path())?);
    of_named(&head, &tower.named_tensors())
}

/// As [`require`], where both are known.
fn require_known(
    wanted: &Option<String>,
    found: &Option<String>,
    path: &Path,
    what: &str,
) -> Result<()> {
    match (wanted, found) {
        (Some(wanted), Some(found)) => require(wanted, found, path, what),
        _ => Ok(()),
    }
}

fn require(wanted: &str, found: &str, path: &Path, what: &str) -> Result<()> {
    if wanted == found {
        return Ok(());
    }
    Err(Error::BadRun {
        path: path.into(),
        reason: format!(
            "not the {what} that the run was started with (hash {found}, the run has {wanted})\n\
             hint: bring it back, or start a new run"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_tensor_counts() {
        let of =
            |name: &str, tensor: &Tensor| of_tensors(b"", [(name, tensor)].into_iter()).unwrap();
        let tensor = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]);
        let first = of("a", &tensor);
        assert_eq!(first, of("a", &tensor.copy().set_requires_grad(true)));
        let others = [
            of("b", &tensor),
            of("a", &tensor.view([2, 2])),
            of("a", &(&tensor + 1e-6)),
            of("a", &tensor.to_kind(tch::Kind::Double)),
            of_tensors(b"x", [("a", &tensor)].into_iter()).unwrap(),
        ];
        assert!(others.iter().all(|other| *other != first), "{others:?}");
    }
}
