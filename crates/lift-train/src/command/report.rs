//! `lift-train report`: finds what a run recorded, computes what it did not, and keeps that in the run's folder.
//!
//! Kept are `predictions-before.parquet`, `predictions-plain.parquet` of runs that have none, and `consistency.json`;
//! asked again, a report computes nothing. Invariant: recorded predictions that do not give the recorded accuracy are
//! refused.

mod pictures;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use lift_models::Head;
use lift_page::{day, terminal};
use lift_shards::{layout::split_dir, outputs, shard::ShardReader};
use tch::Device;

use super::{
    consistency::{self, ConsistencySettings, IMAGES_PER_CLASS},
    evaluation::{EvalSettings, eval, judge},
    inputs::Inputs,
};
use crate::{
    classifier::Classifier,
    config::TrainConfig,
    error::{Error, Result},
    eval::Tte,
    metrics::Prediction,
    predictions::read_predictions,
    provenance::Provenance,
    report::Report,
    run::MADE_HEAD,
    run_report::{Recorded, RunReport, curves, page::Shown, plain_of, slices},
    transfer::{Target, Transfer},
};

const BEFORE: &str = "predictions-before.parquet";

/// What a report is made of.
#[derive(Clone, Debug)]
pub struct ReportSettings {
    /// The run's folder.
    pub run: PathBuf,
    /// Folders of runs it is compared with.
    pub compare: Vec<PathBuf>,
    /// The column that accuracy is sliced by, and the table that has it; none: the run's own predictions have it.
    pub slice_by: Option<(String, Option<PathBuf>)>,
    /// Where to compute what is missing; none: nothing is computed, and no image is read.
    pub compute: Option<Device>,
    /// Where things lie now, with the settings of the run; none for a run without training.
    pub config: Option<TrainConfig>,
    /// Shards that example images are read from, where the run does not say.
    pub shards: Option<PathBuf>,
}

/// The report of a run, and what a page shows besides: images, and its day.
///
/// # Errors
/// When the run, or what is needed to compute what it did not record, cannot be used.
pub fn report(settings: &ReportSettings) -> Result<(RunReport, Shown)> {
    let run = &settings.run;
    let report = Report::read(run)?;
    let compared = super::compare(&settings.compare)?;
    let trained = settings.config.as_ref().filter(|config| config.epochs > 0);
    let config = settings.config.as_ref();
    let mut missing = Vec::new();

    let after = after(run, &report, settings, &mut missing)?;
    let before = match trained {
        Some(config) => before(run, &report, config, settings.compute, &mut missing)?,
        None => None,
    };
    if let (Some(before), Some(after)) = (&before, &after) {
        let same = before.len() == after.len()
            && before.iter().zip(after).all(|(a, b)| a.label == b.label);
        if !same {
            return Err(Error::BadRun {
                path: run.join(BEFORE),
                reason:
                    "not of the images of the run's predictions\nhint: remove it, it is made anew"
                        .into(),
            });
        }
    }
    let mut found = None;
    if let Some(config) = trained {
        found = consistency::read(run)?;
        if let (None, Some(device)) = (&found, settings.compute) {
            terminal::say("computing: training against test images in feature space");
            let settings = ConsistencySettings {
                run: run.clone(),
                images_per_class: IMAGES_PER_CLASS,
                seed: 0,
                passing: config.passing(),
                device,
            };
            found = Some(consistency::consistency(config, &settings)?);
        }
        if found.is_none() {
            missing.push("consistency, which `lift-train consistency` measures".into());
        }
    }
    let shards = settings
        .shards
        .as_ref()
        .or(config.map(|config| &config.shards));
    let test = match (shards, settings.compute) {
        (Some(shards), Some(_)) => Some(ShardReader::open(&split_dir(
            shards,
            plain_of(&report)?.split,
        )?)?),
        _ => None,
    };
    let sliced = match (&settings.slice_by, &after) {
        (None, _) => None,
        (Some((column, table)), Some(after)) => {
            let file = format!("predictions-{}.parquet", plain_of(&report)?.tte.as_str());
            Some(slices::slices(
                &run.join(file),
                after,
                column,
                table.as_deref(),
            )?)
        }
        (Some(_), None) => {
            missing.push("accuracy by slices: the run kept no predictions".into());
            None
        }
    };
    let log = curves::read(run)?;
    let text = run.join("config.toml");
    let recorded = Recorded {
        before: before.as_deref(),
        after: after.as_deref(),
        log: &log.points,
        validations: &log.validations,
        consistency: found,
        provenance: Provenance::read(run)?,
        settings: if text.exists() {
            Some(fs::read_to_string(&text).map_err(Error::io(&text))?)
        } else {
            None
        },
        compared: &compared,
        slices: sliced,
        bands: test.as_ref().map(|test| test.manifest().bands),
        missing,
    };
    let joined = RunReport::of(&report, recorded)?;
    let mut shown = Shown {
        day: written_on(run),
        ..Shown::default()
    };
    if let (Some(test), Some(after)) = (&test, &after) {
        pictures::gather(test, &joined, after, &mut shown)?;
    }
    Ok((joined, shown))
}

