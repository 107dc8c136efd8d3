//! The report of a run as a page: sections of figures, tables and charts, for HTML and Markdown.
//!
//! It computes nothing that is not in [`RunReport`]. Invariant: the page stays below 2 MB, whatever the number of
//! classes: long tables keep their most telling rows and say so, and thumbnails are added while there is room.

mod bars;
mod charts;
mod confusion;
mod paths;
mod tables;

use lift_page::{Block, Cell, Figure as ChartFigure, Group, KeyFigure, Page, Section, number};

use paths::shortened;

use super::{
    RunReport, State,
    interval::ENOUGH,
    summary::{chosen, subject},
};

/// The most bytes of thumbnails on a page.
pub const PICTURE_BYTES: usize = 500_000;

/// Points that a curve is drawn from.
const LEAST_POINTS: usize = 3;

const CONSISTENCY: &str = "Class-conditional consistency";

/// What the page shows and the report does not hold.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// Its title; none: the run's name.
    pub title: Option<String>,
    /// The day on which the run's report was written; none where that is not known.
    pub day: Option<String>,
    /// Images of the confused pairs.
    pub confused: Vec<Group>,
    /// Images that the model was right and wrong about.
    pub judged: Vec<Group>,
}

/// The page of a report.
pub fn page(report: &RunReport, shown: Shown) -> Page {
    let day = shown.day.as_ref();
    let day = day.map_or_else(String::new, |day| format!("; ended on {day}"));
    let all = [
        accuracy(report),
        training(report),
        frequency(report),
        classes(report),
        sliced(report),
        confused(report, shown.confused),
        predictions(shown.judged),
        calibration(report),
        consistency(report),
        compared(report),
        reproduce(report),
    ];
    Page {
        title: shown
            .title
            .unwrap_or_else(|| format!("Run {}", report.name)),
        subtitle: format!(
            "{}{day}; lift-train {}",
            subject(report),
            report.reproduce.tool_version
        ),
        sections: all.into_iter().flatten().collect(),
        footer: format!("lift-train {}", report.reproduce.tool_version),
    }
}

fn section(heading: &str, parts: Vec<Block>) -> Option<Section> {
    (!parts.is_empty()).then(|| Section {
        heading: heading.into(),
        parts,
    })
}

fn accuracy(report: &RunReport) -> Option<Section> {
    let mut figures = Vec::new();
    if let Some(last) = report.accuracy.last() {
        let note = format!("{}, {}", last.state.as_str(), last.test_time);
        let overall = Cell::percent(last.overall.map(|figure| figure.value), 1);
        figures.push(KeyFigure::new("overall accuracy", overall).note(note));
        if let Some(few) = last.few {
            let mut figure = KeyFigure::new("rare classes", Cell::Percent(few.value, 1));
            let plain = |state: State| {
                let lines = report
                    .accuracy
                    .iter()
                    .filter(|line| line.test_time == "plain");
                lines
                    .filter(|line| line.state == state)
                    .find_map(|line| line.few)
            };
            let both = plain(State::BeforeTuning).zip(plain(State::AfterTuning));
            if let Some((before, after)) = both {
                figure = figure.note(format!(
                    "plain: {:.1} % before tuning, {:.1} % after",
                    100.0 * before.value,
                    100.0 * after.value
                ));
            }
            figures.push(figure);
        }
    }
    if let Some(p) = &report.parameters {
        let note = format!(
            "{} of {} parameters",
            number::grouped(p.modules),
            number::grouped(p.frozen)
        );
        figures
            .push(KeyFigure::new("tuned in modules", Cell::Percent(p.module_share, 2)).note(note));
    }
    if let Some(cost) = &report.cost {
        let note = format!(
            "{} on {}",
            number::counted(cost.steps as u64, "step"),
            report.device
        );
        figures
            .push(KeyFigure::new("seconds of training", Cell::Float(cost.seconds, 0)).note(note));
    }
    let mut parts: Vec<Block> = report
        .missing
        .iter()
        .map(|missing| Block::Warning(format!("Not in this report: {missing}.")))
        .collect();
    parts.push(Block::KeyFigures(figures));
    parts.push(Block::Table(tables::accuracy(&report.accuracy)));
    parts.extend(bars::bands(report).map(Block::Chart));
    parts.push(Block::Table(tables::intervals(&report.accuracy)));
    let (many, few) = (report.bands.many_above, report.bands.few_below);
    parts.push(Block::Text(format!(
        "Bands go by training images: many above {many}, few below {few}. Their accuracy is the mean of their classes' \
         accuracies. Before tuning is the run's own model before its first step. Intervals are bootstraps of the images \
         within each class (1,000 resamples), and Wilson's where a class has fewer than {ENOUGH} test images or resampling sees \
         no spread."
    )));
    section("Accuracy", parts)
}

fn sliced(report: &RunReport) -> Option<Section> {
    let slices = report.slices.as_ref()?;
    let parts = vec![Block::Table(tables::slices(slices))];
    section(&format!("By {}", slices.column), parts)
}

