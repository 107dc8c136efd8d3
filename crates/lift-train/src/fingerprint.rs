//! Hashes that tell whether two inputs are the same: of a file's bytes, of named tensors, of what a run starts from.
//!
//! XXH3-64 in 16 lower-case hex digits, as in the shards' manifest. It finds damage and mix-ups, it is no signature.
//! Invariant: a hash of tensors depends on names, kinds, shapes and values, not on the device or the file's layout.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use lift_clip::VisionTower;
use lift_data::{Split, layout::split_dir, manifest::MANIFEST_FILE};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use xxhash_rust::xxh3::Xxh3;

use crate::{
    config::TrainConfig,
    error::{Error, Result},
};

/// What a run starts from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origins {
    /// Of the training shards' manifest, which holds hashes of every shard.
    pub shards: String,
    /// Of the classifier file; none where the run made its own.
    pub head: Option<String>,
    /// Of the image tower's shape and tensors as they are read, whatever file they come from.
    pub model: String,
}

impl Origins {
    /// Hashes the inputs of a run.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(config: &TrainConfig, tower: &VisionTower) -> Result<Self> {
        Ok(Self {
            shards: of_file(&manifest_of(config)?)?,
            head: config.head.as_deref().map(of_file).transpose()?,
            model: of_tower(tower)?,
        })
    }

    /// Refuses other shards and another classifier file than these.
    ///
    /// # Errors
    /// When they differ, or cannot be read.
    pub fn require_files(&self, config: &TrainConfig) -> Result<()> {
        self.require_shards(config)?;
        match (&self.head, &config.head) {
            (Some(wanted), Some(path)) => require(wanted, &of_file(path)?, path, "classifier file"),
            _ => Ok(()),
        }
    }

    /// Refuses other training shards than these.
    ///
    /// # Errors
    /// When they differ, or cannot be read.
    pub fn require_shards(&self, config: &TrainConfig) -> Result<()> {
        let found = of_file(&manifest_of(config)?)?;
        require(&self.shards, &found, &config.shards, "shards")
    }

    /// Refuses what was started from anything else.
    ///
    /// # Errors
    /// When it was.
    pub fn require_same(&self, found: &Self, config: &TrainConfig) -> Result<()> {
        require(&self.shards, &found.shards, &config.shards, "shards")?;
        require(&self.model, &found.model, &config.model, "model")?;
        match (&self.head, &found.head, &config.head) {
            (Some(wanted), Some(found), Some(path)) => {
                require(wanted, found, path, "classifier file")
            }
            _ => Ok(()),
        }
    }

    /// Refuses another model than this.
    ///
    /// # Errors
    /// When it differs.
    pub fn require_model(&self, config: &TrainConfig, tower: &VisionTower) -> Result<()> {
        require(&self.model, &of_tower(tower)?, &config.model, "model")
    }
}

/// The hash of tensors in the order given, which is part of it, begun with the bytes of `head`.
///
/// # Errors
/// When a tensor cannot be brought to the CPU.
pub fn of_tensors<'a>(
    head: &[u8],
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
) -> Result<String> {
    let mut hash = Xxh3::new();
    hash.update(head);
    let mut bytes = Vec::new();
    for (name, tensor) in tensors {
        let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
        let shape = format!("\n{name} {:?} {:?}\n", tensor.kind(), tensor.size());
        hash.update(shape.as_bytes());
        bytes.resize(tensor.numel() * tensor.kind().elt_size_in_bytes(), 0);
        tensor
            .f_copy_data_u8(&mut bytes, tensor.numel())
            .map_err(lift_clip::Error::from)?;
        hash.update(&bytes);
    }
    Ok(digits(&hash))
}

fn manifest_of(config: &TrainConfig) -> Result<PathBuf> {
    Ok(split_dir(&config.shards, Split::Train)?.join(MANIFEST_FILE))
}

fn of_tower(tower: &VisionTower) -> Result<String> {
    let shape = format!("{:?}", tower.config());
    let tensors = tower.named_tensors();
    of_tensors(
        shape.as_bytes(),
        tensors.iter().map(|(name, t)| (name.as_str(), *t)),
    )
}

fn of_file(path: &Path) -> Result<String> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path).map_err(Error::io(path))?);
    let mut hash = Xxh3::new();
    loop {
        let bytes = reader.fill_buf().map_err(Error::io(path))?;
        if bytes.is_empty() {
            return Ok(digits(&hash));
        }
        hash.update(bytes);
        let read = bytes.len();
        reader.consume(read);
    }
}

fn digits(hash: &Xxh3) -> String {
    format!("{:016x}", hash.digest())
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

    #[test]
    fn a_files_hash_is_that_of_its_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        // python: xxhash.xxh3_64_hexdigest(b'{\n  "a": 1,\n  "self_xxh3": "')
        std::fs::write(&path, "{\n  \"a\": 1,\n  \"self_xxh3\": \"").unwrap();
        assert_eq!(of_file(&path).unwrap(), "a4fd3a99733fa6bb");
    }
}
