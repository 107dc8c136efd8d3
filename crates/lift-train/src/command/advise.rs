//! `lift-train advise`: looks at class counts and tower, and says what to begin with.

use std::path::Path;

use lift_models::hub;
use lift_shards::{Split, layout::split_dir, manifest::Manifest};

use super::load_tower;
use crate::{
    advice::{Advice, Counts, Places, TUNER, Tower, advise as of},
    error::Result,
    tuner::{Tuner, TunerOptions},
};

/// Advice for these shards and this model; `head` is a classifier file that is there already.
///
/// # Errors
/// When there is no training split, or the model cannot be used.
pub fn advise(shards: &Path, model: &Path, head: Option<&Path>) -> Result<Advice> {
    let manifest = Manifest::load(&split_dir(shards, Split::Train)?)?;
    let counts = Counts::of(&manifest);
    let tower = load_tower(&hub::fetch(model)?, None)?;
    let modules = Tuner::new(&TunerOptions::new(TUNER.into()), &tower, counts.classes)?;
    let count = |tensor: &tch::Tensor| tensor.numel() as u64;
    let tower = Tower {
        layers: tower.config().layers,
        width: tower.config().width,
        parameters: tower.named_tensors().iter().map(|(_, t)| count(t)).sum(),
        modules: modules.named_tensors().iter().map(|(_, t)| count(t)).sum(),
        has_texts: tower.proj.is_some(),
    };
    let places = Places {
        shards,
        model,
        head,
        has_val: shards.join(Split::Val.as_str()).exists(),
    };
    Ok(of(counts, tower, places))
}
