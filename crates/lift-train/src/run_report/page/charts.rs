//! The charts of a run.

use lift_page::{Axis, Colour, Figure, Mark, Plot, Series, number::decimal};
use lift_shards::split::Band;

use crate::{
    consistency::{Consistency, QUANTILES},
    run_report::{
        RunReport, State,
        curves::{CurvePoint, ValidationPoint},
        judged::Bin,
        smooth::{SPAN, loess},
    },
};

pub const BEFORE: &str = "before tuning";
pub const AFTER: &str = "after tuning";

/// A colour for what was before tuning, another one for after, the same in every chart.
pub const BEFORE_COLOUR: Colour = Colour::Orange;
pub const AFTER_COLOUR: Colour = Colour::Blue;

/// Dots of a series that a chart keeps: more would make the page too large, and hide each other.
const MOST_DOTS: usize = 1000;

/// Every so many-th class is drawn, by falling training images.
fn thinning(classes: usize) -> usize {
    classes.div_ceil(MOST_DOTS).max(1)
}

/// `A dot a class`, or every how many-th class has one.
fn dots(classes: usize) -> String {
    match thinning(classes) {
        1 => "A dot a class".into(),
        step => format!("A dot for every {step}th class by training images"),
    }
}

/// Points by falling training images, every so many-th.
fn thinned(mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let step = thinning(points.len());
    // A stable sort: equal counts stay in label order, in each series alike.
    points.sort_by(|a, b| b.0.total_cmp(&a.0));
    points.into_iter().step_by(step).collect()
}

/// The steps of a training, from its start.
fn steps(last: usize) -> Axis {
    Axis::whole("step").range(0.0, last.max(1) as f64)
}

/// Loss, learning rate, speed and waiting over steps; nothing without training.
pub fn curves(points: &[CurvePoint]) -> Vec<Figure> {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let curve = |title: &str, axis: &str, places: usize, value: &dyn Fn(&CurvePoint) -> f64| {
        let line: Vec<(f64, f64)> = points.iter().map(|p| (p.step as f64, value(p))).collect();
        let highest = line.iter().map(|p| p.1).fold(f64::NEG_INFINITY, f64::max);
        let lowest = line.iter().map(|p| p.1).fold(f64::INFINITY, f64::min);
        let y = Axis::linear(axis);
        Figure {
            title: title.into(),
            description: if points.len() == 1 {
                format!("{} at step {}.", decimal(value(first), places), first.step)
            } else {
                format!(
                    "From {} at step {} to {} at step {}; the highest is {}.",
                    decimal(value(first), places),
                    first.step,
                    decimal(value(last), places),
                    last.step,
                    decimal(highest, places)
                )
            },
            caption: String::new(),
            plot: Plot::new(
                steps(last.step),
                if lowest >= 0.0 && highest > 0.0 {
                    y.range(0.0, 1.05 * highest)
                } else {
                    y
                },
                vec![Series::new("", AFTER_COLOUR, Mark::Line(line))],
            ),
        }
    };
    let accuracy = by_band(
        "Training accuracy",
        "Of the images as they were trained on, each band for itself; means over the steps between two points.",
        points.iter().map(|p| {
            let bands = [p.train_many, p.train_medium, p.train_few];
            (p.step, p.train_accuracy, bands)
        }),
        "all images",
    );
    let mut all = vec![
        curve("Training loss", "loss", 3, &|p| p.loss),
        curve("Learning rate", "learning rate", 5, &|p| p.lr),
        curve("Throughput", "images a second", 0, &|p| p.images_per_second),
        curve("Time spent waiting for data", "% of the time", 1, &|p| {
            100.0 * p.data_wait_share
        }),
    ];
    // Behind the loss.
    all.splice(1..1, accuracy);
    all
}

/// Accuracy on the validation split over steps; nothing where it was not measured.
pub fn validation(points: &[ValidationPoint]) -> Option<Figure> {
    let figures = points.iter().map(|p| {
        let v = &p.validation;
        (p.step, v.mean_class, [v.many, v.medium, v.few])
    });
    let caption = "Plain evaluation on the val split, means of the per-class accuracies.";
    by_band("Validation", caption, figures, "mean class")
}

