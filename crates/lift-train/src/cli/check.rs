//! `lift-train parity` and `check-device`, as typed.

use std::path::PathBuf;

use clap::Args;
use lift_models::{DeviceChoice, Precision};
use lift_page::terminal::words;

use crate::{
    command::{self, Form, Output},
    config::check_ranges,
    error::{Error, Result},
    report::Columns,
    tuner::Tuners,
};

#[derive(Debug, Args)]
pub(super) struct ParityArgs {
    /// Model: a .safetensors or .bin file (OpenAI / open_clip or timm names), a folder, or org/name
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Batches, labels and class counts of the run
    #[arg(long, value_name = "FILE")]
    inputs: PathBuf,
    /// The reference run: init.*, final.*, losses, logits; settings in its metadata
    #[arg(long, value_name = "FILE")]
    run: PathBuf,
    /// Modules that the run must be of [default: read off its tensors]
    #[arg(long, value_name = "A,B")]
    tuner: Option<Tuners>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Of the frozen weights: fp32, bf16 or fp16; 16 bits are compared with fp32 on the same device
    #[arg(long, value_parser = words(&Precision::WORDS), hide_possible_values = true, default_value = "fp32")]
    precision: Precision,
    /// Parts that the images of a step are passed in
    #[arg(long, value_name = "N", default_value_t = 1)]
    accumulate: usize,
    /// One JSON document instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct CheckDeviceArgs {
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// One JSON document instead of a line a check
    #[arg(long)]
    json: bool,
}

impl ParityArgs {
    pub(super) fn run(self) -> Result<()> {
        let output = if self.json {
            Output::Json
        } else {
            Output::Table(Columns::Accuracies)
        };
        let tuner = self.tuner.as_ref();
        let choice: DeviceChoice = self.device.parse().map_err(Error::Usage)?;
        let place = (choice.resolve_with_note()?, self.precision);
        check_ranges(&[("accumulate", self.accumulate as f64, 1.0, 1e6)])?;
        let (model, inputs, run) = (&self.model, &self.inputs, &self.run);
        command::parity(model, inputs, run, tuner, place, self.accumulate, output)?;
        Ok(())
    }
}

impl CheckDeviceArgs {
    pub(super) fn run(self) -> Result<()> {
        let choice: DeviceChoice = self.device.parse().map_err(Error::Usage)?;
        let output = if self.json { Form::Json } else { Form::Table };
        command::check_device(choice.resolve_with_note()?, output)?;
        Ok(())
    }
}
