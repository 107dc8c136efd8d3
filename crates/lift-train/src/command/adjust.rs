//! `lift-train adjust`: judges the logits of a split once, chooses the shift and the temperature, and keeps them.
//!
//! The logits are computed where none are given, and kept in the run's folder (`logits-SPLIT-ENSEMBLING.parquet`), so that
//! asking again computes nothing. Invariant: nothing is chosen on images that a model is judged on or was trained on, unless
//! that was asked for in so many words; and what is kept is of the run's own tuned tensors.

mod found;

use std::{
    fs,
    path::{Path, PathBuf},
};

use lift_page::terminal;
use lift_shards::{
    layout::split_dir,
    manifest::MANIFEST_FILE,
    split::{Band, BandEdges},
};

use super::{
    HeadFile,
    choosing::require_choosable,
    evaluation::{EvalSettings, eval, zero_shot},
};
use crate::{
    adjustment::{Adjusting, Adjustment, Chosen},
    balance::{
        calibration::{fit, measure},
        curve::{Judges, Monitor, best, curve, strengths},
        estimate::estimate,
        prior,
        rows::Rows,
    },
    config::{TrainConfig, start::TUNED},
    error::{Error, Result},
    eval::EvalView,
    file_hash::of_file,
    logits::{About, LogitsFile},
    loss::LossKind,
    report::Report,
    run::{self, Tuned},
};

pub use found::Found;
use found::FoundPrior;

/// How often classes come where the model is going to be used.
#[derive(Clone, Debug, PartialEq)]
pub enum Prior {
    /// All alike.
    Uniform,
    /// As in training.
    Train,
    /// As a table says.
    File(PathBuf),
    /// As the logits of images without labels say.
    Estimate(PathBuf),
}

/// What an adjustment is chosen by.
#[derive(Clone, Debug)]
pub struct AdjustSettings {
    /// The run's folder.
    pub run: PathBuf,
    /// Its model, where it lies now; none: as the run says.
    pub model: Option<PathBuf>,
    /// How its logits are computed; of which split.
    pub eval: EvalSettings,
    /// Logits to take instead.
    pub logits: Option<PathBuf>,
    /// Strengths of the shift; none: by the loss.
    pub tau: Option<Vec<f64>>,
    /// What is made large; none: by the prior.
    pub monitor: Option<Monitor>,
    /// How often classes come.
    pub prior: Prior,
    /// Class texts whose zero-shot logits are added, a classifier file; or such logits of the same images.
    pub text: Option<PathBuf>,
    /// What logits are divided by; none: fitted.
    pub temperature: Option<f64>,
    /// Whether the test or the training split may be chosen on.
    pub any_split: bool,
    /// Whether the choice is only shown.
    pub dry_run: bool,
}

