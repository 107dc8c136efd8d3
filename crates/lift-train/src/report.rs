//! `report.json` of a run; [`table`] has what people read.

mod table;

use std::{fs, path::Path};

use lift_models::Precision;
use lift_shards::{atomic, split::BandEdges};
use serde::{Deserialize, Serialize};

pub use table::{Columns, class_table, table};

use crate::{
    config::TrainConfig,
    error::{Error, Result},
    eval::Evaluation,
    model::ParameterCounts,
    validation::Selection,
};

/// Everything that a run found out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// `lift-report/1`.
    pub format: String,
    /// Version of lift-train.
    pub tool_version: String,
    /// The run's folder name, or the method.
    pub name: String,
    /// As the shards' manifest says.
    pub dataset: String,
    /// Number of classes.
    pub num_classes: usize,
    /// Hash of the class list.
    pub class_hash: String,
    /// Names in label order.
    pub class_names: Vec<String>,
    /// Training images of each class, where they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_counts: Option<Vec<u64>>,
    /// Where the bands end, where training counts are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bands: Option<BandEdges>,
    /// The model that was judged.
    pub model: String,
    /// The prompt of the classifier file.
    pub template: String,
    /// Kind of the frozen weights.
    pub precision: Precision,
    /// Where it ran.
    pub device: String,
    /// Tuned and frozen parameters; none for zero-shot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<ParameterCounts>,
    /// How training went; none for zero-shot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<Training>,
    /// The settings; none for zero-shot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<TrainConfig>,
    /// How its weights were chosen; none where no `val` split was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// In the order they were made.
    pub evaluations: Vec<Evaluation>,
}

/// How training went.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Training {
    /// Training images.
    pub images: u64,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Mean loss over the last epoch.
    pub last_epoch_loss: Option<f64>,
    /// Wall time.
    pub seconds: f64,
    /// Images seen in a second.
    pub images_per_second: f64,
    /// Share of the time in which the step waited for data.
    pub data_wait_share: f64,
    /// The most memory of the host that the process had resident, evaluation included; not that of a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// The most memory of the GPU that training took; none on the CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_device_bytes: Option<u64>,
}

impl Report {
    /// Writes `report.json` into the run's folder.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, run: &Path) -> Result<()> {
        let path = run.join("report.json");
        let text = serde_json::to_string_pretty(self).expect("a report is plain data") + "\n";
        Ok(atomic::write(&path, text.as_bytes())?)
    }

    /// Whether what was judged is tuned: by steps of its own, or as an average of runs that were.
    pub fn is_tuned(&self) -> bool {
        let of_settings = || self.config.as_ref().is_some_and(|config| config.epochs > 0);
        let training = self.training.as_ref();
        training.map_or_else(of_settings, |training| training.steps > 0)
    }

    /// The report, or an error that still holds it where a file of the run could not be written.
    ///
    /// # Errors
    /// When one could not.
    pub fn unless_unwritten(self, written: Result<()>) -> Result<Self> {
        match written {
            Ok(()) => Ok(self),
            Err(source) => Err(Error::Unwritten {
                report: Box::new(serde_json::to_value(&self).expect("a report is plain data")),
                source: Box::new(source),
            }),
        }
    }

    /// Reads `report.json` of a run.
    ///
    /// # Errors
    /// When it is missing or is no report.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join("report.json");
        let text = fs::read_to_string(&path).map_err(|e| Error::BadRun {
            path: path.clone(),
            reason: format!("{e}\nhint: name the folder of a run that has ended"),
        })?;
        serde_json::from_str(&text).map_err(|e| Error::BadRun {
            path,
            reason: format!("not a report: {e}"),
        })
    }
}
