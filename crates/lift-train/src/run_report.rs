//! The report of a run: everything its folder says, joined and computed, for people and programs.
//!
//! [`RunReport::of`] computes from what was recorded and reads nothing; [`crate::command::report`] finds and makes what it
//! needs. [`page`] turns it into HTML and Markdown, [`summary`] into a few lines for a terminal. Invariant: every figure
//! is computed from recorded predictions, logs and counts; what is not there is `None` or named in `missing`.

pub mod curves;
pub mod interval;
pub mod judged;
pub mod page;
pub mod slices;
pub mod smooth;
mod summary;

use lift_shards::{
    classes::told_apart,
    split::{Band, BandEdges},
};
use serde::Serialize;

pub use summary::summary;

use crate::{
    consistency::Consistency,
    error::{Error, Result},
    eval::{Evaluation, Tte},
    metrics::{Classes, Metrics, Prediction, wilson},
    provenance::{Provenance, shell_line},
    report::{Report, Training},
    validation::Selection,
};
use curves::{CurvePoint, ValidationPoint};
use interval::{Mean, Tested, settled};
use judged::{Bin, Mistake, PAIRS, bins, mistakes};
use slices::Slices;
use smooth::{SPAN, loess};

/// What a run's folder holds, and the runs it is compared with.
#[derive(Default)]
pub struct Recorded<'a> {
    /// What was said of each test image before the first step; none where that is not known.
    pub before: Option<&'a [Prediction]>,
    /// What the tuned model said, in the plain evaluation; none where that is not known.
    pub after: Option<&'a [Prediction]>,
    /// `metrics.jsonl`.
    pub log: &'a [CurvePoint],
    /// Its validations.
    pub validations: &'a [ValidationPoint],
    /// Training against test images; none where it was not measured.
    pub consistency: Option<Consistency>,
    /// How the run was started; none in runs of an earlier version.
    pub provenance: Option<Provenance>,
    /// `config.toml`; none without training.
    pub settings: Option<String>,
    /// Reports of other runs with the same classes.
    pub compared: &'a [Report],
    /// Accuracy by slices, where it was asked for.
    pub slices: Option<Slices>,
    /// Where the bands end, for reports that do not say.
    pub bands: Option<BandEdges>,
    /// What is not there, and why.
    pub missing: Vec<String>,
}

/// The report of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunReport {
    /// `lift-run-report/1`.
    pub format: String,
    /// The run's folder name.
    pub name: String,
    /// As the shards' manifest says.
    pub dataset: String,
    /// The model that was tuned: the last part of its path.
    pub model: String,
    /// The prompt of the classifier file, or how the classifier was made.
    pub template: String,
    /// Where it ran, and in which precision.
    pub device: String,
    /// Number of classes.
    pub num_classes: usize,
    /// Training images; none where they are not known.
    pub train_images: Option<u64>,
    /// Test images.
    pub test_images: u64,
    /// Where the bands end.
    pub bands: BandEdges,
    /// Accuracies of each evaluation, in 0..=1.
    pub accuracy: Vec<Accuracy>,
    /// What was tuned; none for zero-shot.
    pub parameters: Option<Parameters>,
    /// What it took; none for zero-shot.
    pub cost: Option<Cost>,
    /// Training, thinned to at most 400 points.
    pub curves: Vec<CurvePoint>,
    /// Accuracy on the `val` split while training; empty where none was measured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<ValidationPoint>,
    /// How the weights were chosen, where the `val` split was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// In label order.
    pub per_class: Vec<ClassLine>,
    /// Smoothed accuracy over the logarithm of the training count, at each count that occurs.
    pub frequency: Vec<Smoothed>,
    /// The pairs of classes that are confused most, by falling number of images.
    pub confused: Vec<Confused>,
    /// All pairs that are. Not in the JSON: the files of predictions have them.
    #[serde(skip)]
    pub mistakes: Vec<Mistake>,
    /// Confidence against accuracy, before and after; 15 bins each, none where predictions are not known.
    pub calibration: Calibration,
    /// Training against test images in feature space.
    pub consistency: Option<Consistency>,
    /// What repeats it.
    pub reproduce: Reproduce,
    /// Other runs, and this one first.
    pub compared: Vec<Compared>,
    /// Accuracy by slices of the test images, where that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slices: Option<Slices>,
    /// What is not there, and why.
    pub missing: Vec<String>,
}

