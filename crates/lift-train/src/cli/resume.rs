//! `lift-train resume`, as typed: which settings of a run may change when it goes on.

use std::path::PathBuf;

use clap::Args;
use lift_models::memory::MemorySize;
use lift_page::terminal;

use crate::{
    command,
    config::TrainConfig,
    error::Result,
    eval::Tte,
    run::read_config,
    stop::Stop,
    validation::{Kept, Monitor, ValEvery},
};

#[derive(Debug, Args)]
pub(super) struct ResumeArgs {
    /// Folder of the run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Folder with its train/ and test/ shards [default: the run's]
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Its model: folder, file or org/name [default: the run's]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Its classifier file [default: the run's]
    #[arg(long, value_name = "FILE")]
    head: Option<PathBuf>,
    /// auto, cpu or cuda:N [default: the run's]
    #[arg(long)]
    device: Option<String>,
    /// Most memory that steps and evaluations may take [default: the run's]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemorySize>,
    /// Parts that the images of a step are passed in [default: the run's]
    #[arg(long, value_name = "N", hide_short_help = true)]
    accumulate: Option<usize>,
    /// Crops that evaluations pass at once, at most [default: the run's]
    #[arg(long, value_name = "N", hide_short_help = true)]
    eval_batch_size: Option<usize>,
    /// Passes over the training images, those done counted in; a finished run that kept a checkpoint is extended
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Learning rate of the first epoch, from which the schedule has that of the next steps
    #[arg(long)]
    lr: Option<f64>,
    /// Learning rate of the classifier
    #[arg(long, hide_short_help = true)]
    head_lr: Option<f64>,
    /// Largest norm of the gradient of a step
    #[arg(long, value_name = "X", hide_short_help = true)]
    clip_grad: Option<f64>,
    /// Test-time ensembling after training
    #[arg(long, value_enum, hide_possible_values = true)]
    tte: Option<Tte>,
    /// Pixels beyond the resolution for ensembling
    #[arg(long, value_name = "PIXELS", hide_short_help = true)]
    expand: Option<u32>,
    /// Measure accuracy on the val split: epoch, never or every N steps
    #[arg(long, value_name = "WHEN")]
    val_every: Option<ValEvery>,
    /// The figure on val that says which state of the model is the best
    #[arg(long, value_enum, hide_short_help = true)]
    monitor: Option<Monitor>,
    /// States of the model that are kept: last, best or both; the first is the run's model
    #[arg(long, value_enum, value_delimiter = ',')]
    keep: Option<Vec<Kept>>,
    /// End training after so many validations without a better one
    #[arg(long, value_name = "N", hide_short_help = true)]
    patience: Option<usize>,
    /// Checkpoints that stay when there are newer ones, and when the run has ended
    #[arg(long, value_name = "K", hide_short_help = true)]
    keep_checkpoints: Option<usize>,
    /// Go back to the checkpoint of this step first, which the run kept (--keep-checkpoints)
    #[arg(long, value_name = "STEP")]
    from_step: Option<usize>,
}

impl ResumeArgs {
    pub(super) fn run(self) -> Result<()> {
        let recorded = read_config(&self.run)?;
        let config = self.apply(recorded)?;
        let done = command::resume(&config, &Stop::on_signals()?);
        command::print_run(done, &config.out)?;
        Ok(())
    }

    /// The settings of the run with what was typed; all but where things lie is kept in the run's folder, so that it goes on
    /// like this whenever it goes on.
    fn apply(self, recorded: TrainConfig) -> Result<TrainConfig> {
        let config = TrainConfig {
            out: self.run,
            max_memory: self.max_memory.or(recorded.max_memory),
            accumulate: self.accumulate.unwrap_or(recorded.accumulate),
            eval_batch_size: self.eval_batch_size.or(recorded.eval_batch_size),
            epochs: self.epochs.unwrap_or(recorded.epochs),
            lr: self.lr.unwrap_or(recorded.lr),
            head_lr: self.head_lr.or(recorded.head_lr),
            clip_grad: self.clip_grad.or(recorded.clip_grad),
            tte: self.tte.unwrap_or(recorded.tte),
            expand: self.expand.or(recorded.expand),
            val_every: self.val_every.or(recorded.val_every),
            monitor: self.monitor.unwrap_or(recorded.monitor),
            keep: self.keep.unwrap_or_else(|| recorded.keep.clone()),
            patience: self.patience.or(recorded.patience),
            keep_checkpoints: self.keep_checkpoints.unwrap_or(recorded.keep_checkpoints),
            ..recorded.clone()
        };
        config.check()?;
        let run = &config.out;
        let extends = config.epochs > recorded.epochs && run.join("report.json").exists();
        if self.from_step.is_some() || extends {
            command::go_back(run, self.from_step)?;
        }
        let kept = TrainConfig {
            out: recorded.out.clone(),
            ..config.clone()
        };
        let at_once =
            |config: &TrainConfig| (config.max_memory, config.accumulate, config.eval_batch_size);
        if at_once(&config) != at_once(&recorded) {
            terminal::say(format_args!(
                "{}: goes on with other amounts at once: the same result but for rounding",
                run.display()
            ));
        }
        if kept != recorded {
            command::change(&config)?;
        }
        Ok(TrainConfig {
            shards: self.shards.unwrap_or(recorded.shards),
            model: self.model.unwrap_or(recorded.model),
            head: self.head.or(recorded.head),
            device: self.device.unwrap_or(recorded.device),
            ..config
        })
    }
}
