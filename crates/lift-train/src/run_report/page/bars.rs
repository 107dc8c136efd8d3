//! Charts of accuracies beside each other: bands, and classes where they are few, before and after tuning.

use lift_page::{Axis, Colour, Figure, Mark, Plot, Series};
use lift_shards::split::Band;

use super::charts::{AFTER, AFTER_COLOUR, BEFORE, BEFORE_COLOUR};
use crate::{
    metrics::wilson,
    run_report::{Figure as Accurate, RunReport, State},
};

/// The most classes that have bars and names; of more, dots over their frequency.
pub const MOST_CLASSES: usize = 12;

/// A group's accuracies, before and after.
type Pair = [Option<Accurate>; 2];

/// Bars with their intervals, two a group where both are known.
fn bars(axis: &str, groups: &[(String, Pair)], after: &str) -> Plot {
    let has_before = groups.iter().any(|(_, [before, _])| before.is_some());
    let sides: &[(usize, f64, &str, Colour)] = if has_before {
        &[
            (0, -0.2, BEFORE, BEFORE_COLOUR),
            (1, 0.2, after, AFTER_COLOUR),
        ]
    } else {
        &[(1, 0.0, after, AFTER_COLOUR)]
    };
    let mut series = Vec::new();
    let mut whiskers = Vec::new();
    for &(side, beside, name, colour) in sides {
        let mut bars = Vec::new();
        for (at, (_, pair)) in groups.iter().enumerate() {
            let Some(figure) = pair[side] else { continue };
            let at = at as f64 + beside;
            bars.push((at - 0.18, at + 0.18, 100.0 * figure.value));
            if let Some([low, high]) = figure.interval {
                whiskers.push((at, 100.0 * low, 100.0 * high));
            }
        }
        series.push(Series::new(name, colour, Mark::Bars(bars)));
    }
    series.push(Series::new(
        "95 % interval",
        Colour::Ink,
        Mark::Whiskers(whiskers),
    ));
    let names = groups.iter().map(|(name, _)| name.clone());
    let y = Axis::linear("accuracy in %").range(0.0, 100.0);
    Plot::new(Axis::named(axis, names), y, series)
}

fn words(groups: &[(String, Pair)]) -> String {
    let words = groups.iter().map(|(name, [before, after])| {
        let percent = |figure: &Accurate| format!("{:.1}", 100.0 * figure.value);
        match (before, after) {
            (Some(before), Some(after)) => {
                format!("{name} from {} to {} %", percent(before), percent(after))
            }
            (_, Some(one)) | (Some(one), _) => format!("{name} {} %", percent(one)),
            (None, None) => format!("{name} not known"),
        }
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Mean class accuracy of all classes and of each band, in the plain evaluation; nothing without bands.
pub fn bands(report: &RunReport) -> Option<Figure> {
    let plain = |is_before: bool| {
        let mut lines = report.accuracy.iter();
        lines.find(|line| {
            line.test_time == "plain" && (line.state == State::BeforeTuning) == is_before
        })
    };
    let (before, after) = (plain(true), plain(false)?);
    let figures = after.figures();
    let in_band = |band: Band| {
        let classes = report.per_class.iter();
        classes.filter(|class| class.band == Some(band)).count()
    };
    let names = ["mean class".to_owned()]
        .into_iter()
        .chain(Band::ALL.map(|band| match in_band(band) {
            1 => format!("{band} (1 class)"),
            count => format!("{band} ({count} classes)"),
        }));
    let groups: Vec<(String, Pair)> = (1..)
        .zip(names)
        .filter(|(at, _)| figures[*at].is_some())
        .map(|(at, name)| {
            (
                name,
                [before.and_then(|line| line.figures()[at]), figures[at]],
            )
        })
        .collect();
    if groups.len() < 2 {
        return None;
    }
    Some(Figure {
        title: "Accuracy by band".into(),
        description: format!("Mean of the classes' accuracies: {}.", words(&groups)),
        caption: "Means of the classes' accuracies, plain evaluation.".into(),
        plot: bars("", &groups, name_of(after.state)),
    })
}

/// Accuracy of each class, the most frequent first; nothing for many.
pub fn classes(report: &RunReport) -> Option<Figure> {
    if report.per_class.len() > MOST_CLASSES {
        return None;
    }
    let mut lines: Vec<_> = report.per_class.iter().collect();
    lines.sort_by_key(|line| std::cmp::Reverse(line.train_count));
    let pair = |line: &&crate::run_report::ClassLine| -> Pair {
        let before = line.before.map(|value| {
            let right = line
                .test_count
                .map(|count| (value * count as f64).round() as u64);
            let interval = right
                .zip(line.test_count)
                .and_then(|(right, all)| wilson(right, all));
            Accurate { value, interval }
        });
        let after = line.after.map(|value| Accurate {
            value,
            interval: line.interval,
        });
        [before, after]
    };
    let groups: Vec<_> = lines
        .iter()
        .map(|line| (line.class.clone(), pair(line)))
        .collect();
    let state = report.accuracy.last().map(|line| line.state);
    Some(Figure {
        title: "Accuracy of each class".into(),
        description: format!("{}.", words(&groups)),
        caption: "The class with the most training images first, plain evaluation.".into(),
        plot: bars("", &groups, state.map_or(AFTER, name_of)),
    })
}

fn name_of(state: State) -> &'static str {
    match state {
        State::Untrained => "untrained",
        State::BeforeTuning | State::AfterTuning => AFTER,
    }
}
