//! The report of a run in a few lines, for a terminal.

use lift_page::{escape::visible, number, terminal::aligned};

use super::{Accuracy, Confused, RunReport, slices};
use crate::{
    consistency,
    validation::{Kept, Selection},
};

/// Pairs of classes that are named.
const PAIRS: usize = 5;

/// What a run came to: its accuracies with 95 % intervals, its cost, consistency by band, and its usual mistakes.
pub fn summary(report: &RunReport) -> String {
    let mut out = format!("{}: {}\n\n", visible(&report.name), subject(report));
    out += &accuracies(&report.accuracy);
    out += "±: half of the 95 % interval\n";
    if let Some(selection) = &report.selection {
        out += &format!("\n{}\n", chosen(selection));
    }
    if let Some(line) = cost(report) {
        out += &format!("\n{line}\n");
    }
    if let Some(found) = report
        .consistency
        .as_ref()
        .filter(|found| !found.bands.is_empty())
    {
        out += "\ncosine distances within a class, and how far training and test lie apart (Wasserstein-1)\n";
        out += &consistency::table(found);
    }
    if let Some(slices) = &report.slices {
        out += &format!("\n{}", slices::table(slices));
    }
    if !report.confused.is_empty() {
        let pairs: Vec<String> = report.confused.iter().take(PAIRS).map(mistake).collect();
        out += &format!("\ntaken for another most: {}\n", pairs.join(", "));
    }
    for missing in &report.missing {
        out += &format!("not here: {missing}\n");
    }
    out
}

/// Which weights the run has, and by what they were chosen.
pub(super) fn chosen(selection: &Selection) -> String {
    let (monitor, split) = (selection.monitor, selection.split);
    let best = match selection.best {
        Some(best) => format!(
            "{monitor} accuracy on {split} was best after step {} (epoch {}), {:.1} %",
            best.step,
            best.epoch + 1,
            100.0 * best.value
        ),
        None => format!("{monitor} accuracy on {split} was never known"),
    };
    let kept = match selection.kept {
        Kept::Best => "the weights are those",
        Kept::Last => "the weights are those after the last step",
    };
    let ended = if selection.ended_early {
        "; training ended early, as none was better"
    } else {
        ""
    };
    format!("{best}; {kept}{ended}")
}

/// What was tuned, on what.
pub(super) fn subject(report: &RunReport) -> String {
    let mut text = visible(&report.dataset);
    if let Some(images) = report.train_images {
        text += &format!(", {}", number::counted(images, "training image"));
    }
    text += &format!(
        ", {}, {}; {}",
        number::counted(report.test_images, "test image"),
        number::counted(report.num_classes as u64, "class"),
        visible(&report.model)
    );
    if let Some(p) = &report.parameters {
        text += &format!(
            "; {} ({}, {:.2} % of the tower; classifier {})",
            p.tuner,
            number::counted(p.modules, "parameter"),
            100.0 * p.module_share,
            number::grouped(p.classifier)
        );
    }
    text
}

fn accuracies(lines: &[Accuracy]) -> String {
    let header = [
        "",
        "test-time",
        "overall",
        "mean class",
        "many",
        "medium",
        "few",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for line in lines {
        let mut row = vec![line.state.as_str().to_owned(), line.test_time.clone()];
        row.extend(line.figures().map(|figure| match figure {
            None => "-".into(),
            Some(figure) => match figure.interval {
                None => format!("{:.1}", 100.0 * figure.value),
                Some([low, high]) => {
                    format!("{:.1} ±{:.1}", 100.0 * figure.value, 50.0 * (high - low))
                }
            },
        }));
        rows.push(row);
    }
    aligned(&rows, 2)
}

fn cost(report: &RunReport) -> Option<String> {
    let cost = report.cost.as_ref()?;
    let mut text = format!(
        "{} in {:.0} s, {:.0} images/s, {:.0} % of the time waiting for data",
        number::counted(cost.steps as u64, "step"),
        cost.seconds,
        cost.images_per_second,
        100.0 * cost.data_wait_share
    );
    if let Some(bytes) = cost.peak_memory_bytes {
        text += &format!("; at most {} of memory", number::bytes(bytes));
    }
    Some(text)
}

fn mistake(pair: &Confused) -> String {
    let Confused { images, of, .. } = pair;
    let (class, other) = (visible(&pair.class), visible(&pair.predicted_class));
    format!("{class} for {other} ({images} of {of})")
}
