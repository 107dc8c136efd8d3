//! `lift-train init`, as typed.

use std::path::PathBuf;

use clap::Args;
use lift_models::{Precision, memory::MemorySize};
use lift_page::terminal::words;

use crate::{
    command::{self, InitSettings},
    config::check_ranges,
    error::{Error, Result},
    head_init::{HeadInit, IMAGES_A_CLASS},
    passes::Passing,
};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Folder with train shards
    #[arg(long, value_name = "DIR")]
    shards: PathBuf,
    /// Model: folder, file or org/name on Hugging Face
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// What makes the rows
    #[arg(long, value_enum)]
    init: HeadInit,
    /// Classifier file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Images of a class that are looked at, at most; 0: all
    #[arg(long, value_name = "N", default_value_t = IMAGES_A_CLASS)]
    init_images: usize,
    /// Seed of random rows, and of the images that are looked at
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Images a forward pass
    #[arg(long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    /// Most memory that passes may take, such as 12GiB
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemorySize>,
    /// Side of the crops in pixels [default: the model's]
    #[arg(long, value_name = "R")]
    resolution: Option<u32>,
    /// Of the frozen weights: fp32, bf16 or fp16 [default: bf16 on CUDA, else fp32]
    #[arg(long, value_parser = words(&Precision::WORDS), hide_possible_values = true)]
    precision: Option<Precision>,
    /// auto, cpu or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads that compute, and that prepare batches; 0: one a core
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
}

impl InitArgs {
    pub(super) fn run(self) -> Result<()> {
        command::init(&self.settings()?, &self.out)
    }

    fn settings(&self) -> Result<InitSettings> {
        if self.init == HeadInit::Head {
            return Err(Error::Usage(
                "--init head makes nothing\nhint: use class-mean, linear-probe or random".into(),
            ));
        }
        check_ranges(&[
            ("batch-size", self.batch_size as f64, 1.0, 1e6),
            ("threads", self.threads as f64, 0.0, 1024.0),
        ])?;
        let device = command::device(&self.device, self.max_memory, self.threads)?;
        let usual = || Precision::usual(device);
        Ok(InitSettings {
            shards: self.shards.clone(),
            model: self.model.clone(),
            init: self.init,
            images: self.init_images,
            seed: self.seed,
            passing: Passing {
                batch_size: self.batch_size,
                max_memory: self.max_memory,
                threads: self.threads,
                exact: false,
            },
            resolution: self.resolution,
            precision: self.precision.unwrap_or_else(usual),
            device,
        })
    }
}
