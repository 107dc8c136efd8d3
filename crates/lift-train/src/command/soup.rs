//! `lift-train soup`: runs averaged into a run that evaluates like any other.
//!
//! The folder gets `config.toml` (of the ingredient with the most training images), `tuned.safetensors`, `soup.json` with
//! what was mixed, `provenance.json` and, last, `report.json`. Invariant: the same runs, in whatever order, give the same
//! tensors; no ingredient is changed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use lift_models::{Head, hub};
use lift_page::{escape::visible, terminal::aligned};
use lift_shards::{Split, atomic, layout::split_dir, shard::ShardReader};
use serde::Serialize;
use tch::{Device, Tensor};

use super::{
    check_classes,
    choosing::require_choosable,
    evaluation::{EvalSettings, judge, load_tuned},
    inputs::Inputs,
    report_of, settled,
};
use crate::{
    balance::curve::Monitor,
    classifier::Classifier,
    config::TrainConfig,
    error::{Error, Result},
    eval::{Evaluation, Tte},
    metrics::Metrics,
    model::ParameterCounts,
    provenance::Provenance,
    report::Report,
    run::{self, MADE_HEAD, Tuned},
    soup::{Ingredient, average, require_alike, require_identity_at_start},
    transfer::{Target, Transfer},
};

const FORMAT: &str = "lift-soup/1";

/// What decides how much an ingredient weighs.
#[derive(Clone, Debug, PartialEq)]
pub enum Weighing {
    /// All alike.
    Alike,
    /// As given, in the order of the runs.
    Given(Vec<f64>),
    /// From the best on a split downwards, those that make the average better there, all alike.
    Greedy(Split),
}

/// What is averaged, and where to.
#[derive(Clone, Debug)]
pub struct SoupSettings {
    /// Folders of finished runs.
    pub runs: Vec<PathBuf>,
    /// The new run's folder.
    pub out: PathBuf,
    /// How much each weighs.
    pub weighing: Weighing,
    /// What a greedy choice makes better.
    pub monitor: Monitor,
    /// Whether the test or the training split may be chosen on.
    pub any_split: bool,
    /// Share of the start in the result, in 0..=1; none: the average alone.
    pub toward_start: Option<f64>,
    /// Shards that it is judged on, where they lie now; none: as the runs say.
    pub shards: Option<PathBuf>,
    /// The model, where it lies now; none: as the runs say.
    pub model: Option<PathBuf>,
    /// Where it is judged.
    pub device: Device,
    /// The program and its arguments as they were typed.
    pub command: Vec<String>,
}

