//! Models by their names on the Hugging Face hub: `openai/clip-vit-base-patch16`, `org/name@revision`.
//!
//! Where a model is asked for, an existing path wins; what is none and looks like a name is fetched into the cache that
//! Python's `huggingface_hub` uses too, checked against size and hash. [`fetch`] is the only function that asks the
//! network; loading a model ([`find`]) looks into the cache and never fetches. Invariant: what [`fetch`] returns names
//! the same files for ever, a path or `org/name@commit`.
//!
//! The environment is Hugging Face's: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `HF_HUB_OFFLINE`, `HF_TOKEN`,
//! `HF_HUB_DOWNLOAD_TIMEOUT`.

mod cache;
mod files;
mod id;
mod progress;
mod request;
mod transfer;

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use hf_hub::Cache;

pub(crate) use cache::WEIGHTS;
pub(crate) use files::BESIDE;
pub use id::ModelId;

use self::cache::ModelCache;
use crate::{
    error::{Error, Result},
    say::say,
};

const ENDPOINT: &str = "https://huggingface.co";

/// Longer than Python's ten seconds: lines of laptops and storage that wakes up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What may be given where a model is asked for.
pub(crate) const MODEL_HINT: &str = "give a folder with config.json, model.safetensors (or pytorch_model.bin) \
    and tokenizer.json, a .safetensors, .bin or .pt file, or a name on the Hugging Face hub such as openai/clip-vit-base-patch16";

/// Makes sure that a model lies on this machine; returns how it is called from now on: a path as it is, a name on the hub
/// with its commit.
///
/// # Errors
/// When it is neither a path nor a name, or cannot be fetched.
pub fn fetch(model: &Path) -> Result<PathBuf> {
    if model.exists() {
        return Ok(model.into());
    }
    let id = ModelId::of_path(model).ok_or_else(|| no_model(model))?;
    Ok(Hub::from_env()?.fetch(&id)?.to_string().into())
}

/// The file or folder of a model that lies on this machine: a path, or a name that was fetched before.
///
/// # Errors
/// When it is neither.
pub fn find(model: &Path) -> Result<PathBuf> {
    if model.exists() {
        return Ok(model.into());
    }
    let id = ModelId::of_path(model).ok_or_else(|| no_model(model))?;
    Hub::from_env()?.find(&id)
}

/// Whether this is a name on the hub and not a path.
pub fn is_name(model: &Path) -> bool {
    !model.exists() && ModelId::of_path(model).is_some()
}

