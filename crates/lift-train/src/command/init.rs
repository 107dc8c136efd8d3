//! Making a classifier file from the training shards, to start runs from.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use lift_models::{NoHooks, Normalisation, Precision, hub};
use lift_page::{number::plain, terminal};
use lift_shards::{layout::split_dir, shard::ShardReader, split::Split};
use tch::Device;

use super::{load_tower, prepare_outputs};
use crate::{
    error::Result,
    head_init::{HeadInit, Source},
    passes::Passing,
};

/// What a classifier file is made from, and how.
#[derive(Clone, Debug)]
pub struct InitSettings {
    /// Folder with the shards, of which train/ is used.
    pub shards: PathBuf,
    /// Model folder or file.
    pub model: PathBuf,
    /// What makes the rows.
    pub init: HeadInit,
    /// Images of a class that are looked at, at most; 0: all.
    pub images: usize,
    /// Seed of random rows, and of the images that are looked at.
    pub seed: u64,
    /// How images are passed.
    pub passing: Passing,
    /// Side of the crops in pixels; none: the model's.
    pub resolution: Option<u32>,
    /// Kind of the tower's weights.
    pub precision: Precision,
    /// Where to run.
    pub device: Device,
}

/// Makes the classifier and writes it as `out`, a file as `lift-text classifier` writes it without class texts.
///
/// # Errors
/// When the shards or the model cannot be used, or the file cannot be written.
pub fn init(settings: &InitSettings, out: &Path) -> Result<()> {
    let InitSettings { shards, init, .. } = settings;
    prepare_outputs(&[("out", out)])?;
    let train = ShardReader::open(&split_dir(shards, Split::Train)?)?;
    let model = &hub::fetch(&settings.model)?;
    let mut tower = load_tower(model, settings.resolution)?;
    let limit = settings.passing.max_memory;
    let sizes = (tower.config().width, settings.images);
    init.check(shards, train.manifest(), sizes, limit)?;
    let usual = tower.usual_normalisation();
    // As training folds it, so that both make the same rows.
    tower.fold(&NoHooks);
    tower.convert(settings.device, settings.precision.kind());
    let source = Source {
        train: Arc::new(train),
        model,
        tower: &tower,
        normalisation: Normalisation::of_model(model, usual)?,
        passing: settings.passing,
        images_a_class: settings.images,
        seed: settings.seed,
    };
    let head = source.head(*init)?;
    head.write(out)?;
    let (classes, how) = (
        plain(head.class_names.len() as u64, "class"),
        &head.template,
    );
    terminal::say(format_args!("{}: {classes}, {how}", out.display()));
    Ok(())
}
