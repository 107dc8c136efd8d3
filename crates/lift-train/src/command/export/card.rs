//! The model card: README.md of an export, as Hugging Face's hub shows it.
//!
//! It says what the run's files say and nothing besides; what only a person can know, the licence and what the model is for, is
//! left to be filled in, and marked. Invariant: no figure in it was computed here, and no path of the machine stands in it.

mod front_matter;
mod usage;

use lift_models::{Layout, Normalisation, VisionConfig};
use lift_page::{
    escape::markdown,
    number::{bytes, counted, grouped},
};
use lift_shards::split::{Band, BandEdges};

use super::{
    beside::{formula, short_side},
    source::Source,
    staging::{Staging, Written},
};
use crate::{error::Result, eval::Evaluation, place, report::Report};

/// In which form the run is taken along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A run with its model.
    Folder,
    /// A model in this layout.
    Merged(Layout),
    /// An adapter for PEFT.
    Peft,
    /// A graph in a file of this name.
    Onnx(String),
}

/// What a card is made of.
struct Card<'a> {
    source: &'a Source,
    tower: &'a VisionConfig,
    normalisation: Normalisation,
    taken: Taken,
}

/// Writes README.md, which lists the files that are there by then.
pub(super) fn write(
    source: &Source,
    tower: &VisionConfig,
    normalisation: Normalisation,
    taken: Taken,
    staging: &Staging,
) -> Result<()> {
    let text = text(source, tower, normalisation, taken, &staging.files()?);
    staging.text("README.md", &text)
}

/// The card of what these files are.
pub(super) fn text(
    source: &Source,
    tower: &VisionConfig,
    normalisation: Normalisation,
    taken: Taken,
    files: &[Written],
) -> String {
    let card = Card {
        source,
        tower,
        normalisation,
        taken,
    };
    card.text(files)
}

impl Card<'_> {
    fn text(&self, files: &[Written]) -> String {
        let report = &self.source.report;
        let base = self.source.base();
        let tuner = self.source.config.tuner.to_string();
        let what = match tuner.as_str() {
            "none" => "a classifier trained on it".to_owned(),
            tuner => format!("tuned with `{tuner}`"),
        };
        let sections = [
            front_matter::front_matter(report, &base, &self.taken),
            format!(
                "# {}\n\nClassifies images as one of {}: {}, {what}, on the dataset {}. Made by `lift-train` {}, which implements \
                 LIFT+ (arXiv 2504.13282).\n\n\
                 **To fill in:** the licence, in the head of this file, which the base model's and the images' licences bind; and what \
                 the model is for.\n",
                markdown(&report.name),
                counted(report.num_classes as u64, "class"),
                markdown(&base.full()),
                markdown(&report.dataset),
                report.tool_version,
            ),
            format!("## Results\n\n{}", results(report)),
            format!(
                "## Use\n\n{}",
                usage::usage(&self.taken, &base, self.source.config.classifier)
            ),
            format!("## Data\n\n{}", self.data()),
            format!("## Model\n\n{}", self.model()),
            format!("## Settings\n\n{}", self.settings()),
            format!("## Files\n\n{}", listed(files)),
        ];
        sections.join("\n")
    }

    fn data(&self) -> String {
        let report = &self.source.report;
        let mut rows = vec![
            ("dataset".to_owned(), markdown(&report.dataset)),
            ("classes".into(), grouped(report.num_classes as u64)),
        ];
        if let Some(counts) = &report.train_counts {
            let [least, most] = [counts.iter().min(), counts.iter().max()];
            rows.push(("training images".into(), grouped(counts.iter().sum())));
            if let (Some(least), Some(most)) = (least, most) {
                let of = format!("{} to {}", grouped(*least), grouped(*most));
                rows.push(("training images of a class".into(), of));
            }
        }
        rows.push(("class list, hash".into(), code(&report.class_hash)));
        if let Some(provenance) = &self.source.provenance {
            let origins = &provenance.origins;
            let hashes = [
                ("training shards' manifest, hash", Some(&origins.shards)),
                ("test shards' manifest, hash", origins.test.as_ref()),
                ("first classifier's file, hash", origins.head.as_ref()),
                ("base model's image tower, hash", Some(&origins.model)),
            ];
            let known = hashes
                .into_iter()
                .filter_map(|(what, hash)| Some((what, hash?)));
            rows.extend(known.map(|(what, hash)| (what.to_owned(), code(hash))));
        }
        if !report.template.is_empty() {
            rows.push((
                "prompt of the first classifier".into(),
                markdown(&report.template),
            ));
        }
        format!(
            "{}\nThe class list's hash is SHA-256, the others are XXH3-64, which finds mix-ups and is no signature; a shards' manifest holds the hashes of all its images.\n",
            table(&rows)
        )
    }

    fn model(&self) -> String {
        let (report, config) = (&self.source.report, &self.source.config);
        let (tower, base) = (self.tower, self.source.base());
        let numbers = |values: [f64; 3]| values.map(|value| value.to_string()).join(", ");
        let mut rows = vec![
            ("base model".to_owned(), markdown(&base.full())),
            ("tuned".into(), code(&config.tuner.to_string())),
            (
                "classifier".into(),
                format!(
                    "`{}`: {}",
                    config.classifier,
                    code(formula(config.classifier))
                ),
            ),
        ];
        if formula(config.classifier).starts_with("scale") {
            rows.push(("scale".into(), config.scale().to_string()));
        }
        if let Some(parameters) = report.parameters {
            let all = [
                ("parameters of the image tower", parameters.frozen),
                ("tuned parameters, modules", parameters.modules),
                ("tuned parameters, classifier", parameters.classifier),
            ];
            rows.extend(all.map(|(what, number)| (what.to_owned(), grouped(number))));
        }
        let side = tower.resolution;
        let pixels = format!(
            "short side to {} (bicubic, antialiased), centre crop of {side} x {side}, RGB in 0..1, then (x - mean) / std",
            short_side(tower)
        );
        rows.extend([
            ("input".into(), pixels),
            ("mean".into(), numbers(self.normalisation.mean)),
            ("std".into(), numbers(self.normalisation.std)),
            ("computed in".into(), report.precision.to_string()),
        ]);
        table(&rows)
    }

    fn settings(&self) -> String {
        let has_head = self.source.config.head.is_some();
        let config = place::portable(&self.source.config, has_head);
        let text = toml::to_string(&config).unwrap_or_default();
        let training = match &self.source.report.training {
            Some(training) => format!(
                "\n{} on {}, {:.0} s.\n",
                counted(training.steps as u64, "step"),
                markdown(&self.source.report.device),
                training.seconds
            ),
            None => String::new(),
        };
        let names = ["shards", "model", "head", "out"].map(code).join(", ");
        format!(
            "Without the paths, for which names stand ({names}).\n{training}\n```toml\n{text}```\n"
        )
    }
}

