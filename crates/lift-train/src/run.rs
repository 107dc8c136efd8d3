//! A run's folder: `config.toml`, `metrics.jsonl`, `tuned.safetensors`, `report.json`; `head.safetensors` where `--init`
//! made the classifier, and `tensorboard/` where it was asked for.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use lift_files::Purpose;
use lift_models::{Head, TensorFile, not_finite};
use lift_shards::atomic;

use crate::{
    checkpoint,
    config::{TrainConfig, start::TUNED},
    error::{Error, Result},
    model::TunedModel,
    place,
    provenance::FILE as PROVENANCE,
};

const FORMAT: &str = "lift-tuned/1";
const CONFIG: &str = "config.toml";
/// The classifier file that `--init` made.
pub const MADE_HEAD: &str = "head.safetensors";

/// Makes the folder of a new run, or takes that of one that ended before its first checkpoint, and writes the resolved
/// settings into it, with absolute paths.
///
/// # Errors
/// When there is something else in it already, or another process is about to train in it.
pub fn create(config: &TrainConfig) -> Result<()> {
    let out = &config.out;
    require_free(out)?;
    fs::create_dir_all(out).map_err(Error::io(out))?;
    // Held while the settings are replaced, so that of two processes that begin anew one is refused.
    let _lock = if out.join(CONFIG).exists() {
        Some(lock(out)?)
    } else {
        None
    };
    write_config(config)
}

/// Writes the resolved settings into the run's folder, with absolute paths.
///
/// # Errors
/// When it cannot be written.
pub fn write_config(config: &TrainConfig) -> Result<()> {
    let out = &config.out;
    let config = place::absolute(config)?;
    let text = toml::to_string(&config)
        .map_err(|e| Error::Config(format!("the settings cannot be written: {e}")))?;
    Ok(atomic::write(&out.join(CONFIG), text.as_bytes())?)
}

/// The settings of a finished run.
///
/// # Errors
/// When the folder has none.
pub fn finished_config(run: &Path) -> Result<TrainConfig> {
    let config = read_config(run)?;
    match without_report(run) {
        Some(reason) => Err(Error::BadRun {
            path: run.into(),
            reason,
        }),
        None => Ok(config),
    }
}

/// Refuses a folder that a run cannot begin in: it may be missing, empty, or hold what a run leaves that ended before
/// its first checkpoint.
///
/// # Errors
/// When it holds a run that can be gone on with, which is said, or anything else, or when `out` is a file.
pub fn require_free(out: &Path) -> Result<()> {
    if is_not_begun(out) {
        return Ok(());
    }
    if out.join(CONFIG).exists()
        && checkpoint::path_in(out).exists()
        && !out.join("report.json").exists()
    {
        return Err(Error::BadRun {
            path: out.into(),
            reason: format!(
                "holds a run that is not finished\nhint: `lift-train resume {}` goes on with it; or choose another --out",
                out.display()
            ),
        });
    }
    require_empty(out)
}

/// Whether the folder of a run holds its settings, and nothing that a step has made: the run ended before its first
/// checkpoint, and nothing is lost when it begins again.
pub fn is_not_begun(run: &Path) -> bool {
    let (Ok(config), Ok(paths)) = (read_config(run), paths_in(run)) else {
        return false;
    };
    paths.iter().all(|path| is_of_the_beginning(path, &config))
}

/// What a run with these settings writes before its first checkpoint, or was writing when it was killed.
fn is_of_the_beginning(path: &Path, config: &TrainConfig) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.as_ref() {
        CONFIG | PROVENANCE => true,
        MADE_HEAD => config.init.makes().is_some(),
        // Event files hold no step where the log holds none.
        "tensorboard" => config.tensorboard,
        "metrics.jsonl" => fs::metadata(path).is_ok_and(|file| file.len() == 0),
        "checkpoint" => paths_in(path).is_ok_and(|paths| paths.iter().all(|p| is_temporary(p))),
        _ => is_temporary(path),
    }
}

fn paths_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect()
}

/// Whether it is a file of ours that was not finished.
fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.ends_with(".lift-tmp")
}

/// Refuses a folder that has something in it.
///
/// # Errors
/// When it does, or when `out` is a file.
pub fn require_empty(out: &Path) -> Result<()> {
    let is_free = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(_) => !out.exists(),
    };
    if is_free {
        return Ok(());
    }
    let reason = "exists and is not an empty folder\nhint: choose another --out, or remove it";
    Err(Error::BadRun {
        path: out.into(),
        reason: reason.into(),
    })
}