/// Which model was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Before the first step: the frozen tower, and the classifier that training starts from.
    BeforeTuning,
    /// What came out of training.
    AfterTuning,
    /// A model that was not trained.
    Untrained,
}

impl State {
    /// As in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeTuning => "before tuning",
            Self::AfterTuning => "after tuning",
            Self::Untrained => "untrained",
        }
    }
}

/// A figure with its 95 % interval, where that is known.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// In 0..=1.
    pub value: f64,
    /// Lower and upper end.
    pub interval: Option<[f64; 2]>,
}

/// The accuracies of one evaluation; none where no image was judged. Intervals are bootstraps within each class (1,000
/// resamples), or Wilson's where a class has fewer than ten test images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Which model.
    pub state: State,
    /// `plain`, `five-crop`, ...
    pub test_time: String,
    /// Right images over all.
    pub overall: Option<Figure>,
    /// Mean of the per-class accuracies.
    pub mean_class: Option<Figure>,
    /// That mean over a band, where it has classes.
    pub many: Option<Figure>,
    /// As `many`.
    pub medium: Option<Figure>,
    /// As `many`.
    pub few: Option<Figure>,
    /// Among the five largest logits; none with five classes or fewer.
    pub top5: Option<f64>,
    /// Mean F1.
    pub macro_f1: Option<f64>,
    /// Accuracy of the worst class.
    pub worst_class: Option<f64>,
    /// Expected calibration error, 15 bins.
    pub calibration_error: Option<f64>,
}

impl Accuracy {
    fn new(state: State, test_time: &str, m: &Metrics, tested: Option<&Tested>) -> Self {
        // Those of another split are not known.
        let tested = tested.filter(|tested| tested.all.iter().sum::<u64>() == m.images);
        let settle = |value: Option<f64>, resampled, images: Option<&[u64]>, mean| {
            value.map(|value| Figure {
                value,
                interval: settled(value, resampled, images, mean),
            })
        };
        let i = &m.intervals;
        let all = tested.map(|tested| tested.all.as_slice());
        let band = |band: Band, value, resampled| {
            let images = tested.map(|tested| tested.bands[band as usize].as_slice());
            settle(value, resampled, images, Mean::Classes)
        };
        Self {
            state,
            test_time: test_time.into(),
            overall: settle(m.overall, i.overall, all, Mean::Images),
            mean_class: settle(m.mean_class, i.mean_class, all, Mean::Classes),
            many: band(Band::Many, m.many, i.many),
            medium: band(Band::Medium, m.medium, i.medium),
            few: band(Band::Few, m.few, i.few),
            top5: m.top5,
            macro_f1: m.macro_f1,
            worst_class: m.worst_class,
            calibration_error: m.calibration_error,
        }
    }

    /// Overall, mean class, many, medium, few.
    pub fn figures(&self) -> [Option<Figure>; 5] {
        [
            self.overall,
            self.mean_class,
            self.many,
            self.medium,
            self.few,
        ]
    }
}

/// Numbers of parameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parameters {
    /// The modules, as they are named on the command line.
    pub tuner: String,
    /// Tuned in them.
    pub modules: u64,
    /// Tuned in the classifier.
    pub classifier: u64,
    /// Of the image tower.
    pub frozen: u64,
    /// Modules over tower.
    pub module_share: f64,
}