/// `soup.json`: what was mixed.
#[derive(Clone, Debug, Serialize)]
struct Recipe {
    format: &'static str,
    tool_version: &'static str,
    /// `alike`, `given` or `greedy`.
    weighing: &'static str,
    /// The split of a greedy choice, and the figure that it made better.
    #[serde(skip_serializing_if = "Option::is_none")]
    chosen_on: Option<(Split, &'static str)>,
    /// Share of the start.
    toward_start: f64,
    /// In the order of their hashes.
    ingredients: Vec<Part>,
}

/// An ingredient in it.
#[derive(Clone, Debug, Serialize)]
struct Part {
    /// The folder as it was named.
    run: PathBuf,
    /// Hash of its `tuned.safetensors`.
    tuned: String,
    /// Its share in the average, in 0..=1.
    weight: f64,
    /// The figure that was made better, of the run alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    alone: Option<f64>,
    /// The same of the average with it, when it was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    with_it: Option<f64>,
}

/// Averages runs into a new one and judges it; the report, and the table of what was mixed.
///
/// # Errors
/// When runs do not go together, the folder is not empty, a split is not one to choose on, or an input cannot be used.
pub fn soup(settings: &SoupSettings) -> Result<(Result<Report>, String)> {
    check(settings)?;
    run::require_empty(&settings.out)?;
    let mut given: Vec<(Ingredient, f64)> = Vec::new();
    for (place, path) in settings.runs.iter().enumerate() {
        let weight = match &settings.weighing {
            Weighing::Given(weights) => weights[place],
            _ => 1.0,
        };
        given.push((Ingredient::read(path)?, weight));
    }
    given.sort_by(|(a, _), (b, _)| a.hash.cmp(&b.hash));
    let (ingredients, weights): (Vec<_>, Vec<_>) = given.into_iter().unzip();
    require_alike(&ingredients)?;
    let base = base(&ingredients);
    let config = TrainConfig {
        out: settings.out.clone(),
        shards: settings
            .shards
            .clone()
            .unwrap_or(base.config.shards.clone()),
        model: settings.model.clone().unwrap_or(base.config.model.clone()),
        ..base.config.clone()
    };
    let kitchen = Kitchen::open(&config, base, settings.device)?;

    let all = ingredients.iter().zip(&weights);
    let mut parts: Vec<Part> = all
        .map(|(one, &weight)| Part {
            run: one.run.clone(),
            tuned: one.hash.clone(),
            weight,
            alone: None,
            with_it: None,
        })
        .collect();
    let mut chosen_on = None;
    if let Weighing::Greedy(split) = settings.weighing {
        choose(
            &kitchen,
            &ingredients,
            &mut parts,
            (split, settings.monitor),
        )?;
        chosen_on = Some((split, settings.monitor.as_str()));
    }
    let sum: f64 = parts.iter().map(|part| part.weight).sum();
    parts.iter_mut().for_each(|part| part.weight /= sum);

    let starts = match settings.toward_start {
        None => Vec::new(),
        Some(_) => starts(&ingredients, settings)?,
    };
    let start = settings.toward_start.unwrap_or(0.0);
    let mut mixed: Vec<(f64, &BTreeMap<String, Tensor>)> = Vec::new();
    for (part, one) in parts.iter().zip(&ingredients) {
        if part.weight > 0.0 && start < 1.0 {
            mixed.push((part.weight * (1.0 - start), &one.tuned.file.tensors));
        }
    }
    for (part, one) in parts.iter().zip(&starts) {
        if part.weight > 0.0 && start > 0.0 {
            mixed.push((part.weight * start, one));
        }
    }
    let tensors = average(&mixed);

    let recipe = Recipe {
        format: FORMAT,
        tool_version: env!("CARGO_PKG_VERSION"),
        weighing: match settings.weighing {
            Weighing::Alike => "alike",
            Weighing::Given(_) => "given",
            Weighing::Greedy(_) => "greedy",
        },
        chosen_on,
        toward_start: start,
        ingredients: parts,
    };
    let table = recipe.table(settings.toward_start);
    Ok((kitchen.serve(tensors, &recipe, settings), table))
}

/// Refuses what cannot be meant.
fn check(settings: &SoupSettings) -> Result<()> {
    let usage = |reason: String| Err(Error::Usage(reason));
    let runs = settings.runs.len();
    if runs < 2 && settings.toward_start.is_none() {
        return usage(
            "one run is no mixture\nhint: name several, or --toward zero-shot ALPHA".into(),
        );
    }
    if let Weighing::Given(weights) = &settings.weighing {
        if weights.len() != runs {
            return usage(format!(
                "--weights gives {} numbers for {runs} runs\nhint: one each run, in their order",
                weights.len()
            ));
        }
        let is_weight = |weight: &f64| weight.is_finite() && *weight >= 0.0;
        if !weights.iter().all(is_weight) || weights.iter().sum::<f64>() <= 0.0 {
            return usage("--weights are numbers from 0, not all of them 0".into());
        }
    }
    if let Weighing::Greedy(split) = settings.weighing {
        require_choosable(split, settings.any_split, "--greedy")?;
        if settings.monitor == Monitor::Expected {
            return usage("--monitor expected needs class frequencies, which `lift-train adjust` takes\nhint: mean-class or overall".into());
        }
    }
    match settings.toward_start {
        Some(start) if !(0.0..=1.0).contains(&start) => {
            usage(format!("--toward zero-shot {start}: a share from 0 to 1"))
        }
        _ => Ok(()),
    }
}

/// The ingredient whose settings and class counts the result takes: of several, the first by its hash.
fn base(ingredients: &[Ingredient]) -> &Ingredient {
    let most = ingredients.iter().map(Ingredient::images).max();
    let mut of_most = ingredients.iter().filter(|one| Some(one.images()) == most);
    of_most.next().expect("there is an ingredient")
}

/// What was found of tensors on a split.
struct Judged {
    evaluations: Vec<Evaluation>,
    images: Arc<ShardReader>,
    parameters: ParameterCounts,
    /// Whether predictions could be kept.
    written: Result<()>,
}

/// What averages are judged with.
struct Kitchen<'a> {
    config: &'a TrainConfig,
    base: &'a Ingredient,
    model: PathBuf,
    device: Device,
}

