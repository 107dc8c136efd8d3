//! Averages of what runs tuned: weight-space ensembles (Wortsman et al. 2022, "Model soups", arXiv 2203.05482).
//!
//! Everything that is tuned is averaged, tensor by tensor and entry by entry: modules and classifier, in fp64, and rounded
//! to fp32 once. What a module computes is not linear in its tensors (LoRA's product, a bottleneck's two matrices), so an
//! average of tensors is no average of outputs. What is not tuned, masks and class texts, must be the same in all. Invariant:
//! the average does not depend on the order in which runs are named; they are added in the order of their hashes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tch::{Kind, Tensor};

use crate::{
    config::{TrainConfig, start::TUNED},
    error::{Error, Result},
    file_hash::of_file,
    provenance::Provenance,
    run::{self, Tuned},
    tuner::TunerKind,
};

/// What a run gives to an average.
pub struct Ingredient {
    /// The run's folder.
    pub run: PathBuf,
    /// Its settings.
    pub config: TrainConfig,
    /// How it was started, where it says.
    pub provenance: Option<Provenance>,
    /// What it tuned.
    pub tuned: Tuned,
    /// Hash of its `tuned.safetensors`.
    pub hash: String,
}

impl Ingredient {
    /// Reads a finished run.
    ///
    /// # Errors
    /// When it is none, or a file of it is damaged.
    pub fn read(run: &Path) -> Result<Self> {
        Ok(Self {
            run: run.into(),
            config: run::read_config(run)?,
            provenance: Provenance::read(run)?,
            tuned: Tuned::read(run)?,
            hash: of_file(&run.join(TUNED))?,
        })
    }

    /// Training images of all classes.
    pub fn images(&self) -> u64 {
        self.tuned.class_counts.iter().sum()
    }

    fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tuned.file.tensors
    }

    /// Whether a tensor of its file is a constant, which is the same in all that go together.
    fn is_constant(name: &str, tensor: &Tensor) -> bool {
        tensor.kind() == Kind::Bool || name == "class_texts"
    }
}

/// Refuses runs whose tensors do not stand for the same thing.
///
/// # Errors
/// Names the first run that differs, and in what.
pub fn require_alike(ingredients: &[Ingredient]) -> Result<()> {
    let Some((first, others)) = ingredients.split_first() else {
        return Ok(());
    };
    for one in ingredients {
        if one.config.tunes_texts() {
            return Err(differs(
                one,
                "its class texts are tuned, and what averaged parts make is no average of texts",
            ));
        }
    }
    let model = |one: &Ingredient| one.provenance.as_ref().map(|p| p.origins.model.clone());
    for other in others {
        let (a, b) = (&first.config, &other.config);
        let of = |what: &str, ours: String, theirs: String| {
            let reason = format!(
                "{what} {}, that of {} is {}",
                ours,
                first.run.display(),
                theirs
            );
            Err(differs(other, &reason))
        };
        if other.tuned.class_hash != first.tuned.class_hash {
            let reason = format!("its classes are not those of {}", first.run.display());
            return Err(differs(other, &reason));
        }
        match (model(first), model(other)) {
            (Some(a), Some(b)) if a != b => {
                return of("its model has the hash", b, a);
            }
            (None, _) | (_, None) if a.model != b.model => {
                let [b, a] = [&b.model, &a.model].map(|model| model.display().to_string());
                return of("its model is", b, a);
            }
            _ => {}
        }
        if a.tuner != b.tuner {
            return of("its tuner is", b.tuner.to_string(), a.tuner.to_string());
        }
        if a.classifier != b.classifier {
            let [b, a] = [b.classifier, a.classifier].map(|kind| kind.to_string());
            return of("its classifier is", b, a);
        }
        if a.scale() != b.scale() {
            return of("its scale is", b.scale().to_string(), a.scale().to_string());
        }
        if a.resolution != b.resolution {
            let said = |r: Option<u32>| r.map_or("the model's".to_owned(), |r| r.to_string());
            return of("its resolution is", said(b.resolution), said(a.resolution));
        }
        require_same_tensors(first, other)?;
    }
    Ok(())
}