/// What was measured, and on what.
fn results(report: &Report) -> String {
    let Some(first) = report.evaluations.first() else {
        return "Nothing was measured.\n".into();
    };
    let mut text = String::from(
        "| split | test-time | images | overall | 95 % of overall | mean class | many | medium | few |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for evaluation in &report.evaluations {
        let m = &evaluation.metrics;
        let interval = m.intervals.overall.map_or("-".into(), |[low, high]| {
            format!("{:.1} to {:.1}", 100.0 * low, 100.0 * high)
        });
        let accuracies = [m.mean_class, m.many, m.medium, m.few]
            .map(percent)
            .join(" | ");
        text += &format!(
            "| {} | {} | {} | {} | {interval} | {accuracies} |\n",
            evaluation.split,
            how(evaluation),
            grouped(m.images),
            percent(m.overall),
        );
    }
    text += "\nAccuracies in percent. *overall* counts images; the others are means over classes.";
    if let (Some(counts), Some(edges)) = (&report.train_counts, report.bands) {
        text += &bands(counts, edges);
    }
    if first.level.is_some() {
        text += " Classes were joined to those of a rank above them.";
    }
    text + " Nothing else was measured.\n"
}

fn bands(counts: &[u64], edges: BandEdges) -> String {
    let classes = |band: Band| {
        let of_band = counts.iter().filter(|&&n| edges.band(n) == band).count();
        counted(of_band as u64, "class")
    };
    format!(
        " *many*: {} of more than {} training images; *few*: {} of fewer than {}; *medium*: the {} between.",
        classes(Band::Many),
        edges.many_above,
        classes(Band::Few),
        edges.few_below,
        classes(Band::Medium)
    )
}

/// How images were looked at.
fn how(evaluation: &Evaluation) -> String {
    let how = evaluation.tte.as_str();
    match evaluation.expand.filter(|_| evaluation.crops > 1) {
        Some(expand) => format!("{how}, +{expand} pixels"),
        None => how.into(),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or("-".into(), |share| format!("{:.1}", 100.0 * share))
}

fn listed(files: &[Written]) -> String {
    let mut text = String::from("| file | size | XXH3-64 |\n|---|--:|---|\n");
    for file in files {
        let size = bytes(file.bytes);
        text += &format!("| {} | {size} | `{}` |\n", markdown(&file.name), file.hash);
    }
    text
}

fn table(rows: &[(String, String)]) -> String {
    let rows = rows
        .iter()
        .map(|(what, value)| format!("| {what} | {value} |\n"));
    format!("| | |\n|---|---|\n{}", rows.collect::<String>())
}

fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}
