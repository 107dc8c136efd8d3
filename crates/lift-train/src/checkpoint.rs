//! What a run needs to go on where it stood: `checkpoint/latest.safetensors` in its folder.
//!
//! It holds what is tuned (with AFT's masks), the optimiser's state, the position in data and log, the settings and the
//! hashes of what the run was started from. There is no generator to keep: order and crops are functions of seed,
//! epoch and image id. Invariant: the file is replaced whole, and its hash covers every tensor and every entry.
//! [`kept`] has the older ones that a run keeps beside it.

pub mod kept;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use lift_models::TensorFile;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tch::Tensor;

use crate::{
    config::TrainConfig,
    error::{Error, Result},
    figures::Figures,
    fingerprint::{Origins, of_tensors},
    validation::Validated,
};

const FORMAT: &str = "lift-checkpoint/2";
const FOLDER: &str = "checkpoint";
const MODEL: &str = "model.";
const OPTIMISER: &str = "optimiser.";
const BEST: &str = "best.";

/// Settings that may differ in a resumed run: where things lie, how they are computed and judged.
const FREE: [&str; 22] = [
    "shards",
    "model",
    "head",
    "out",
    "device",
    "threads",
    "prefetch",
    "cache",
    "checkpoint_every",
    "checkpoint_minutes",
    "tte",
    "expand",
    "max_memory",
    "accumulate",
    "eval_batch_size",
    "allow_identical",
    "val_every",
    "monitor",
    "keep",
    "patience",
    "keep_checkpoints",
    "tensorboard",
];

/// Settings that may change while a run goes on, and change what comes out: the run's `provenance.json` records them.
const CHANGEABLE: [&str; 4] = ["epochs", "lr", "head_lr", "clip_grad"];

/// Where a run stands, between two steps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Of the next step, from 0; the number of epochs when all are done.
    pub epoch: usize,
    /// Rows of that epoch's order that are done.
    pub rows_done: usize,
    /// Steps done.
    pub step: usize,
    /// Length of `metrics.jsonl`.
    pub log_bytes: u64,
    /// The steps since the last line of the log.
    pub window: Figures,
    /// The lines of this epoch.
    pub epoch_so_far: Figures,
    /// The epochs before.
    pub total: Figures,
    /// Mean loss of the last whole epoch.
    pub last_epoch_loss: Option<f64>,
    /// What validation has found.
    #[serde(default)]
    pub validated: Validated,
}

/// A checkpoint as it was read.
#[derive(Debug)]
pub struct Checkpoint {
    /// Settings of the run.
    pub config: TrainConfig,
    /// What it was started from.
    pub origins: Origins,
    /// Where it stands.
    pub position: Position,
    /// In the names of [`crate::model::TunedModel::state`].
    pub model: BTreeMap<String, Tensor>,
    /// In the names of the optimiser.
    pub optimiser: BTreeMap<String, Tensor>,
    /// The state that was the best on the `val` split, in the names of `model`; empty where none is kept.
    pub best: BTreeMap<String, Tensor>,
}