/// Refuses other names, shapes or constants than the first run has.
fn require_same_tensors(first: &Ingredient, other: &Ingredient) -> Result<()> {
    let (ours, theirs) = (first.tensors(), other.tensors());
    let names = ours.keys().chain(theirs.keys());
    for name in names {
        let of = first.run.display();
        let reason = match (ours.get(name), theirs.get(name)) {
            (Some(_), None) => format!("it has no {name}, {of} has"),
            (None, Some(_)) => format!("it has {name}, {of} has not"),
            (Some(a), Some(b)) if a.size() != b.size() || a.kind() != b.kind() => format!(
                "its {name} is {:?} {:?}, that of {of} {:?} {:?}",
                b.kind(),
                b.size(),
                a.kind(),
                a.size()
            ),
            (Some(a), Some(b)) if Ingredient::is_constant(name, a) && !a.equal(b) => {
                format!("its {name} is not that of {of}, and is not tuned")
            }
            _ => continue,
        };
        return Err(differs(other, &reason));
    }
    Ok(())
}

fn differs(one: &Ingredient, reason: &str) -> Error {
    Error::BadRun {
        path: one.run.clone(),
        reason: format!(
            "{reason}\nhint: average runs of one model, tuner (and its size, layers, masks), classifier and class list"
        ),
    }
}

/// Refuses tuners that do not start as the identity: their first values are no model before tuning.
///
/// # Errors
/// Names the tuner.
pub fn require_identity_at_start(one: &Ingredient) -> Result<()> {
    let choices = one.config.tuner.choices().iter();
    let mut kinds = choices.map(|choice| choice.kind);
    let other = kinds.find(|kind| {
        matches!(
            kind,
            TunerKind::VptShallow
                | TunerKind::VptDeep
                | TunerKind::Ssf
                | TunerKind::ClipAdapter
                | TunerKind::Coop
        )
    });
    match other {
        None => Ok(()),
        Some(kind) => Err(Error::BadRun {
            path: one.run.clone(),
            reason: format!(
                "--toward zero-shot: {kind} starts from random values that change the model, so that its start is not the model before tuning\n\
                 hint: leave --toward out"
            ),
        }),
    }
}

/// The sum of tensors of the same names and shapes, each weighing its part; constants are the first's.
pub fn average(parts: &[(f64, &BTreeMap<String, Tensor>)]) -> BTreeMap<String, Tensor> {
    let Some((_, first)) = parts.first() else {
        return BTreeMap::new();
    };
    let all: f64 = parts.iter().map(|(weight, _)| weight).sum();
    let mixed = |(name, tensor): (&String, &Tensor)| {
        if Ingredient::is_constant(name, tensor) {
            return (name.clone(), tensor.shallow_clone());
        }
        let mut sum = Tensor::zeros(tensor.size(), (Kind::Double, tensor.device()));
        for (weight, tensors) in parts {
            sum += tensors[name].detach().to_kind(Kind::Double) * (weight / all);
        }
        (name.clone(), sum.to_kind(tensor.kind()))
    };
    first.iter().map(mixed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors(values: [f32; 2], mask: bool) -> BTreeMap<String, Tensor> {
        BTreeMap::from([
            ("a".to_owned(), Tensor::from_slice(&values)),
            ("mask".to_owned(), Tensor::from_slice(&[mask])),
        ])
    }

    #[test]
    fn averages_by_hand() {
        let (a, b) = (tensors([1.0, -2.0], true), tensors([4.0, 2.0], true));
        let found = average(&[(1.0, &a), (2.0, &b)]);
        assert_eq!(Vec::<f32>::try_from(&found["a"]).unwrap(), [3.0, 2.0 / 3.0]);
        assert_eq!(Vec::<bool>::try_from(&found["mask"]).unwrap(), [true]);
        // One alone is itself, bit for bit; equals are each of them.
        let odd = tensors([0.1, 1e-30], false);
        for parts in [&[(0.3, &odd)][..], &[(1.0, &odd), (1.0, &odd), (1.0, &odd)]] {
            assert!(average(parts)["a"].equal(&odd["a"]));
        }
    }

    #[test]
    fn an_average_is_rounded_once() {
        // In fp32 1 + 2^-24 is 1, so that a sum in fp32 would lose the small one.
        let small = f32::EPSILON / 2.0;
        let (a, b) = (
            tensors([1.0, 0.0], true),
            tensors([1.0 + f32::EPSILON, 0.0], true),
        );
        let found = average(&[(0.25, &a), (0.75, &b)]);
        let found = Vec::<f32>::try_from(&found["a"]).unwrap()[0];
        assert_eq!(found, (1.0 + 1.5 * f64::from(small)) as f32);
    }
}