/// What a run took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Passes over the training images.
    pub epochs: Option<usize>,
    /// Steps of the optimiser.
    pub steps: usize,
    /// Wall time of training in seconds.
    pub seconds: f64,
    /// Images seen in a second.
    pub images_per_second: f64,
    /// Share of the time in which the step waited for data.
    pub data_wait_share: f64,
    /// Wall time of the evaluations in seconds.
    pub evaluation_seconds: f64,
    /// The most memory of the host that the process had resident; not that of a GPU.
    pub peak_memory_bytes: Option<u64>,
    /// The most memory of the GPU that training took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_device_bytes: Option<u64>,
}

/// One class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClassLine {
    /// Its label.
    pub label: usize,
    /// Its name, with the label where several classes bear it.
    pub class: String,
    /// Training images, where they are known.
    pub train_count: Option<u64>,
    /// Its band, where they are.
    pub band: Option<Band>,
    /// Test images, where predictions are known.
    pub test_count: Option<u64>,
    /// Accuracy before tuning.
    pub before: Option<f64>,
    /// Accuracy after tuning, in the plain evaluation.
    pub after: Option<f64>,
    /// Its 95 % interval (Wilson).
    pub interval: Option<[f64; 2]>,
    /// The class that it is taken for most, and how many of its images are.
    pub taken_for: Option<(String, u64)>,
}

/// The smoothed accuracies of classes with so many training images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Smoothed {
    /// Training images.
    pub train_count: u64,
    /// Before tuning.
    pub before: Option<f64>,
    /// After tuning.
    pub after: Option<f64>,
}

/// A class that is taken for another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confused {
    /// The label of what the images are.
    pub label: u32,
    /// Its name.
    pub class: String,
    /// The label of what they were taken for.
    pub predicted: u32,
    /// Its name.
    pub predicted_class: String,
    /// How many.
    pub images: u64,
    /// How many the class has.
    pub of: u64,
}

/// Bins of confidence.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Calibration {
    /// Before tuning.
    pub before: Option<Vec<Bin>>,
    /// After tuning, in the plain evaluation.
    pub after: Option<Vec<Bin>>,
}

/// What repeats a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reproduce {
    /// Version of lift-train.
    pub tool_version: String,
    /// The command that was typed; none where it was not kept.
    pub command: Option<String>,
    /// The settings that it meant, `config.toml`; none without training.
    pub settings: Option<String>,
    /// Hash of the class list.
    pub class_hash: String,
    /// Hash of the training shards' manifest, which holds those of the shards.
    pub shards: Option<String>,
    /// Hash of the classifier file.
    pub head: Option<String>,
    /// Hash of the model's image tower.
    pub model: Option<String>,
}

/// One of several runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Its folder name.
    pub name: String,
    /// Its evaluations.
    pub accuracy: Vec<Accuracy>,
    /// Accuracy of each class, in its plain evaluation where it has one.
    pub per_class: Vec<Option<f64>>,
}