/// What a model is called in files and messages: its folder's or file's name, or its name on the hub without the
/// organisation and the revision.
pub fn short_name(model: &Path) -> String {
    let whole = model.canonicalize().ok();
    let folder = whole.as_deref().and_then(Path::file_name);
    match (folder, ModelId::of_path(model)) {
        (Some(folder), _) => folder.to_string_lossy().into_owned(),
        (None, Some(id)) => id.name().into(),
        (None, None) => model.display().to_string(),
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: u64 = text.trim().parse().ok()?;
    (1..=86_400)
        .contains(&seconds)
        .then(|| Duration::from_secs(seconds))
}

fn no_model(model: &Path) -> Error {
    Error::MissingFile {
        path: model.into(),
        hint: MODEL_HINT.into(),
    }
}

/// Where models come from and where they are kept.
pub struct Hub {
    /// Address of the server, without a slash at its end.
    pub endpoint: String,
    /// Folder with a `models--org--name` for each model.
    pub cache: PathBuf,
    /// Sent to the endpoint and nowhere else.
    pub token: Option<String>,
    /// Whether nothing may be asked of the network.
    pub offline: bool,
    /// How long a server may be silent, or send less than 1 KiB a second.
    pub patience: Duration,
}

impl Hub {
    /// What the environment says; its defaults are Hugging Face's.
    ///
    /// # Errors
    /// When a variable has a value that cannot be used, or there is no home folder and no other.
    pub fn from_env() -> Result<Self> {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let folder = |name: &str| Some(PathBuf::from(env::var_os(name).filter(|v| !v.is_empty())?));
        let home = folder("HF_HOME")
            .or_else(|| Some(folder("XDG_CACHE_HOME")?.join("huggingface")))
            .or_else(|| Some(env::home_dir()?.join(".cache/huggingface")))
            .ok_or_else(|| Error::Environment {
                name: "HF_HOME",
                reason: "not set, and there is no home folder\nhint: set it to a folder for models"
                    .into(),
            })?;
        let usual = Cache::new(home.join("hub"));
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        if !["http://", "https://"]
            .iter()
            .any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(Error::Environment {
                name: "HF_ENDPOINT",
                reason: format!("{endpoint:?} is no address\nhint: for example {ENDPOINT}"),
            });
        }
        let token = text("HF_TOKEN").map(|token| token.trim().to_owned());
        let token = token.or_else(|| usual.token());
        if token
            .as_ref()
            .is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(Error::Environment {
                name: "HF_TOKEN",
                reason: "not a token: it holds blanks or other characters that no token has".into(),
            });
        }
        let is_on =
            |value: String| ["1", "on", "yes", "true"].contains(&value.to_lowercase().as_str());
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').into(),
            cache: folder("HF_HUB_CACHE")
                .or_else(|| folder("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| usual.path().clone()),
            token,
            offline: text("HF_HUB_OFFLINE").is_some_and(is_on),
            patience: match text("HF_HUB_DOWNLOAD_TIMEOUT") {
                None => PATIENCE,
                Some(value) => seconds(&value).ok_or_else(|| Error::Environment {
                    name: "HF_HUB_DOWNLOAD_TIMEOUT",
                    reason: format!("{value:?} is no number of seconds from 1 to 86400"),
                })?,
            },
        })
    }

    /// Makes sure that the model is in the cache; returns it at its commit.
    ///
    /// A revision is asked for once; where the network does not answer, what is in the cache is used, with a note.
    ///
    /// # Errors
    /// When it is not in the cache and cannot be fetched, or has none of the files that tensors are read from.
    pub fn fetch(&self, id: &ModelId) -> Result<ModelId> {
        let cache = ModelCache::new(&self.cache, id);
        let unreachable = if self.offline {
            None
        } else {
            match files::fetch(self, id, &cache)? {
                Ok(commit) => return Ok(id.at(&commit)),
                Err(reason) => Some(reason),
            }
        };
        let Some(commit) = cache.usable_commit() else {
            return Err(self.not_cached(id, &cache, unreachable.as_deref()));
        };
        if let Some(reason) = unreachable {
            say(&format!(
                "note: the hub does not answer ({reason}); the cached {}@{commit} is used",
                id.repo
            ));
        }
        Ok(id.at(&commit))
    }

    /// The model's folder in the cache, without asking the network.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find(&self, id: &ModelId) -> Result<PathBuf> {
        let cache = ModelCache::new(&self.cache, id);
        match cache.usable_commit() {
            Some(commit) => Ok(cache.snapshot(&commit)),
            None => Err(self.not_cached(id, &cache, None)),
        }
    }

    fn not_cached(&self, id: &ModelId, cache: &ModelCache, unreachable: Option<&str>) -> Error {
        let (endpoint, repo, folder) = (&self.endpoint, &id.repo, cache.folder().display());
        let reason = match (unreachable, self.offline) {
            (Some(reason), _) => format!(
                "no such file or folder, and it cannot be fetched from the hub: {reason}; it is not in the cache either ({folder})"
            ),
            (None, true) => format!(
                "no such file or folder, nor in the cache ({folder}), and HF_HUB_OFFLINE forbids to fetch it"
            ),
            (None, false) => format!("no such file or folder, nor in the cache ({folder})"),
        };
        let hint = format!(
            "put config.json, model.safetensors (or pytorch_model.bin), tokenizer.json and, if it has one, \
             preprocessor_config.json of {endpoint}/{repo}/tree/{} into a folder and give that folder; or fetch it once where there is a network, \
             and copy the cache",
            id.revision
        );
        Error::hub(id, reason, &hint)
    }
}