impl<'a> Kitchen<'a> {
    fn open(config: &'a TrainConfig, base: &'a Ingredient, device: Device) -> Result<Self> {
        Ok(Self {
            config,
            base,
            model: hub::fetch(&config.model)?,
            device,
        })
    }

    /// Judges tensors on a split: an evaluation for each of the settings, and what a report says of shards and model.
    fn judge(
        &self,
        tensors: &BTreeMap<String, Tensor>,
        split: Split,
        every: &[EvalSettings],
    ) -> Result<Judged> {
        let dir = split_dir(&self.config.shards, split)?;
        let test = Arc::new(ShardReader::open(&dir)?);
        let tuned = &self.base.tuned;
        let names = &tuned.class_names;
        check_classes(
            &self.base.run,
            names,
            &tuned.class_hash,
            &dir,
            test.manifest(),
        )?;
        let copied = tensors.iter();
        let copied = copied.map(|(name, tensor)| (name.clone(), tensor.copy()));
        let place = (self.device, self.config.precision().kind());
        let (model, normalisation) = load_tuned(
            &self.base.run,
            self.config,
            copied.collect(),
            &self.model,
            self.config.resolution,
            place,
        )?;
        let transfer = Transfer::open(Target::of(&model.visual, normalisation))?;
        let counts = Some(tuned.class_counts.as_slice());
        let (mut evaluations, mut written) = (Vec::new(), Ok(()));
        for settings in every {
            let settings = EvalSettings {
                split,
                look: settled(settings.look, &model.visual),
                ..settings.clone()
            };
            let (evaluation, kept) = judge(&settings, &test, &model, &transfer, counts, None)?;
            evaluations.push(evaluation);
            written = written.and(kept);
        }
        Ok(Judged {
            evaluations,
            images: test,
            parameters: model.parameter_counts(),
            written,
        })
    }

    /// Writes the run of these tensors, judged on test images, or on val where there are none.
    fn serve(
        &self,
        tensors: BTreeMap<String, Tensor>,
        recipe: &Recipe,
        settings: &SoupSettings,
    ) -> Result<Report> {
        let config = self.config;
        let has_test = config.shards.join(Split::Test.as_str()).exists();
        let split = if has_test { Split::Test } else { Split::Val };
        run::create(config)?;
        let out = &config.out;
        if config.init.makes().is_some() {
            let head = self.base.run.join(MADE_HEAD);
            let bytes = fs::read(&head).map_err(Error::io(&head))?;
            atomic::write(&out.join(MADE_HEAD), &bytes)?;
        }
        if let Some(provenance) = &self.base.provenance {
            Provenance::new(&settings.command, &provenance.origins).write(out)?;
        }
        let text = serde_json::to_string_pretty(recipe).expect("a recipe is plain data") + "\n";
        atomic::write(&out.join("soup.json"), text.as_bytes())?;

        let file = |tte: Tte| out.join(format!("predictions-{}.parquet", tte.as_str()));
        let of = |tte: Tte| EvalSettings {
            predictions: Some(file(tte)),
            ..EvalSettings::of_run(config, tte, self.device)
        };
        let mut every = vec![of(Tte::None)];
        if config.tte != Tte::None {
            every.push(of(config.tte));
        }
        let judged = self.judge(&tensors, split, &every)?;
        let manifest = judged.images.manifest();
        let base = &self.base.tuned;
        let mut tuned = Tuned {
            file: Default::default(),
            class_counts: base.class_counts.clone(),
            class_names: base.class_names.clone(),
            class_hash: base.class_hash.clone(),
            template: base.template.clone(),
        };
        tuned.file.tensors = tensors;
        let written = tuned.write(out).and(judged.written);
        let report = Report {
            bands: Some(manifest.bands),
            parameters: Some(judged.parameters),
            config: Some(config.clone()),
            template: base.template.clone(),
            train_counts: Some(base.class_counts.clone()),
            ..report_of(
                out,
                manifest,
                &self.model,
                &every[0],
                judged.evaluations,
                None,
            )
        };
        let written = written.and_then(|()| report.write(out));
        report.unless_unwritten(written)
    }
}