/// What the run's model said in the plain evaluation, computed where it was not kept.
fn after(
    run: &Path,
    report: &Report,
    settings: &ReportSettings,
    missing: &mut Vec<String>,
) -> Result<Option<Vec<Prediction>>> {
    let evaluation = plain_of(report)?;
    let path = run.join(format!("predictions-{}.parquet", evaluation.tte.as_str()));
    if !path.exists() {
        let (Some(device), Some(config), Tte::None) =
            (settings.compute, &settings.config, evaluation.tte)
        else {
            missing.push(
                "confusion, calibration and intervals of classes: the run kept no predictions"
                    .into(),
            );
            return Ok(None);
        };
        terminal::say("computing: predictions after tuning");
        let settings = EvalSettings {
            predictions: Some(path.clone()),
            split: evaluation.split,
            ..EvalSettings::of_run(config, Tte::None, device)
        };
        eval(run, Some(&config.model), &settings)?;
    }
    let judged = read_predictions(&path, report.num_classes)?;
    let right = judged
        .iter()
        .filter(|one| one.label == one.predicted)
        .count();
    let share = right as f64 / judged.len().max(1) as f64;
    let images = judged.len() as u64;
    let recorded = &evaluation.metrics;
    let recorded_share = recorded.overall.unwrap_or(0.0);
    // Another machine may round some logits differently: then one image in a thousand may change sides.
    if images != recorded.images || (share - recorded_share).abs() > 1e-3 {
        return Err(Error::BadRun {
            path,
            reason: format!(
                "{:.2} % of {images} images are right, report.json says {:.2} % of {}\nhint: remove it, it is made anew",
                100.0 * share,
                100.0 * recorded_share,
                recorded.images
            ),
        });
    }
    Ok(Some(judged))
}

/// What the run's model said before its first step, computed where it was not kept.
fn before(
    run: &Path,
    report: &Report,
    config: &TrainConfig,
    compute: Option<Device>,
    missing: &mut Vec<String>,
) -> Result<Option<Vec<Prediction>>> {
    let path = run.join(BEFORE);
    if !path.exists() {
        let Some(device) = compute else {
            missing.push("accuracy before tuning".into());
            return Ok(None);
        };
        outputs::prepare([path.as_path()])?;
        terminal::say("computing: predictions before tuning");
        let inputs = Inputs::open(config, device, None)?;
        if let Some(provenance) = Provenance::read(run)? {
            provenance.origins.require_same(&inputs.origins, config)?;
        }
        let Inputs {
            mut model,
            judged,
            normalisation,
            ..
        } = inputs;
        if config.init.makes().is_some() {
            let head = Head::read(&run.join(MADE_HEAD))?;
            let (kind, scale) = (config.classifier, config.scale());
            model.start_from(Classifier::new(kind, &head.weight, scale));
        }
        model.bring_texts_up(config.max_memory)?;
        let settings = EvalSettings {
            predictions: Some(path.clone()),
            ..EvalSettings::of_run(config, Tte::None, device)
        };
        let transfer = Transfer::open(Target::of(&model.visual, normalisation))?;
        // Where there was nothing to judge there is no report to ask for this.
        if let Some(judged) = judged {
            let (_, written) = judge(&settings, &Arc::new(judged), &model, &transfer, None, None)?;
            written?;
        }
    }
    read_predictions(&path, report.num_classes).map(Some)
}

/// The day on which the run's report was written, by its file: a run does not say when it was.
fn written_on(run: &Path) -> Option<String> {
    let written = fs::metadata(run.join("report.json"))
        .ok()?
        .modified()
        .ok()?;
    day::utc(written)
}
