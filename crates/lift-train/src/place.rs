//! The paths in a run's settings: absolute in a run that stays where it was made, relative to the run's own folder in one that
//! is taken along (`lift-train export --format folder`).
//!
//! Only paths are changed here, no other setting. Invariant: [`found_from`] leaves what [`absolute`] made as it is, so that a
//! run is read alike wherever the reader stands.

use std::path::{Path, PathBuf};

use lift_models::hub;

use crate::{
    config::{Start, TrainConfig},
    error::{Error, Result},
};

/// The base model's folder in a run that is taken along.
pub const MODEL: &str = "model";
/// The classifier file that training started from, there.
pub const HEAD: &str = "start.safetensors";
/// Where its shards are looked for, which do not travel with it.
const SHARDS: &str = "shards";

/// The settings with absolute paths: an evaluation may be started from another folder. A model's name on the hub stays one.
///
/// # Errors
/// When the working folder cannot be known.
pub fn absolute(config: &TrainConfig) -> Result<TrainConfig> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io(path));
    Ok(TrainConfig {
        shards: absolute(&config.shards)?,
        model: if hub::is_name(&config.model) {
            config.model.clone()
        } else {
            absolute(&config.model)?
        },
        head: config.head.as_deref().map(absolute).transpose()?,
        init: match config.init.run() {
            Some(run) => Start::Run(absolute(run)?),
            None => config.init.clone(),
        },
        out: absolute(&config.out)?,
        ..config.clone()
    })
}

/// The settings that lie in the folder `run`, as a reader who stands elsewhere needs them: relative paths are the run's own.
/// `org/name`, which is relative too, is a model's name on the hub where the folder has nothing of that name.
pub fn found_from(run: &Path, config: TrainConfig) -> TrainConfig {
    let own = run.join(&config.model);
    let model = match hub::ModelId::of_path(&config.model) {
        Some(_) if !own.exists() => config.model,
        _ => own,
    };
    TrainConfig {
        shards: run.join(&config.shards),
        model,
        head: config.head.map(|head| run.join(head)),
        init: match config.init {
            Start::Run(from) => Start::Run(run.join(from)),
            init => init,
        },
        out: run.to_owned(),
        ..config
    }
}

/// The settings of a run that is taken along, with its model in [`MODEL`] and, where it has one, its first classifier in [`HEAD`];
/// nothing of the machine that it was made on.
pub fn portable(config: &TrainConfig, has_head: bool) -> TrainConfig {
    TrainConfig {
        shards: SHARDS.into(),
        model: MODEL.into(),
        head: has_head.then(|| PathBuf::from(HEAD)),
        // What a run started from does not travel.
        init: match &config.init {
            Start::Run(_) => Start::default(),
            init => init.clone(),
        },
        out: ".".into(),
        ..config.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrainArgs;

    fn config(model: &str) -> TrainConfig {
        let args = TrainArgs {
            shards: Some("data/shards".into()),
            model: Some(model.into()),
            head: Some("head.safetensors".into()),
            out: Some("runs/one".into()),
            ..TrainArgs::default()
        };
        args.resolve().unwrap()
    }

    #[test]
    fn paths_of_a_run_that_travels_are_its_folders() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let travels = portable(&config("models/clip"), true);
        let text = toml::to_string(&travels).unwrap();
        assert!(
            text.starts_with(
                "shards = \"shards\"\nmodel = \"model\"\nhead = \"start.safetensors\"\n"
            ),
            "{text}"
        );
        let found = found_from(run, travels.clone());
        assert_eq!(found.model, run.join("model"));
        assert_eq!(found.head, Some(run.join("start.safetensors")));
        assert_eq!((found.shards, found.out), (run.join("shards"), run.into()));
        assert_eq!(portable(&config("models/clip"), false).head, None);
        let of_run = TrainConfig {
            init: Start::Run("runs/other".into()),
            ..config("models/clip")
        };
        assert_eq!(portable(&of_run, false).init, Start::default());
        let found = found_from(run, of_run).init;
        assert_eq!(found, Start::Run(run.join("runs/other")));
    }

    #[test]
    fn absolute_paths_and_names_on_the_hub_stay_as_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let named = absolute(&config("org/name@v1")).unwrap();
        assert_eq!(named.model, Path::new("org/name@v1"));
        assert!(named.shards.is_absolute() && named.out.is_absolute());
        let found = found_from(run, named.clone());
        assert_eq!(
            (found.model, found.shards, found.head),
            (named.model, named.shards, named.head)
        );
        // A folder of that name in the run's is meant before the hub's.
        std::fs::create_dir_all(run.join("org/name")).unwrap();
        let found = found_from(run, config("org/name"));
        assert_eq!(found.model, run.join("org/name"));
    }
}