/// Accuracies over steps: of all classes, and by band; nothing where none is known.
fn by_band(
    title: &str,
    caption: &str,
    points: impl Iterator<Item = (usize, Option<f64>, [Option<f64>; 3])>,
    all: &str,
) -> Option<Figure> {
    let mut lines: [Vec<(f64, f64)>; 4] = Default::default();
    let mut last = 0;
    for (step, mean, [many, medium, few]) in points {
        for (line, value) in lines.iter_mut().zip([mean, many, medium, few]) {
            line.extend(value.map(|value| (step as f64, 100.0 * value)));
        }
        last = last.max(step);
    }
    if lines.iter().all(Vec::is_empty) {
        return None;
    }
    let names = [all, "many", "medium", "few"];
    let colours = [
        Colour::Purple,
        Colour::Blue,
        Colour::Green,
        Colour::Vermillion,
    ];
    let ends = names.iter().zip(&lines).filter_map(|(name, line)| {
        let (first, last) = (line.first()?, line.last()?);
        Some(match line.len() {
            1 => format!("{name} {:.1} %", last.1),
            _ => format!("{name} from {:.1} to {:.1} %", first.1, last.1),
        })
    });
    let ends: Vec<String> = ends.collect();
    let series = names.iter().zip(colours).zip(lines);
    Some(Figure {
        title: title.into(),
        description: format!("{}.", ends.join(", ")),
        caption: caption.into(),
        plot: Plot::new(
            steps(last),
            Axis::linear("accuracy in %").range(0.0, 100.0),
            series
                .filter(|(_, line)| !line.is_empty())
                .map(|((name, colour), line)| Series::new(*name, colour, Mark::Line(line)))
                .collect(),
        ),
    })
}

/// Accuracy of each class over its training images; nothing where those are not known.
pub fn frequency(report: &RunReport) -> Option<Figure> {
    if report.frequency.is_empty() {
        return None;
    }
    let points = |accuracy: &dyn Fn(&crate::run_report::ClassLine) -> Option<f64>| -> Vec<_> {
        let point = |class: &_| {
            let class: &crate::run_report::ClassLine = class;
            Some((class.train_count? as f64, 100.0 * accuracy(class)?))
        };
        report.per_class.iter().filter_map(point).collect()
    };
    let line = |value: &dyn Fn(&crate::run_report::Smoothed) -> Option<f64>| -> Vec<_> {
        let smoothed = report.frequency.iter();
        smoothed
            .filter_map(|s| Some((s.train_count as f64, 100.0 * value(s)?)))
            .collect()
    };
    let (before, after) = (line(&|s| s.before), line(&|s| s.after));
    let is_untrained = report.accuracy.iter().all(|a| a.state == State::Untrained);
    let name = if is_untrained { "untrained" } else { AFTER };
    let ends = |line: &[(f64, f64)]| match (line.first(), line.last()) {
        (Some(first), Some(last)) => format!(
            "{:.1} % at {} training images, {:.1} % at {}",
            first.1, first.0, last.1, last.0
        ),
        _ => "not known".into(),
    };
    let mut description = format!("Smoothed accuracy {name}: {}.", ends(&after));
    let mut series = Vec::new();
    if !before.is_empty() {
        description += &format!(" Before tuning: {}.", ends(&before));
        series.push(Series::new(
            "",
            BEFORE_COLOUR,
            Mark::Points(thinned(points(&|c| c.before))),
        ));
    }
    series.push(Series::new(
        "",
        AFTER_COLOUR,
        Mark::Points(thinned(points(&|c| c.after))),
    ));
    if !before.is_empty() {
        series.push(Series::new(BEFORE, BEFORE_COLOUR, Mark::Dashed(before)));
    }
    series.push(Series::new(name, AFTER_COLOUR, Mark::Line(after)));
    Some(Figure {
        title: "Accuracy against class frequency".into(),
        description,
        caption: format!(
            "{}, plain evaluation. Lines: LOESS over the logarithm of all classes' training images, span {SPAN}.",
            dots(report.num_classes)
        ),
        plot: Plot::new(
            Axis::log("training images of the class"),
            Axis::linear("accuracy in %").range(0.0, 100.0),
            series,
        ),
    })
}

