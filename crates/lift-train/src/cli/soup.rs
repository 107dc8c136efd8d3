//! `lift-train soup`, as typed.

use std::path::PathBuf;

use clap::Args;
use lift_shards::Split;

use crate::{
    balance::curve::Monitor,
    command::{self, SoupSettings, Weighing},
    error::{Error, Result},
};

pub(super) const EXAMPLES: &str = "Examples:
  lift-train soup runs/seed-0 runs/seed-1 runs/seed-2 --out runs/soup
  lift-train soup runs/* --greedy val --out runs/soup
  lift-train soup runs/first --toward zero-shot 0.3 --out runs/wise

--toward zero-shot ALPHA takes (1 - ALPHA) of the runs' tensors and ALPHA of those that training began with: modules that \
change nothing yet, and the classifier before its first step. 0 is the runs', 1 the model before tuning.";

#[derive(Debug, Args)]
pub(super) struct SoupArgs {
    /// Folders of finished runs: one model, tuner, classifier and class list
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Folder of the new run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// A weight each run, in their order [default: all alike]
    #[arg(
        long,
        value_name = "A,B,..",
        value_delimiter = ',',
        conflicts_with = "greedy"
    )]
    weights: Option<Vec<f64>>,
    /// Take the best on a split, and of the others those that make the average better there
    #[arg(long, value_name = "SPLIT")]
    greedy: Option<Split>,
    /// What --greedy makes better: mean-class, overall, bands or harmonic
    #[arg(long, value_enum, default_value_t = Monitor::MeanClass, requires = "greedy")]
    monitor: Monitor,
    /// Choose on test or training images all the same
    #[arg(long, requires = "greedy")]
    i_know: bool,
    /// Mix the start of training in: zero-shot, and its share
    #[arg(long, num_args = 2, value_names = ["START", "ALPHA"])]
    toward: Option<Vec<String>>,
    /// Folder with the shards that it is judged on [default: the runs']
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Model: folder, file or org/name [default: the runs']
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads that compute; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl SoupArgs {
    pub(super) fn run(self, command: Vec<String>) -> Result<()> {
        let toward_start = match self.toward.as_deref() {
            None => None,
            Some([start, alpha]) if start == "zero-shot" => {
                let share: Option<f64> = alpha.parse().ok();
                let bad =
                    || Error::Usage(format!("--toward zero-shot {alpha:?}: a share from 0 to 1"));
                Some(share.ok_or_else(bad)?)
            }
            Some(other) => {
                let start = other.first().map_or("", String::as_str);
                return Err(Error::Usage(format!(
                    "--toward {start:?}: there is one start, zero-shot\nhint: --toward zero-shot 0.3"
                )));
            }
        };
        let settings = SoupSettings {
            runs: self.runs,
            out: self.out,
            weighing: match (self.weights, self.greedy) {
                (Some(weights), _) => Weighing::Given(weights),
                (None, Some(split)) => Weighing::Greedy(split),
                (None, None) => Weighing::Alike,
            },
            monitor: self.monitor,
            any_split: self.i_know,
            toward_start,
            shards: self.shards,
            model: self.model,
            device: command::device(&self.device, None, self.threads)?,
            command,
        };
        let out = settings.out.clone();
        let (report, table) = command::soup(&settings)?;
        command::print_text(&format!("{table}\n"))?;
        command::print_run(report, &out)
    }
}