impl RunReport {
    /// Computes the report of a run.
    ///
    /// # Errors
    /// When predictions do not belong to this run's evaluation, or a compared run has other classes.
    pub fn of(report: &Report, recorded: Recorded<'_>) -> Result<Self> {
        let bands = report.bands.or(recorded.bands).unwrap_or_default();
        let plain = plain_of(report)?;
        let state = if report.is_tuned() {
            State::AfterTuning
        } else {
            State::Untrained
        };
        let classes = Classes {
            count: report.num_classes,
            train_counts: report.train_counts.as_deref(),
            edges: bands,
        };
        // Both are of the same images.
        let tested = recorded.after.or(recorded.before);
        let tested = tested.map(|judged| Tested::of(judged, classes));
        let seed = report.config.as_ref().map_or(0, |config| config.seed);
        let before = recorded
            .before
            .map(|judged| Metrics::new(judged, classes, seed));
        let mut accuracy: Vec<Accuracy> = before
            .iter()
            .map(|metrics| {
                let plain = Tte::None.as_str();
                Accuracy::new(State::BeforeTuning, plain, metrics, tested.as_ref())
            })
            .collect();
        accuracy.extend(accuracies(report, state, tested.as_ref()));
        let per_class = class_lines(report, bands, plain, before.as_ref(), recorded.after);
        let mut compared = Vec::new();
        if !recorded.compared.is_empty() {
            for other in std::iter::once(report).chain(recorded.compared) {
                compared.push(compare(report, other, tested.as_ref())?);
            }
        }
        let provenance = recorded.provenance;
        let origins = provenance.as_ref().map(|p| &p.origins);
        let command = provenance.as_ref().map(|p| &p.command);
        Ok(Self {
            format: "lift-run-report/1".into(),
            name: report.name.clone(),
            dataset: report.dataset.clone(),
            model: lift_models::hub::short_name(report.model.as_ref()),
            template: report.template.clone(),
            device: format!("{}, {}", report.device, report.precision),
            num_classes: report.num_classes,
            train_images: report
                .train_counts
                .as_ref()
                .map(|counts| counts.iter().sum()),
            test_images: plain.metrics.images,
            bands,
            accuracy,
            parameters: parameters(report),
            cost: report
                .training
                .as_ref()
                .map(|training| cost(report, training)),
            curves: curves::thin(recorded.log),
            validation: recorded.validations.to_vec(),
            selection: report.selection.clone(),
            frequency: frequency(&per_class),
            per_class,
            confused: confused(report, recorded.after.unwrap_or_default()),
            mistakes: mistakes(recorded.after.unwrap_or_default()),
            calibration: Calibration {
                before: recorded.before.map(bins),
                after: recorded.after.map(bins),
            },
            consistency: recorded.consistency,
            reproduce: Reproduce {
                tool_version: report.tool_version.clone(),
                command: command
                    .filter(|words| !words.is_empty())
                    .map(|words| shell_line(words)),
                settings: recorded.settings,
                class_hash: report.class_hash.clone(),
                shards: origins.map(|origins| origins.shards.clone()),
                head: origins.and_then(|origins| origins.head.clone()),
                model: origins.map(|origins| origins.model.clone()),
            },
            compared,
            slices: recorded.slices,
            missing: recorded.missing,
        })
    }
}

/// The evaluation that classes are looked at in: the plain one where there is one, or the first.
///
/// # Errors
/// When the report has no evaluation.
pub fn plain_of(report: &Report) -> Result<&Evaluation> {
    let all = &report.evaluations;
    let plain = all.iter().find(|evaluation| evaluation.tte == Tte::None);
    plain.or(all.first()).ok_or_else(|| {
        Error::Config(format!(
            "{}: its report has no evaluation: the run had no split to be judged on\nhint: `lift-train eval RUN --shards DIR` judges it on shards that have one",
            report.name
        ))
    })
}

fn accuracies(report: &Report, state: State, tested: Option<&Tested>) -> Vec<Accuracy> {
    let line = |evaluation: &Evaluation| {
        Accuracy::new(state, evaluation.tte.as_str(), &evaluation.metrics, tested)
    };
    report.evaluations.iter().map(line).collect()
}

fn compare(first: &Report, other: &Report, tested: Option<&Tested>) -> Result<Compared> {
    if other.class_hash != first.class_hash {
        return Err(Error::Config(format!(
            "{}: its classes are not those of {}\nhint: only runs on the same classes are compared",
            other.name, first.name
        )));
    }
    let state = if other.is_tuned() {
        State::AfterTuning
    } else {
        State::Untrained
    };
    Ok(Compared {
        name: other.name.clone(),
        accuracy: accuracies(other, state, tested),
        per_class: plain_of(other)?.metrics.per_class.clone(),
    })
}

