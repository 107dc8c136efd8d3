//! Named settings of the papers: what is tuned, for how long, at which rate, on which crops.
//!
//! All else (batch 128, but 32 for CoOp, momentum 0.9, weight decay 5e-4, tau 1, scale 25) is the same in all of them.
//! iNaturalist 2018 is trained for longer, as in the papers: lift+ for 15 epochs, lift for 20.

use serde::{Deserialize, Serialize};

use crate::tuner::{TunerKind, Tuners};
use lift_loader::Augmentation;

/// Named settings of the papers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
pub enum Preset {
    /// LIFT+: AdaptFormer, 5 epochs (iNaturalist 2018: 15), learning rate 0.02, growing crops.
    #[default]
    #[serde(rename = "lift+")]
    #[value(name = "lift+")]
    LiftPlus,
    /// LIFT: AdaptFormer, 10 epochs (iNaturalist 2018: 20), learning rate 0.01, RandomResizedCrop and flip.
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
    /// CoOp (Zhou et al. 2022): learned prompts, 50 epochs of batches of 32, learning rate 0.002, crops as lift.
    #[serde(rename = "coop")]
    #[value(name = "coop")]
    Coop,
    /// No training: the classifier file as it is.
    #[serde(rename = "zs")]
    #[value(name = "zs")]
    ZeroShot,
}

/// What a preset says where nothing else does.
pub(crate) struct Usual {
    pub tuner: Tuners,
    pub epochs: usize,
    pub lr: f64,
    pub batch_size: usize,
    pub augment: Augmentation,
}

impl Preset {
    /// The values for a dataset, if that is known.
    pub(crate) fn values(self, dataset: Option<&str>) -> Usual {
        // Its classes have fewer images each; the papers train on it for longer.
        let is_inat = dataset.is_some_and(|name| name.starts_with("inat2018"));
        let (tuner, epochs, lr) = match self {
            Self::Lift => {
                let epochs = if is_inat { 20 } else { 10 };
                (TunerKind::Adaptformer.into(), epochs, 0.01)
            }
            Self::LiftPlus => {
                let epochs = if is_inat { 15 } else { 5 };
                (TunerKind::Adaptformer.into(), epochs, 0.02)
            }
            Self::ClassifierOnly => (Tuners::default(), 5, 0.03),
            Self::Full => (TunerKind::Full.into(), 5, 0.002),
            Self::Arbitrary => (TunerKind::Aft.into(), 5, 0.02),
            Self::Coop => (TunerKind::Coop.into(), 50, 0.002),
            Self::ZeroShot => (Tuners::default(), 0, 0.02),
        };
        Usual {
            tuner,
            epochs,
            lr,
            batch_size: if self == Self::Coop { 32 } else { 128 },
            augment: match self {
                Self::Lift | Self::Coop => Augmentation::Classic,
                _ => Augmentation::Mda,
            },
        }
    }
}