/// Chooses an adjustment and keeps it in the run.
///
/// # Errors
/// When the run, its images or a file cannot be used, the split is not one to choose on, or the run's folder cannot be
/// written.
pub fn adjust(settings: &AdjustSettings) -> Result<Found> {
    let run = &settings.run;
    let config = run::read_config(run)?;
    let tuned = Tuned::read(run)?;
    let edges = Report::read(run)?.bands.unwrap_or_default();
    let file = match &settings.logits {
        Some(path) => LogitsFile::open(path)?,
        None => {
            require_choosable(settings.eval.split, settings.any_split, "--split")?;
            computed(settings)?
        }
    };
    let about = file.about().clone();
    require_choosable(about.split, settings.any_split, "--split")?;
    require_own(run, &tuned, &file)?;
    if about.images == 0 {
        return Err(Error::BadRun {
            path: file.path().into(),
            reason: "has no image to choose on".into(),
        });
    }
    let mut images = vec![0; about.num_classes];
    for label in file.labels()? {
        images[label as usize] += 1;
    }
    let texts = settings
        .text
        .as_deref()
        .filter(|path| is_classifier_file(path));
    let rows = match &settings.text {
        None => Rows::new(file),
        Some(path) => {
            let alike = prior::weights(&prior::uniform(about.num_classes), &images);
            let of_text = match texts {
                Some(texts) => computed_of_text(settings, &config, texts, &about)?,
                None => LogitsFile::open(path)?,
            };
            Rows::new(file).with_text(of_text, &alike)?
        }
    };

    let strengths = settings
        .tau
        .clone()
        .unwrap_or_else(|| usual_strengths(&config));
    let log_train = prior::centred_log(&prior::of_counts(&tuned.class_counts));
    let alike = prior::uniform(about.num_classes);
    let judges = |shares| Judges {
        train_counts: &tuned.class_counts,
        edges,
        shares,
    };
    let (shares, estimated) = match &settings.prior {
        Prior::Uniform => (alike.clone(), None),
        Prior::Train => (prior::of_counts(&tuned.class_counts), None),
        Prior::File(path) => (prior::of_file(path, &tuned.class_names)?, None),
        Prior::Estimate(path) => {
            let unlabelled = unlabelled(path, run, &tuned, &about)?;
            let shifts = shifts(&strengths, &log_train, &alike);
            let points = curve(&rows, &shifts, judges(&alike))?;
            let best = best(&points, Monitor::MeanClass).unwrap_or(0);
            let (_, bias) = &shifts[best];
            let temperature = fit(&rows, bias, &prior::weights(&alike, &images))?;
            let found = estimate(&unlabelled, bias, temperature, settings.eval.look.seed)?;
            (prior::normalised(&found.shares), Some(found))
        }
    };
    let monitor = settings.monitor.unwrap_or(match settings.prior {
        Prior::Uniform => Monitor::MeanClass,
        _ => Monitor::Expected,
    });

    let mut shifts = shifts(&strengths, &log_train, &shares);
    shifts.insert(0, (0.0, vec![0.0; about.num_classes]));
    let mut points = curve(&rows, &shifts, judges(&shares))?;
    let as_trained = points.remove(0);
    shifts.remove(0);
    let at = best(&points, monitor).ok_or_else(|| {
        Error::Usage(format!(
            "--monitor {}: there is no such figure, a band or class has no image of {}",
            monitor.as_str(),
            about.split
        ))
    })?;
    let (tau, bias) = shifts.swap_remove(at);

    let weights = prior::weights(&shares, &images);
    let temperature = match settings.temperature {
        Some(temperature) => temperature,
        None => fit(&rows, &bias, &weights)?,
    };
    let none = vec![0.0; about.num_classes];
    let calibration = [
        measure(&rows, &none, 1.0, &weights)?,
        measure(&rows, &bias, 1.0, &weights)?,
        measure(&rows, &bias, temperature, &weights)?,
    ];
    let chosen = Chosen {
        split: about.split,
        shards: about.shards.clone(),
        images: about.images,
        tte: about.tte.clone(),
        tau,
        prior: prior_name(&settings.prior).into(),
        monitor: monitor.as_str().into(),
        before: as_trained.monitored(monitor),
        after: points[at].monitored(monitor),
    };
    let tuned_hash = of_file(&run.join(TUNED))?;
    let whole: Vec<f64> = match rows.text_bias() {
        None => bias.clone(),
        Some(text) => bias.iter().zip(text).map(|(a, b)| a + b).collect(),
    };
    let mut adjustment = Adjustment::new(
        tuned.class_hash.clone(),
        tuned_hash,
        (&whole, temperature),
        chosen,
    );
    // Of logits alone nothing follows for new images.
    let can_be_kept = texts.is_some() || settings.text.is_none();
    let kept = match can_be_kept && !settings.dry_run {
        true => Some(adjustment.write(run, texts)?),
        false => None,
    };
    Ok(Found {
        format: "lift-adjust-report/1".into(),
        about,
        loss: loss_said(&config),
        with_text: settings.text.is_some(),
        with_text_logits: settings.text.is_some() && texts.is_none(),
        prior: FoundPrior {
            kind: prior_name(&settings.prior).into(),
            shares,
            estimated,
        },
        class_names: tuned.class_names,
        monitor,
        band_images: band_images(&tuned.class_counts, &images, edges),
        as_trained,
        curve: points,
        chosen: at,
        calibration,
        adjustment,
        kept,
    })
}

/// Removes what a run keeps; whether there was something.
///
/// # Errors
/// When there is no run, or the file cannot be removed.
pub fn reset_adjustment(run: &Path) -> Result<bool> {
    run::read_config(run)?;
    Adjustment::remove(run)
}

/// Images of classes with many, medium and few training images.
fn band_images(train: &[u64], images: &[u64], edges: BandEdges) -> [u64; 3] {
    Band::ALL.map(|band| {
        let of = train.iter().zip(images);
        let of = of.filter(|&(&n, _)| edges.band(n) == band);
        of.map(|(_, &images)| images).sum()
    })
}

/// The strengths that are looked at where none are typed: around 0 where the loss has made up for rare classes.
fn usual_strengths(config: &TrainConfig) -> Vec<f64> {
    let range = match config.loss {
        LossKind::La if config.tau == 0.0 => "0:2:0.1",
        LossKind::La | LossKind::Bs | LossKind::Lade | LossKind::Cb | LossKind::Grw => "-1:1:0.1",
        LossKind::Ce | LossKind::Focal | LossKind::Ldam => "0:2:0.1",
    };
    strengths(range).expect("they are ranges")
}

/// The loss, and how much of the shift is in it.
fn loss_said(config: &TrainConfig) -> String {
    match config.loss {
        LossKind::La => format!("la with tau {}", config.tau),
        other => other.to_string(),
    }
}

fn prior_name(prior: &Prior) -> &'static str {
    match prior {
        Prior::Uniform => "uniform",
        Prior::Train => "train",
        Prior::File(_) => "given",
        Prior::Estimate(_) => "estimated",
    }
}

