//! Named settings of the papers: what is tuned, for how long, at which rate, on which crops.
//!
//! All else (batch 128, momentum 0.9, weight decay 5e-4, tau 1, scale 25) is the same in all of them. The papers train
//! iNaturalist 2018 for longer (lift+ 15 epochs, lift 20): `--epochs` says so.

use serde::{Deserialize, Serialize};

use crate::{
    loader::Augmentation,
    tuner::{TunerKind, Tuners},
};

/// Named settings of the papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
pub enum Preset {
    /// LIFT+: AdaptFormer, 5 epochs, learning rate 0.02, growing crops.
    #[default]
    #[serde(rename = "lift+")]
    #[value(name = "lift+")]
    LiftPlus,
    /// LIFT: AdaptFormer, 10 epochs, learning rate 0.01, RandomResizedCrop and flip.
    #[serde(rename = "lift")]
    #[value(name = "lift")]
    Lift,
    /// Classifier only (linear probing from the same head): 5 epochs, learning rate 0.03.
    #[serde(rename = "lp")]
    #[value(name = "lp")]
    ClassifierOnly,
    /// Full fine-tuning: 5 epochs, learning rate 0.002.
    #[serde(rename = "fft")]
    #[value(name = "fft")]
    Full,
    /// Arbitrary fine-tuning: 5 epochs, learning rate 0.02.
    #[serde(rename = "aft")]
    #[value(name = "aft")]
    Arbitrary,
    /// No training: the classifier file as it is.
    #[serde(rename = "zs")]
    #[value(name = "zs")]
    ZeroShot,
}

impl Preset {
    /// Modules, epochs and learning rate.
    pub(crate) fn values(self) -> (Tuners, usize, f64) {
        match self {
            Self::Lift => (TunerKind::Adaptformer.into(), 10, 0.01),
            Self::LiftPlus => (TunerKind::Adaptformer.into(), 5, 0.02),
            Self::ClassifierOnly => (Tuners::default(), 5, 0.03),
            Self::Full => (TunerKind::Full.into(), 5, 0.002),
            Self::Arbitrary => (TunerKind::Aft.into(), 5, 0.02),
            Self::ZeroShot => (Tuners::default(), 0, 0.02),
        }
    }

    pub(crate) fn augmentation(self) -> Augmentation {
        match self {
            Self::Lift => Augmentation::Classic,
            _ => Augmentation::Mda,
        }
    }
}