/// Accuracy over confidence.
pub fn calibration(state: &str, bins: &[Bin]) -> Figure {
    let width = 1.0 / bins.len() as f64;
    let bars: Vec<(f64, f64, f64)> = bins
        .iter()
        .filter_map(|bin| Some((bin.from, bin.from + width, bin.accuracy?)))
        .collect();
    let images: u64 = bins.iter().map(|bin| bin.images).sum();
    let gap: f64 = bins
        .iter()
        .filter_map(|bin| Some(bin.images as f64 * (bin.accuracy? - bin.confidence?).abs()))
        .sum();
    let mean = |value: &dyn Fn(&Bin) -> Option<f64>| {
        let sum: f64 = bins
            .iter()
            .filter_map(|bin| Some(bin.images as f64 * value(bin)?))
            .sum();
        100.0 * sum / images.max(1) as f64
    };
    Figure {
        title: format!("Calibration {state}"),
        description: format!(
            "Expected calibration error {:.1} % over {} bins: mean confidence {:.1} %, accuracy {:.1} %.",
            100.0 * gap / images.max(1) as f64,
            bins.len(),
            mean(&|bin| bin.confidence),
            mean(&|bin| bin.accuracy)
        ),
        caption: "A bar below the dashed line: the model is surer than it should be.".into(),
        plot: Plot::calibration(&bars),
    }
}

/// How far training and test lie apart for each class; nothing where no class could be compared.
pub fn apart(found: &Consistency) -> Option<Figure> {
    let points = |after: bool| -> Vec<(f64, f64)> {
        let point = |class: &crate::consistency::ClassConsistency| {
            let gap = if after { &class.after } else { &class.before };
            let gap = gap.as_ref()?;
            Some((class.train_count as f64, gap.distance - gap.by_chance))
        };
        found.classes.iter().filter_map(point).collect()
    };
    let (before, after) = (points(false), points(true));
    if before.is_empty() {
        return None;
    }
    let line = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let logs: Vec<(f64, f64)> = points.iter().map(|&(x, y)| (x.ln(), y)).collect();
        let mut places: Vec<f64> = logs.iter().map(|p| p.0).collect();
        places.sort_unstable_by(f64::total_cmp);
        places.dedup();
        let smoothed = loess(&logs, &places, SPAN);
        places.iter().map(|x| x.exp()).zip(smoothed).collect()
    };
    let mean =
        |points: &[(f64, f64)]| points.iter().map(|p| p.1).sum::<f64>() / points.len() as f64;
    Some(Figure {
        title: "How much further apart than by chance".into(),
        description: format!(
            "Wasserstein-1 distance less what chance gives, mean over {} classes: {:.4} before tuning, {:.4} after.",
            before.len(),
            mean(&before),
            mean(&after)
        ),
        caption: format!(
            "{}: the distance of its training from its test distribution, less that by chance. Lines: LOESS, span {SPAN}.",
            dots(before.len())
        ),
        plot: Plot::new(
            Axis::log("training images of the class"),
            Axis::linear("apart, less by chance"),
            vec![
                Series::new("", BEFORE_COLOUR, Mark::Points(thinned(before.clone()))),
                Series::new("", AFTER_COLOUR, Mark::Points(thinned(after.clone()))),
                Series::new(BEFORE, BEFORE_COLOUR, Mark::Dashed(line(&before))),
                Series::new(AFTER, AFTER_COLOUR, Mark::Line(line(&after))),
            ],
        ),
    })
}

/// The distributions of distances within a class, for the most and the least frequent band.
pub fn distances(found: &Consistency) -> Vec<Figure> {
    let bands = found.bands.iter().filter(|band| band.band != Band::Medium);
    bands
        .map(|band| {
            let line = |quantiles: &[f64; 5]| -> Vec<(f64, f64)> {
                let shares = QUANTILES.iter().map(|share| 100.0 * share);
                shares.zip(quantiles.iter().copied()).collect()
            };
            let (before, after) = (&band.before, &band.after);
            let series = vec![
                Series::new("training, before", BEFORE_COLOUR, Mark::Line(line(&before.train_quantiles))),
                Series::new("test, before", BEFORE_COLOUR, Mark::Dashed(line(&before.test_quantiles))),
                Series::new("training, after", AFTER_COLOUR, Mark::Line(line(&after.train_quantiles))),
                Series::new("test, after", AFTER_COLOUR, Mark::Dashed(line(&after.test_quantiles))),
            ];
            Figure {
                title: format!("Distances within a class, band {}", band.band),
                description: format!(
                    "Median distance of two images of a class: training {:.3}, test {:.3} before tuning; training {:.3}, \
                     test {:.3} after.",
                    before.train_quantiles[2],
                    before.test_quantiles[2],
                    after.train_quantiles[2],
                    after.test_quantiles[2]
                ),
                caption: "Quantiles of the cosine distances of pairs, means over classes. A full and a dashed line that \
                          part: training and test images do not lie alike."
                    .into(),
                plot: Plot::new(
                    Axis::linear("% of the pairs are nearer").range(0.0, 100.0),
                    Axis::linear("cosine distance"),
                    series,
                ),
            }
        })
        .collect()
}