fn parameters(report: &Report) -> Option<Parameters> {
    let counts = report.parameters?;
    let tuner = report
        .config
        .as_ref()
        .map(|config| config.tuner.to_string());
    Some(Parameters {
        tuner: tuner.unwrap_or_default(),
        modules: counts.modules,
        classifier: counts.classifier,
        frozen: counts.frozen,
        module_share: counts.module_share(),
    })
}

fn cost(report: &Report, training: &Training) -> Cost {
    Cost {
        epochs: report.config.as_ref().map(|config| config.epochs),
        steps: training.steps,
        seconds: training.seconds,
        images_per_second: training.images_per_second,
        data_wait_share: training.data_wait_share,
        evaluation_seconds: report.evaluations.iter().map(|e| e.seconds).sum(),
        peak_memory_bytes: training.peak_memory_bytes,
        peak_device_bytes: training.peak_device_bytes,
    }
}

fn class_lines(
    report: &Report,
    bands: BandEdges,
    plain: &Evaluation,
    before: Option<&Metrics>,
    after: Option<&[Prediction]>,
) -> Vec<ClassLine> {
    let mut right = vec![0u64; report.num_classes];
    let mut total = vec![0u64; report.num_classes];
    for one in after.unwrap_or_default() {
        total[one.label as usize] += 1;
        right[one.label as usize] += u64::from(one.label == one.predicted);
    }
    let names = told_apart(&report.class_names);
    let mut taken_for = vec![None; report.num_classes];
    // The largest comes first and stays.
    for mistake in mistakes(after.unwrap_or_default()) {
        let name = names[mistake.predicted as usize].clone();
        taken_for[mistake.label as usize].get_or_insert((name, mistake.images));
    }
    let line = |(label, class): (usize, &String)| {
        let train_count = report.train_counts.as_ref().map(|counts| counts[label]);
        ClassLine {
            label,
            class: class.clone(),
            train_count,
            band: train_count.map(|count| bands.band(count)),
            test_count: after.map(|_| total[label]),
            before: before.and_then(|metrics| metrics.per_class[label]),
            after: plain.metrics.per_class[label],
            interval: wilson(right[label], total[label]),
            taken_for: taken_for[label].take(),
        }
    };
    names.iter().enumerate().map(line).collect()
}

fn frequency(classes: &[ClassLine]) -> Vec<Smoothed> {
    let count = |class: &ClassLine| class.train_count.filter(|&count| count > 0);
    let mut counts: Vec<u64> = classes.iter().filter_map(count).collect();
    counts.sort_unstable();
    counts.dedup();
    let places: Vec<f64> = counts.iter().map(|&count| (count as f64).ln()).collect();
    let smoothed = |accuracy: &dyn Fn(&ClassLine) -> Option<f64>| {
        let point = |class: &ClassLine| Some(((count(class)? as f64).ln(), accuracy(class)?));
        let points: Vec<(f64, f64)> = classes.iter().filter_map(point).collect();
        loess(&points, &places, SPAN)
    };
    let (before, after) = (
        smoothed(&|class| class.before),
        smoothed(&|class| class.after),
    );
    // Systems' logarithms differ in their last digits.
    let round = |value: &f64| (value * 1e6).round() / 1e6;
    let at = |(i, train_count): (usize, u64)| Smoothed {
        train_count,
        before: before.get(i).map(round),
        after: after.get(i).map(round),
    };
    counts.into_iter().enumerate().map(at).collect()
}

fn confused(report: &Report, judged: &[Prediction]) -> Vec<Confused> {
    let names = told_apart(&report.class_names);
    let name = |label: u32| names[label as usize].clone();
    let all = mistakes(judged);
    let pair = |mistake: &judged::Mistake| Confused {
        label: mistake.label,
        class: name(mistake.label),
        predicted: mistake.predicted,
        predicted_class: name(mistake.predicted),
        images: mistake.images,
        of: judged
            .iter()
            .filter(|one| one.label == mistake.label)
            .count() as u64,
    };
    all.iter().take(PAIRS).map(pair).collect()
}

#[cfg(test)]
mod tests;
