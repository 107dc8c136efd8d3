//! A finished run, opened to be taken along: its settings, what was tuned, its report, and the model it was trained on.
//!
//! Invariant: the model that is taken along is the one that the run was trained on, by the hash of its image tower that the
//! run's `provenance.json` holds; where an older run has none, it is not compared.

use std::path::{Path, PathBuf};

use lift_models::{Normalisation, VisionTower, hub};
use tch::{Device, Kind};

use crate::{
    adjustment::{self, Adjustment},
    command::load_tower,
    config::{TrainConfig, start::TUNED},
    error::{Error, Result},
    model::TunedModel,
    place,
    provenance::Provenance,
    report::Report,
    run::{self, Tuned},
    tuner::TunerKind,
};

/// What an export starts from, and where it goes.
#[derive(Clone, Debug)]
pub struct ExportSettings {
    /// The run's folder.
    pub run: PathBuf,
    /// Its model; none: where the run's settings say.
    pub model: Option<PathBuf>,
    /// The folder to write.
    pub out: PathBuf,
}

/// A run with all that an export takes of it.
pub(super) struct Source {
    pub run: PathBuf,
    pub config: TrainConfig,
    pub tuned: Tuned,
    pub report: Report,
    pub provenance: Option<Provenance>,
    /// The base model on this machine: a path, or a name on the hub with its commit.
    pub model: PathBuf,
}

impl Source {
    /// Reads the run, and fetches its model where that has a name on the hub.
    pub fn open(settings: &ExportSettings) -> Result<Self> {
        let run = &settings.run;
        run::require_empty(&settings.out)?;
        let config = run::read_config(run)?;
        if let Some(reason) = run::without_report(run) {
            return Err(Error::BadRun {
                path: run.clone(),
                reason: format!("{reason}\nhint: what is taken along is a finished run"),
            });
        }
        let (report, tuned) = (Report::read(run)?, Tuned::read(run)?);
        let provenance = Provenance::read(run)?;
        let model = hub::fetch(settings.model.as_deref().unwrap_or(&config.model))?;
        Ok(Self {
            run: run.clone(),
            config,
            tuned,
            report,
            provenance,
            model,
        })
    }

    /// The image tower of the model in `from`, a copy of the base or the base itself, at the run's resolution, with its pixels'
    /// constants; refused where it is another than the run's.
    pub fn tower(&self, from: &Path) -> Result<(VisionTower, Normalisation)> {
        let tower = load_tower(from, self.config.resolution)?;
        let usual = tower.usual_normalisation();
        let normalisation = Normalisation::of_model(from, usual)?;
        if let Some(provenance) = &self.provenance {
            provenance.origins.require_model(from, &tower)?;
        }
        Ok((tower, normalisation))
    }

    /// The run's model on this tower, on the CPU and in fp32.
    pub fn tuned_model(&self, tower: VisionTower) -> Result<TunedModel> {
        let tensors = self.tuned.file.tensors.iter();
        let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        let (classifier, scale) = (self.config.classifier, self.config.scale());
        let place = (Device::Cpu, Kind::Float);
        let model = TunedModel::from_tuned(
            tower,
            tensors.collect(),
            classifier,
            scale,
            place.0,
            place.1,
        );
        model.map_err(|e| self.does_not_fit(&e))
    }

    /// What was tuned does not go with the model.
    pub fn does_not_fit(&self, e: &impl std::fmt::Display) -> Error {
        self.bad_tuned(format!(
            "{e}\nhint: export with the model that the run was trained with"
        ))
    }

    /// The run's tensors cannot be used.
    pub fn bad_tuned(&self, reason: String) -> Error {
        Error::BadRun {
            path: self.run.join(TUNED),
            reason,
        }
    }

    /// Refuses a run whose adjustment adds zero-shot logits, which this form has no place for.
    pub fn refuse_texts(&self) -> Result<()> {
        let adjustment = Adjustment::of_run(&self.run)?;
        match adjustment.and_then(|adjustment| adjustment.texts) {
            None => Ok(()),
            Some(_) => Err(Error::BadRun {
                path: self.run.join(adjustment::FILE),
                reason: "adds zero-shot logits of the model before tuning, which this form cannot hold\nhint: --format folder and --format onnx take them along; \
                         or choose the adjustment without --toward-text"
                    .into(),
            }),
        }
    }

    /// What the base is called where others read it: its name on the hub, or that of its folder or file; of a run that was taken
    /// along before, as its report has it.
    pub fn base(&self) -> Base {
        let travelled = self.model == self.run.join(place::MODEL);
        let (id, name) = if travelled {
            let name = &self.report.model;
            (hub::ModelId::parse(name), name.clone())
        } else {
            let id = hub::ModelId::of_path(&self.model);
            let name = hub::short_name(&self.model);
            (id.filter(|_| hub::is_name(&self.model)), name)
        };
        match id {
            Some(id) => Base {
                name: id.repo,
                revision: Some(id.revision),
            },
            None => Base {
                name,
                revision: None,
            },
        }
    }
}

/// The first part of a model that no linear or LayerNorm can stand for: one that adds a path or tokens to the blocks, or lies between
/// the towers.
pub(super) fn does_not_fold(model: &TunedModel) -> Option<TunerKind> {
    let mut kinds = model.tuner.kinds();
    kinds.extend(model.joint.kinds());
    kinds.into_iter().find(|kind| !kind.folds())
}

/// A base model by name.
pub(super) struct Base {
    /// `org/name`, or what its folder or file is called.
    pub name: String,
    /// On the hub.
    pub revision: Option<String>,
}

impl Base {
    /// With the commit, where it has one.
    pub fn full(&self) -> String {
        match &self.revision {
            Some(revision) => format!("{}@{revision}", self.name),
            None => self.name.clone(),
        }
    }
}