/// The greedy choice (Wortsman et al. 2022, recipe 1): from the best alone downwards, a run is taken where the average
/// with it is better. Theirs takes it where it is as good, too.
fn choose(
    kitchen: &Kitchen,
    ingredients: &[Ingredient],
    parts: &mut [Part],
    (split, monitor): (Split, Monitor),
) -> Result<()> {
    let settings = [EvalSettings::of_run(
        kitchen.config,
        Tte::None,
        kitchen.device,
    )];
    let judged = |tensors: &BTreeMap<String, Tensor>| -> Result<f64> {
        let judged = kitchen.judge(tensors, split, &settings)?;
        figure(&judged.evaluations[0].metrics, monitor).ok_or_else(|| {
            Error::Usage(format!(
                "--monitor {}: there is no such figure on {split}",
                monitor.as_str()
            ))
        })
    };
    for (part, one) in parts.iter_mut().zip(ingredients) {
        part.alone = Some(judged(&one.tuned.file.tensors)?);
        part.weight = 0.0;
    }
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let alone = |at: &usize| parts[*at].alone.unwrap_or(0.0);
    // A stable order: among equals the one whose hash is first.
    order.sort_by(|a, b| alone(b).total_cmp(&alone(a)));
    let (first, rest) = order.split_first().expect("there is an ingredient");
    let mut best = alone(first);
    parts[*first].weight = 1.0;
    for &at in rest {
        let tried = parts.iter().zip(ingredients).enumerate();
        let tried = tried.filter(|(place, (part, _))| part.weight > 0.0 || *place == at);
        let tried: Vec<_> = tried
            .map(|(_, (_, one))| (1.0, &one.tuned.file.tensors))
            .collect();
        let with_it = judged(&average(&tried))?;
        parts[at].with_it = Some(with_it);
        if with_it > best {
            best = with_it;
            parts[at].weight = 1.0;
        }
    }
    Ok(())
}

/// The figure of an evaluation that a choice makes better.
fn figure(metrics: &Metrics, monitor: Monitor) -> Option<f64> {
    match monitor {
        Monitor::MeanClass | Monitor::Expected => metrics.mean_class,
        Monitor::Overall => metrics.overall,
        Monitor::Harmonic => metrics.harmonic_mean,
        Monitor::Bands => {
            let bands = [metrics.many, metrics.medium, metrics.few];
            let there: Vec<f64> = bands.into_iter().flatten().collect();
            let sum: f64 = there.iter().map(|value| value.recip()).sum();
            (!there.is_empty()).then(|| there.len() as f64 / sum)
        }
    }
}

/// What each run started from: fresh modules by its seed, and its classifier before the first step.
fn starts(
    ingredients: &[Ingredient],
    settings: &SoupSettings,
) -> Result<Vec<BTreeMap<String, Tensor>>> {
    let start = |one: &Ingredient| {
        require_identity_at_start(one)?;
        let config = TrainConfig {
            shards: settings.shards.clone().unwrap_or(one.config.shards.clone()),
            model: settings.model.clone().unwrap_or(one.config.model.clone()),
            ..one.config.clone()
        };
        let inputs = Inputs::open(&config, Device::Cpu, None)?;
        if let Some(provenance) = &one.provenance {
            provenance.origins.require_same(&inputs.origins, &config)?;
        }
        let mut model = inputs.model;
        if config.init.makes().is_some() {
            let head = Head::read(&one.run.join(MADE_HEAD))?;
            let (kind, scale) = (config.classifier, config.scale());
            model.start_from(Classifier::new(kind, &head.weight, scale));
        }
        let state = model.state().into_iter();
        Ok(state.map(|(name, t)| (name, t.detach().copy())).collect())
    };
    ingredients.iter().map(start).collect()
}

impl Recipe {
    /// A line a run, in the order of their hashes.
    fn table(&self, start: Option<f64>) -> String {
        let mut header = vec!["".to_owned(), "weight".into()];
        if let Some((split, monitor)) = &self.chosen_on {
            header.push(format!("{monitor} on {split}"));
            header.push("average with it".into());
        }
        let mut rows = vec![header];
        let percent =
            |value: Option<f64>| value.map_or("-".into(), |v| format!("{:.1}", 100.0 * v));
        let name = |run: &Path| visible(&run.display().to_string());
        for part in &self.ingredients {
            let weight = part.weight * (1.0 - self.toward_start);
            let mut row = vec![name(&part.run), format!("{weight:.3}")];
            if self.chosen_on.is_some() {
                row.push(percent(part.alone));
                row.push(percent(part.with_it));
            }
            rows.push(row);
        }
        if let Some(start) = start {
            let mut row = vec!["start, before tuning".to_owned(), format!("{start:.3}")];
            row.resize(rows[0].len(), "-".into());
            rows.push(row);
        }
        aligned(&rows, 1)
    }
}
