//! `lift-train consistency`: a run's training and test images in feature space, kept as `consistency.json` in its folder.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use lift_models::hub;
use lift_page::terminal;
use lift_shards::{atomic, layout::split_dir, outputs, shard::ShardReader, split::Split};
use tch::Device;

use super::{check_classes, evaluation::load_tuned, print_json, print_text};
use crate::{
    config::TrainConfig,
    consistency::{Compared, Consistency, table},
    error::{Error, Result},
    fingerprint::of_tensors,
    passes::Passing,
    provenance::Provenance,
    run::Tuned,
};

const FILE: &str = "consistency.json";

/// Images of a class and split, unless `--images-per-class` says otherwise.
pub const IMAGES_PER_CLASS: usize = 20;

/// How consistency is measured.
#[derive(Clone, Debug)]
pub struct ConsistencySettings {
    /// The run's folder.
    pub run: PathBuf,
    /// The most images of a class that are taken of each split, at least 2.
    pub images_per_class: usize,
    /// Of the images' draw and of the splits by chance.
    pub seed: u64,
    /// How images are passed.
    pub passing: Passing,
    /// Where to run.
    pub device: Device,
}

/// Measures the consistency of a run, whose settings `config` are, and writes it into its folder.
///
/// # Errors
/// When the run, its model or its shards cannot be used, or their classes differ.
pub fn consistency(config: &TrainConfig, settings: &ConsistencySettings) -> Result<Consistency> {
    let run = &settings.run;
    let mut tuned = Tuned::read(run)?;
    outputs::prepare([run.join(FILE).as_path()])?;
    let tensors = std::mem::take(&mut tuned.file.tensors);
    let hash = hash(&tensors)?;
    if let Some(provenance) = Provenance::read(run)? {
        provenance.origins.require_shards(config)?;
    }
    let open = |split| -> Result<Arc<ShardReader>> {
        let dir = split_dir(&config.shards, split)?;
        let reader = ShardReader::open(&dir)?;
        let (names, hash) = (&tuned.class_names, &tuned.class_hash);
        check_classes(run, names, hash, &dir, reader.manifest())?;
        Ok(Arc::new(reader))
    };
    let (train, test) = (open(Split::Train)?, open(Split::Test)?);
    let place = (settings.device, config.precision().kind());
    let model_path = hub::fetch(&config.model)?;
    let resolution = config.resolution;
    let (model, normalisation) = load_tuned(run, config, tensors, &model_path, resolution, place)?;
    let compared = Compared {
        train,
        test,
        model: &model,
        tuned: hash,
        normalisation,
        passing: settings.passing,
        images_per_class: settings.images_per_class,
        seed: settings.seed,
    };
    let found = compared.compare()?;
    let text = serde_json::to_string_pretty(&found).expect("figures are plain data") + "\n";
    atomic::write(&run.join(FILE), text.as_bytes())?;
    Ok(found)
}

/// What was measured of a run before; none when it was not, or its tuned tensors have changed since.
///
/// # Errors
/// When the file, or the tuned tensors, cannot be read.
pub(super) fn read(run: &Path) -> Result<Option<Consistency>> {
    let path = run.join(FILE);
    if !path.exists() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
    let found: Consistency = serde_json::from_str(&text).map_err(|e| Error::BadRun {
        path: path.clone(),
        reason: format!("not a consistency: {e}\nhint: remove it, it is made anew"),
    })?;
    let is_current = found.tuned == hash(&Tuned::read(run)?.file.tensors)?;
    Ok(is_current.then_some(found))
}

fn hash(tensors: &std::collections::BTreeMap<String, tch::Tensor>) -> Result<String> {
    of_tensors(b"", tensors.iter().map(|(name, t)| (name.as_str(), t)))
}

/// Prints a line for each band before, and one after tuning; or all as one JSON document.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_consistency(found: &Consistency, json: bool) -> Result<()> {
    if json {
        return print_json(found);
    }
    let [train, test] = found.images;
    terminal::say(format_args!(
        "{train} training and {test} test images, at most {} of each class; apart: {}",
        found.images_per_class, found.measure
    ));
    if found.bands.is_empty() {
        terminal::say("note: no class has two images of each split: there is nothing to compare");
    }
    print_text(&table(found))
}
