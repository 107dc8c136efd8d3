//! The YAML head of a model card, which Hugging Face's hub reads.
//!
//! Text is written as JSON strings, which YAML reads as they are. Invariant: what the run does not say is left out, or stands as a
//! comment that asks for it.

use lift_models::Layout;
use lift_shards::Split;
use serde_json::json;

use super::Taken;
use crate::{command::export::source::Base, eval::Evaluation, report::Report};

/// The head, with its two lines of dashes.
pub(super) fn front_matter(report: &Report, base: &Base, taken: &Taken) -> String {
    let mut lines = vec![
        "---".to_owned(),
        "license: unknown  # fill in: what the licences of the base model and of the images allow"
            .into(),
        "pipeline_tag: image-classification".into(),
    ];
    if base.revision.is_some() {
        lines.push(format!("base_model: {}", json!(base.name)));
        let relation = match taken {
            Taken::Peft => "adapter",
            Taken::Folder | Taken::Merged(_) | Taken::Onnx(_) => "finetune",
        };
        lines.push(format!("base_model_relation: {relation}"));
    } else {
        let name = json!(base.name);
        lines.push(format!(
            "# base_model: ORG/NAME  fill in: it was a file or folder called {name}"
        ));
    }
    let library = match taken {
        Taken::Folder => None,
        Taken::Merged(Layout::HuggingFace) => Some("transformers"),
        Taken::Merged(Layout::OpenAi) => Some("open_clip"),
        Taken::Merged(Layout::Timm) => Some("timm"),
        Taken::Peft => Some("peft"),
        Taken::Onnx(_) => Some("onnx"),
    };
    lines.extend(library.map(|name| format!("library_name: {name}")));
    lines.push("tags:".into());
    let tags = ["image-classification", "long-tailed-recognition", "lift"];
    lines.extend(tags.map(|tag| format!("- {tag}")));
    lines.extend(["metrics:".to_owned(), "- accuracy".into()]);
    lines.extend(index(report));
    lines.push("---\n".into());
    lines.join("\n")
}

/// The results, in the form that leaderboards read: one for each split, with all that was measured on it.
fn index(report: &Report) -> Vec<String> {
    let mut splits: Vec<(Split, Vec<String>)> = Vec::new();
    for evaluation in &report.evaluations {
        let lines = figures(evaluation);
        match splits
            .iter_mut()
            .find(|(split, _)| *split == evaluation.split)
        {
            Some((_, metrics)) => metrics.extend(lines),
            None => splits.push((evaluation.split, lines)),
        }
    }
    splits.retain(|(_, metrics)| !metrics.is_empty());
    if splits.is_empty() {
        return Vec::new();
    }
    let (name, dataset) = (json!(report.name), json!(report.dataset));
    let mut lines = vec!["model-index:".to_owned(), format!("- name: {name}")];
    lines.push("  results:".into());
    for (split, metrics) in splits {
        lines.push("  - task:".into());
        lines.push("      type: image-classification".into());
        lines.push("    dataset:".into());
        lines.push(format!("      name: {dataset}"));
        lines.push(format!("      type: {dataset}"));
        lines.push(format!("      split: {split}"));
        lines.push("    metrics:".into());
        lines.extend(metrics);
    }
    lines
}

/// An evaluation's accuracies, as far as there are any.
fn figures(evaluation: &Evaluation) -> Vec<String> {
    let (m, how) = (&evaluation.metrics, evaluation.tte.as_str());
    let all = [
        ("overall", m.overall),
        ("mean class", m.mean_class),
        ("many", m.many),
        ("medium", m.medium),
        ("few", m.few),
    ];
    let known = all
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    known
        .flat_map(|(name, value)| {
            [
                "    - type: accuracy".to_owned(),
                format!("      name: {}", json!(format!("{name}, {how}"))),
                format!("      value: {value:.4}"),
            ]
        })
        .collect()
}
