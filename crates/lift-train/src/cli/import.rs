//! `lift-train import`, as typed.

use std::path::PathBuf;

use clap::Args;
use lift_models::memory::MemorySize;

use crate::{
    classifier::ClassifierKind,
    command::{self, ImportSettings, Output},
    config::TrainArgs,
    error::Result,
    report::Columns,
};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// checkpoint.pth.tar of LIFT or LIFT+
    #[arg(value_name = "CHECKPOINT")]
    checkpoint: PathBuf,
    /// The model that it was trained on: folder, file or org/name
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Folder with train/ and test/ shards of its dataset, labels in its order
    #[arg(long, value_name = "DIR")]
    shards: PathBuf,
    /// The run's folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// cosine, linear, l2norm or layernorm [default: linear where there is a bias, else cosine]
    #[arg(long, value_name = "KIND")]
    classifier: Option<ClassifierKind>,
    /// Factor on the cosines of the classifier
    #[arg(long, value_name = "SCALE", default_value_t = 25.0)]
    scale: f64,
    /// Side of the crops in pixels [default: the model's]
    #[arg(long, value_name = "R")]
    resolution: Option<u32>,
    /// Most memory that passes may take, such as 12GiB
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemorySize>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads that compute, and that prepare batches; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl ImportArgs {
    pub(super) fn run(self) -> Result<()> {
        let device = command::device(&self.device, self.max_memory, self.threads)?;
        let typed = TrainArgs {
            shards: Some(self.shards),
            model: Some(self.model),
            out: Some(self.out.clone()),
            classifier: self.classifier,
            scale: Some(self.scale),
            resolution: self.resolution,
            max_memory: self.max_memory,
            device: Some(self.device),
            threads: Some(self.threads),
            ..TrainArgs::default()
        };
        let settings = ImportSettings {
            checkpoint: self.checkpoint,
            typed,
            device,
            command: std::env::args_os()
                .map(|word| word.to_string_lossy().into_owned())
                .collect(),
        };
        let done = command::import(&settings);
        command::print_done(done, Output::Table(Columns::Accuracies))
    }
}