/// Keeps other processes from training in this folder while the file is open.
///
/// # Errors
/// When another one does.
pub fn lock(run: &Path) -> Result<fs::File> {
    let path = run.join(CONFIG);
    let file = fs::File::open(&path).map_err(Error::io(&path))?;
    // A process that is just being started holds what its parent had open until it becomes another program.
    let mut lock = file.try_lock();
    for _ in 0..20 {
        if !matches!(lock, Err(fs::TryLockError::WouldBlock)) {
            break;
        }
        thread::sleep(Duration::from_millis(50));
        lock = file.try_lock();
    }
    match lock {
        Err(fs::TryLockError::WouldBlock) => Err(Error::BadRun {
            path: run.into(),
            reason: "another process is training in it".into(),
        }),
        // Some file systems have no locks: better without one than not at all.
        _ => Ok(file),
    }
}

/// Refuses a run that has its report.
///
/// # Errors
/// When it has.
pub fn require_unfinished(run: &Path) -> Result<()> {
    if !run.join("report.json").exists() {
        return Ok(());
    }
    let reason = format!(
        "is finished, it has its report\nhint: `lift-train eval {}` judges it again",
        run.display()
    );
    Err(Error::BadRun {
        path: run.into(),
        reason,
    })
}

/// Why a folder, or a file, that is there has no report of a run; nothing where it has one, or is not there.
pub fn without_report(run: &Path) -> Option<String> {
    if run.join("report.json").exists() || !run.exists() {
        return None;
    }
    Some(if run.join(CONFIG).exists() {
        format!(
            "is not finished, `lift-train resume {}` goes on with it",
            run.display()
        )
    } else {
        "is no run".into()
    })
}

/// What was tuned, and what it was tuned for.
pub struct Tuned {
    /// Tuner and classifier, by name.
    pub file: TensorFile,
    /// Training images of each class.
    pub class_counts: Vec<u64>,
    /// Names in label order.
    pub class_names: Vec<String>,
    /// Hash of the class list.
    pub class_hash: String,
    /// The prompt of the classifier that training started from.
    pub template: String,
}

impl Tuned {
    /// Collects the tuned tensors of `model`, which training started from `head`.
    pub fn of(model: &TunedModel, class_counts: &[u64], head: &Head) -> Self {
        let mut file = TensorFile::default();
        let tuned = model.state().into_iter();
        file.tensors = tuned.map(|(name, t)| (name, t.detach())).collect();
        Self {
            file,
            class_counts: class_counts.to_vec(),
            class_names: head.class_names.clone(),
            class_hash: head.class_hash.clone(),
            template: head.template.clone(),
        }
    }

    /// Writes `tuned.safetensors`.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(self, run: &Path) -> Result<()> {
        self.write_as(&run.join(TUNED))
    }

    /// As [`Tuned::write`], to this file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_as(mut self, path: &Path) -> Result<()> {
        let entries = [
            ("format", FORMAT.to_owned()),
            (
                "class_names",
                serde_json::json!(self.class_names).to_string(),
            ),
            (
                "class_counts",
                serde_json::json!(self.class_counts).to_string(),
            ),
            ("class_hash", self.class_hash),
            ("template", self.template),
        ];
        self.file
            .metadata
            .extend(entries.map(|(key, value)| (key.to_owned(), value)));
        Ok(self.file.write(path)?)
    }

    /// Reads `tuned.safetensors` of a run.
    ///
    /// # Errors
    /// When it is missing, damaged, not written by a run, or has values that are not finite.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join(TUNED);
        let mut file = TensorFile::read(&path)?;
        let bad = |reason: String| Error::BadRun {
            path: path.clone(),
            reason,
        };
        let mut entry = |key: &str| {
            file.metadata.remove(key).ok_or_else(|| {
                bad(format!(
                    "no {key} in the metadata; not written by lift-train?"
                ))
            })
        };
        let (format, class_hash) = (entry("format")?, entry("class_hash")?);
        let template = entry("template")?;
        if format != FORMAT {
            return Err(bad(format!("format {format}, expected {FORMAT}")));
        }
        let broken = file.tensors.iter();
        if let Some(reason) = broken.filter_map(|(name, t)| not_finite(name, t)).next() {
            return Err(bad(format!(
                "{reason}\nhint: bring the file back as the run wrote it, or train again"
            )));
        }
        let class_names = serde_json::from_str(&entry("class_names")?)
            .map_err(|e| bad(format!("class_names: {e}")))?;
        let class_counts = serde_json::from_str(&entry("class_counts")?)
            .map_err(|e| bad(format!("class_counts: {e}")))?;
        Ok(Self {
            file,
            class_counts,
            class_names,
            class_hash,
            template,
        })
    }
}

/// Reads `config.toml` of a run; paths in it that are relative are its folder's.
///
/// # Errors
/// When it is missing or is no resolved config.
pub fn read_config(run: &Path) -> Result<TrainConfig> {
    let path = run.join(CONFIG);
    let text = lift_files::text(&path, Purpose::Settings).map_err(|e| Error::BadRun {
        path: path.clone(),
        reason: format!("{e}\nhint: name the folder that `lift-train --out` made"),
    })?;
    let config = toml::from_str(&text).map_err(|e| Error::BadRun {
        path,
        reason: e.to_string(),
    })?;
    Ok(place::found_from(run, config))
}