fn training(report: &RunReport) -> Option<Section> {
    let mut parts: Vec<Block> = Vec::new();
    // A line through a point or two shows nothing that their numbers do not.
    if report.curves.len() < LEAST_POINTS {
        parts.extend(tables::curves(&report.curves).map(Block::Table));
    } else {
        parts.extend(charts::curves(&report.curves).into_iter().map(Block::Chart));
    }
    if report.validation.len() < LEAST_POINTS {
        parts.extend(tables::validation(&report.validation).map(Block::Table));
    } else {
        parts.extend(charts::validation(&report.validation).map(Block::Chart));
    }
    parts.extend(report.selection.as_ref().map(|s| Block::Text(chosen(s))));
    parts.extend(tables::effort(report).map(Block::Table));
    section("Training", parts)
}

fn frequency(report: &RunReport) -> Option<Section> {
    // A line through a few classes says less than their names do.
    let chart = bars::classes(report).or_else(|| charts::frequency(report))?;
    section("Accuracy and class frequency", vec![Block::Chart(chart)])
}

fn classes(report: &RunReport) -> Option<Section> {
    let note =
        "The interval is Wilson's, 95 %, of the accuracy after tuning in the plain evaluation.";
    section(
        "Classes",
        vec![
            Block::Table(tables::classes(report)),
            Block::Text(note.into()),
        ],
    )
}

fn confused(report: &RunReport, pictures: Vec<Group>) -> Option<Section> {
    if report.confused.is_empty() {
        return None;
    }
    let mut parts: Vec<Block> = confusion::matrix(report)
        .map(Block::Matrix)
        .into_iter()
        .collect();
    parts.push(Block::Table(tables::confused(&report.confused)));
    if !pictures.is_empty() {
        parts.push(Block::Gallery(lift_page::Gallery {
            caption: "The first test images of each pair".into(),
            groups: pictures,
        }));
    }
    section("Confused classes", parts)
}

fn predictions(groups: Vec<Group>) -> Option<Section> {
    if groups.is_empty() {
        return None;
    }
    let caption = "The test images that the tuned model was surest of, right and wrong, one a class, with its probability \
                   of what it took them for";
    let gallery = lift_page::Gallery {
        caption: caption.into(),
        groups,
    };
    section("Right and wrong", vec![Block::Gallery(gallery)])
}

fn calibration(report: &RunReport) -> Option<Section> {
    let all = [
        ("before tuning", &report.calibration.before),
        ("after tuning", &report.calibration.after),
    ];
    let is_untrained = report.accuracy.iter().all(|a| a.state == State::Untrained);
    let charts: Vec<ChartFigure> = all
        .into_iter()
        .filter_map(|(state, bins)| {
            let state = if is_untrained { "untrained" } else { state };
            Some(charts::calibration(state, bins.as_ref()?))
        })
        .collect();
    section(
        "Calibration",
        charts.into_iter().map(Block::Chart).collect(),
    )
}

fn consistency(report: &RunReport) -> Option<Section> {
    let found = report.consistency.as_ref()?;
    if found.bands.is_empty() {
        let none = "No class has two images of each split: there is nothing to compare.";
        return section(CONSISTENCY, vec![Block::Text(none.into())]);
    }
    let [train, test] = found.images;
    let how = format!(
        "Whether a class's training and test images lie alike in feature space, which LIFT gives as the reason why heavy \
         tuning hurts rare classes. For each class, cosine distances of all pairs of its training images, and of its test \
         images; apart is the Wasserstein-1 distance of the two distributions, by chance what it is when the same images \
         are dealt to the two at random. Features of {} training and {} test images in the plain centre crop, at most {} \
         of a class and split (seed {}); bands are means over classes.",
        number::grouped(train),
        number::grouped(test),
        found.images_per_class,
        found.seed
    );
    let mut parts = vec![Block::Text(how), Block::Table(tables::consistency(found))];
    parts.extend(charts::apart(found).map(Block::Chart));
    parts.extend(charts::distances(found).into_iter().map(Block::Chart));
    parts.push(Block::Table(tables::quantiles(found)));
    section(CONSISTENCY, parts)
}

fn compared(report: &RunReport) -> Option<Section> {
    if report.compared.is_empty() {
        return None;
    }
    section(
        "Compared with other runs",
        vec![
            Block::Table(tables::runs(&report.compared)),
            Block::Table(tables::differences(report)),
        ],
    )
}

fn reproduce(report: &RunReport) -> Option<Section> {
    let r = &report.reproduce;
    let mut parts = Vec::new();
    if let Some(command) = &r.command {
        parts.push(Block::Heading("The command".into()));
        parts.push(Block::Code(shortened(command)));
    }
    parts.push(Block::Table(tables::hashes(r)));
    if let Some(settings) = &r.settings {
        parts.push(Block::Heading("The settings that it meant".into()));
        parts.push(Block::Code(shortened(settings)));
    }
    section("Reproduce", parts)
}