/// What is added to the logits at each strength: `-tau log p + log q`, with mean 0.
fn shifts(strengths: &[f64], log_train: &[f64], shares: &[f64]) -> Vec<(f64, Vec<f64>)> {
    let towards = prior::centred_log(shares);
    let bias = |&tau: &f64| {
        let both = log_train.iter().zip(&towards);
        (tau, both.map(|(p, q)| q - tau * p).collect())
    };
    strengths.iter().map(bias).collect()
}

/// The run's logits of the split, which are computed where its folder has none that fit.
fn computed(settings: &AdjustSettings) -> Result<LogitsFile> {
    let (run, eval_settings) = (&settings.run, &settings.eval);
    let (split, look) = (eval_settings.split, eval_settings.look);
    let path = run.join(format!("logits-{split}-{}.parquet", look.tte.as_str()));
    let folder = split_dir(&eval_settings.shards, split)?;
    let shards = of_file(&folder.join(MANIFEST_FILE))?;
    let tuned = of_file(&run.join(TUNED))?;
    if path.exists() {
        let file = LogitsFile::open(&path)?;
        let about = file.about();
        let same_view = about.crops == look.view().crops()
            && about.pass == Some(eval_settings.pass())
            && (about.expand.is_none() || look.expand.is_none_or(|e| about.expand == Some(e)));
        if about.shards == shards && about.tuned.as_ref() == Some(&tuned) && same_view {
            return Ok(file);
        }
        fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    terminal::say(format_args!("computing: the logits of {split}"));
    let settings_of = EvalSettings {
        logits: Some(path.clone()),
        adjusting: Adjusting::LeftOut,
        ..eval_settings.clone()
    };
    eval(run, settings.model.as_deref(), &settings_of)?;
    LogitsFile::open(&path)
}

/// Whether it holds class texts, and not logits.
fn is_classifier_file(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// The zero-shot logits of these class texts, of the images that the run's logits are of.
fn computed_of_text(
    settings: &AdjustSettings,
    config: &TrainConfig,
    texts: &Path,
    about: &About,
) -> Result<LogitsFile> {
    let (run, split) = (&settings.run, about.split);
    let path = run.join(format!("logits-{split}-{}-text.parquet", about.tte));
    if path.exists() {
        fs::remove_file(&path).map_err(Error::io(&path))?;
    }
    terminal::say(format_args!("computing: the zero-shot logits of {split}"));
    let look = EvalView {
        expand: about.expand.or(settings.eval.look.expand),
        ..settings.eval.look
    };
    let of_text = EvalSettings {
        split,
        look,
        logits: Some(path.clone()),
        ..settings.eval.clone()
    };
    let model = settings.model.as_ref().unwrap_or(&config.model);
    // That classes have the same text is no fault of the run.
    zero_shot(model, HeadFile::new(texts, true), None, &of_text)?;
    LogitsFile::open(&path)
}

/// Refuses logits that the run's tuned tensors did not give.
fn require_own(run: &Path, tuned: &Tuned, file: &LogitsFile) -> Result<()> {
    let about = file.about();
    let ours = of_file(&run.join(TUNED))?;
    if about.class_hash == tuned.class_hash && about.tuned.as_ref() == Some(&ours) {
        return Ok(());
    }
    let what = if about.class_hash == tuned.class_hash {
        "tuned tensors"
    } else {
        "classes"
    };
    Err(Error::BadRun {
        path: file.path().into(),
        reason: format!(
            "logits of other {what} than the run {} has (they are of {})\nhint: `lift-train eval {} --logits FILE.parquet` writes the run's own",
            run.display(),
            about.run,
            run.display()
        ),
    })
}

/// Logits of images whose classes are to be counted: of the run, and looked at as those that were chosen on.
fn unlabelled(path: &Path, run: &Path, tuned: &Tuned, chosen_on: &About) -> Result<LogitsFile> {
    let file = LogitsFile::open(path)?;
    require_own(run, tuned, &file)?;
    if file.about().tte != chosen_on.tte {
        return Err(Error::BadRun {
            path: path.into(),
            reason: format!(
                "its ensembling is {}, that of the images that are chosen on {}\nhint: give both the same --tte",
                file.about().tte,
                chosen_on.tte
            ),
        });
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_takes_the_training_prior_out_and_puts_the_other_in() {
        let train = prior::centred_log(&[0.8, 0.2]);
        let found = shifts(&[0.0, 1.0], &train, &[0.5, 0.5]);
        let gap = |bias: &[f64]| bias[1] - bias[0];
        assert_eq!(gap(&found[0].1), 0.0);
        assert!((gap(&found[1].1) - 4f64.ln()).abs() < 1e-12);
        let found = shifts(&[1.0], &train, &[0.8, 0.2]);
        assert!(
            gap(&found[0].1).abs() < 1e-12,
            "the same frequencies: no shift"
        );
    }
}