impl Checkpoint {
    /// Reads the checkpoint of a run.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn read(run: &Path) -> Result<Self> {
        let path = path_in(run);
        let bad = |reason: String| Error::BadRun {
            path: path.clone(),
            reason,
        };
        if !path.is_file() {
            return Err(bad(
                "no checkpoint, though the run has begun\nhint: remove the folder and start again"
                    .into(),
            ));
        }
        let mut file = TensorFile::read(&path).map_err(|error| match error {
            lift_models::Error::BadSafetensors { reason, .. } => bad(format!(
                "not a whole checkpoint: {reason}\nhint: remove the folder and start the run again"
            )),
            other => other.into(),
        })?;
        let seal = file.metadata.remove("xxh3");
        if file
            .metadata
            .get("format")
            .is_none_or(|format| format != FORMAT)
        {
            return Err(bad(format!("no checkpoint of this version ({FORMAT})")));
        }
        if seal != Some(hash(&file)?) {
            return Err(bad(
                "its own hash differs: it has changed since it was written\nhint: start the run again".into(),
            ));
        }
        let entry = |key: &str| file.metadata.get(key).map_or("", String::as_str);
        let unreadable = |key: &str, e: &dyn std::fmt::Display| bad(format!("{key}: {e}"));
        let config = toml::from_str(entry("config")).map_err(|e| unreadable("config", &e))?;
        let origins =
            serde_json::from_str(entry("origins")).map_err(|e| unreadable("origins", &e))?;
        let position =
            serde_json::from_str(entry("position")).map_err(|e| unreadable("position", &e))?;
        let [mut model, mut optimiser, mut best] = [const { BTreeMap::new() }; 3];
        for (name, tensor) in file.tensors {
            if let Some(name) = name.strip_prefix(MODEL) {
                model.insert(name.to_owned(), tensor);
            } else if let Some(name) = name.strip_prefix(OPTIMISER) {
                optimiser.insert(name.to_owned(), tensor);
            } else if let Some(name) = name.strip_prefix(BEST) {
                best.insert(name.to_owned(), tensor);
            }
        }
        Ok(Self {
            config,
            origins,
            position,
            model,
            optimiser,
            best,
        })
    }

    /// Refuses settings that would lead somewhere else than those the run was started with; what may change, and has, is
    /// returned: its name, how it was and how it is now.
    ///
    /// # Errors
    /// When another one differs; the message names it.
    pub fn changes(&self, run: &Path, config: &TrainConfig) -> Result<Vec<(String, Value, Value)>> {
        let table = |config| match serde_json::to_value(config) {
            Ok(Value::Object(table)) => table,
            _ => unreachable!("settings are a table"),
        };
        let (ours, theirs) = (table(&self.config), table(config));
        let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let value = |table: &Map<String, Value>, key| table.get(key).cloned().unwrap_or_default();
        let mut changed = Vec::new();
        for key in keys {
            let (old, new) = (value(&ours, key), value(&theirs, key));
            if old == new || FREE.contains(&key.as_str()) {
                continue;
            }
            if !CHANGEABLE.contains(&key.as_str()) {
                let shown = |value: Value| match value {
                    Value::Null => "not set".to_owned(),
                    value => value.to_string(),
                };
                return Err(Error::BadRun {
                    path: run.join("config.toml"),
                    reason: format!(
                        "{key} is {}, the checkpoint has {}\nhint: undo the change, or start a new run",
                        shown(new),
                        shown(old)
                    ),
                });
            }
            changed.push((key.clone(), old, new));
        }
        Ok(changed)
    }
}

/// Writes the checkpoints of a run, and says when.
#[derive(Debug)]
pub struct CheckpointWriter {
    run: PathBuf,
    config: String,
    origins: String,
    every: usize,
    interval: Duration,
    last: Instant,
    kept: usize,
}

/// The tensors of a checkpoint, as [`Checkpoint`] has them.
#[derive(Clone, Copy)]
pub struct States<'a> {
    /// What is tuned, and the constants.
    pub model: &'a BTreeMap<String, Tensor>,
    /// The optimiser's.
    pub optimiser: &'a BTreeMap<String, Tensor>,
    /// The best state on `val`, where one is kept.
    pub best: &'a BTreeMap<String, Tensor>,
}

impl CheckpointWriter {
    /// For a run with these settings that was started from `origins`.
    pub fn new(config: &TrainConfig, origins: &Origins) -> Self {
        Self {
            run: config.out.clone(),
            config: toml::to_string(config).expect("settings are a table"),
            origins: serde_json::to_string(origins).expect("plain data"),
            every: config.checkpoint_every,
            interval: Duration::from_secs_f64(config.checkpoint_minutes * 60.0),
            last: Instant::now(),
            kept: config.keep_checkpoints,
        }
    }

    /// Whether the steps or the minutes since the last checkpoint are up; zero of either never is.
    pub fn is_due(&self, step: usize) -> bool {
        let by_steps = self.every > 0 && step.is_multiple_of(self.every);
        by_steps || (!self.interval.is_zero() && self.last.elapsed() >= self.interval)
    }

    /// Replaces the checkpoint.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn save(&mut self, position: &Position, tensors: States<'_>) -> Result<()> {
        let path = path_in(&self.run);
        let folder = self.run.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::io(folder))?;
        let mut file = TensorFile::default();
        let States {
            model,
            optimiser,
            best,
        } = tensors;
        for (prefix, tensors) in [(MODEL, model), (OPTIMISER, optimiser), (BEST, best)] {
            let named = tensors.iter();
            let named = named.map(|(name, tensor)| (format!("{prefix}{name}"), tensor.detach()));
            file.tensors.extend(named);
        }
        let step = position.step;
        let position = serde_json::to_string(position).expect("plain data");
        for (key, value) in [
            ("format", FORMAT),
            ("config", &self.config),
            ("origins", &self.origins),
            ("position", &position),
        ] {
            file.metadata.insert(key.into(), value.into());
        }
        let seal = hash(&file)?;
        file.metadata.insert("xxh3".into(), seal);
        file.write(&path)?;
        if self.kept > 0 {
            kept::keep(&path, step, self.kept)?;
        }
        self.last = Instant::now();
        Ok(())
    }
}

/// Removes the checkpoint of a run that is finished, and its folder where nobody has put others beside it.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(run: &Path) -> Result<()> {
    let (path, folder) = (path_in(run), run.join(FOLDER));
    fs::remove_file(&path).map_err(Error::io(path))?;
    match fs::remove_dir(&folder) {
        Err(e) if e.kind() != io::ErrorKind::DirectoryNotEmpty => Err(Error::io(folder)(e)),
        _ => Ok(()),
    }
}

/// The file of a run's checkpoint.
pub fn path_in(run: &Path) -> PathBuf {
    run.join(FOLDER).join("latest.safetensors")
}

/// Of all entries and tensors.
fn hash(file: &TensorFile) -> Result<String> {
    let entries = serde_json::to_vec(&file.metadata).expect("plain data");
    of_tensors(
        &entries,
        file.tensors.iter().map(|(name, t)| (name.as_str(), t)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainArgs;

    fn config(out: &Path) -> TrainConfig {
        let path = |name: &str| Some(PathBuf::from(name));
        TrainArgs {
            shards: path("s"),
            model: path("m"),
            head: path("h"),
            out: Some(out.into()),
            ..TrainArgs::default()
        }
        .resolve()
        .unwrap()
    }

    fn save(config: &TrainConfig) {
        let origins = Origins {
            shards: "1".into(),
            head: Some("2".into()),
            model: "3".into(),
            ..Origins::default()
        };
        let tensors = |name: &str| {
            let tensor = Tensor::from_slice(&[0.1f32, f32::MIN_POSITIVE, -0.0]);
            BTreeMap::from([(name.to_owned(), tensor)])
        };
        let position = Position {
            epoch: 3,
            window: Figures {
                loss_sum: 0.1,
                ..Figures::default()
            },
            ..Position::default()
        };
        let mut keeper = CheckpointWriter::new(config, &origins);
        let states = States {
            model: &tensors("a"),
            optimiser: &tensors("b"),
            best: &tensors("c"),
        };
        keeper.save(&position, states).unwrap();
    }

    #[test]
    fn a_checkpoint_is_read_back_to_the_last_bit() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        save(&config);
        let read = Checkpoint::read(dir.path()).unwrap();
        assert_eq!(read.config, config);
        assert_eq!(
            (read.position.epoch, read.position.window.loss_sum),
            (3, 0.1)
        );
        let bits = |t: &Tensor| {
            Vec::<f32>::try_from(t)
                .unwrap()
                .into_iter()
                .map(f32::to_bits)
                .collect::<Vec<_>>()
        };
        let wanted = [0.1f32, f32::MIN_POSITIVE, -0.0].map(f32::to_bits);
        assert_eq!(bits(&read.model["a"]), wanted);
        assert_eq!(bits(&read.optimiser["b"]), wanted);
        assert_eq!(bits(&read.best["c"]), wanted);
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        save(&config(dir.path()));
        let path = path_in(dir.path());
        let bytes = fs::read(&path).unwrap();
        for i in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[i] ^= 1;
            fs::write(&path, changed).unwrap();
            let read = Checkpoint::read(dir.path());
            // Blanks that pad the header carry nothing.
            assert!(
                read.is_err() || bytes[i] == b' ',
                "byte {i} of {}",
                bytes.len()
            );
        }
    }

    #[test]
    fn settings_that_change_the_result_must_stay() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        save(&config);
        let checkpoint = Checkpoint::read(dir.path()).unwrap();
        let moved = TrainConfig {
            shards: "elsewhere".into(),
            threads: 7,
            ..config.clone()
        };
        assert_eq!(checkpoint.changes(dir.path(), &moved).unwrap(), []);
        let other = TrainConfig {
            tau: 0.5,
            ..config.clone()
        };
        let message = checkpoint
            .changes(dir.path(), &other)
            .unwrap_err()
            .to_string();
        assert!(
            message.ends_with("config.toml: tau is 0.5, the checkpoint has 1.0\nhint: undo the change, or start a new run"),
            "{message}"
        );
        let longer = TrainConfig {
            epochs: 8,
            clip_grad: Some(1.0),
            ..config
        };
        let changed = [
            ("clip_grad".to_owned(), Value::Null, 1.0.into()),
            ("epochs".to_owned(), 5.into(), 8.into()),
        ];
        assert_eq!(checkpoint.changes(dir.path(), &longer).unwrap(), changed);
    }

    #[test]
    fn checkpoints_are_due_by_steps_and_by_minutes() {
        let dir = tempfile::tempdir().unwrap();
        let due = |every, minutes, step| {
            let config = TrainConfig {
                checkpoint_every: every,
                checkpoint_minutes: minutes,
                ..config(dir.path())
            };
            CheckpointWriter::new(&config, &Origins::default()).is_due(step)
        };
        assert!(due(3, 0.0, 6) && !due(3, 0.0, 7) && !due(0, 0.0, 6));
        assert!(due(0, 1e-10, 7) && !due(0, 60.0, 7));
    }
}
