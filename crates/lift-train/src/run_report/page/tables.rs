//! The tables of a run.

use lift_page::{Cell, Table, number};

use crate::{
    consistency::{Consistency, Gap, QUANTILES},
    run_report::{
        Accuracy, Compared, Confused, Reproduce, RunReport, State,
        curves::{CurvePoint, ValidationPoint},
        slices::Slices,
    },
};

/// Rows that a table of classes keeps: more would make the page too large.
pub const MOST_CLASSES: usize = 1000;

fn percent(value: Option<f64>) -> Cell {
    Cell::percent(value, 1)
}

fn interval(interval: Option<[f64; 2]>) -> Cell {
    interval.map_or(Cell::Missing, |[low, high]| {
        Cell::Text(format!("{:.1}–{:.1}", 100.0 * low, 100.0 * high))
    })
}

fn count(value: Option<u64>) -> Cell {
    value.map_or(Cell::Missing, Cell::Count)
}

fn text(value: Option<impl Into<String>>) -> Cell {
    value.map_or(Cell::Missing, |value| Cell::Text(value.into()))
}

/// The model that was judged, and how it looked at images where that is not plainly; short, for narrow windows.
fn column(line: &Accuracy) -> String {
    let state = match line.state {
        State::BeforeTuning => "before",
        State::AfterTuning => "after",
        State::Untrained => "untrained",
    };
    match line.test_time.as_str() {
        "plain" => state.into(),
        other => format!("{state}, {other}"),
    }
}

/// A column an evaluation, a row a figure.
fn with_columns(caption: &str, lines: &[Accuracy]) -> Table {
    let names: Vec<String> = lines
        .iter()
        .map(|line| format!("#{}", column(line)))
        .collect();
    let mut headings = vec!["accuracy"];
    headings.extend(names.iter().map(String::as_str));
    Table::new(caption, &headings)
}

/// Accuracy by slices.
pub fn slices(slices: &Slices) -> Table {
    let caption = format!(
        "Accuracy after tuning by {}, plain evaluation",
        slices.column
    );
    let headings = [
        &slices.column,
        "#images",
        "#accuracy",
        "#95 % interval, %",
        "#mean class",
        "#classes",
    ];
    let mut table = Table::new(&caption, &headings);
    for row in &slices.rows {
        table.push(vec![
            text(row.value.clone()),
            Cell::Count(row.images),
            percent(Some(row.accuracy)),
            interval(row.interval),
            percent(Some(row.mean_class_accuracy)),
            Cell::Count(row.classes as u64),
        ]);
    }
    table.first(MOST_CLASSES)
}

const FIGURES: [&str; 5] = ["overall", "mean class", "many", "medium", "few"];

/// Accuracies by band, and the other figures that papers give.
pub fn accuracy(lines: &[Accuracy]) -> Table {
    let mut table = with_columns("Accuracy before and after tuning", lines);
    let mut row = |name: &str, cell: &dyn Fn(&Accuracy) -> Cell| {
        let mut row = vec![Cell::text(name)];
        row.extend(lines.iter().map(cell));
        table.push(row);
    };
    for (i, name) in FIGURES.into_iter().enumerate() {
        row(name, &|line| {
            percent(line.figures()[i].map(|figure| figure.value))
        });
    }
    row("top-5", &|line| percent(line.top5));
    row("macro F1", &|line| percent(line.macro_f1));
    row("worst class", &|line| percent(line.worst_class));
    row("calibration error", &|line| percent(line.calibration_error));
    table
}

/// The intervals of accuracies.
pub fn intervals(lines: &[Accuracy]) -> Table {
    let mut table = with_columns("95 % intervals, in %", lines);
    for (i, name) in FIGURES.into_iter().enumerate() {
        let mut row = vec![Cell::text(name)];
        let of = |line: &Accuracy| interval(line.figures()[i].and_then(|figure| figure.interval));
        row.extend(lines.iter().map(of));
        table.push(row);
    }
    table
}

/// A row a line of the log, where there are a few; nothing without one.
pub fn curves(points: &[CurvePoint]) -> Option<Table> {
    let headings = [
        "#step",
        "#loss",
        "#accuracy",
        "#many",
        "#medium",
        "#few",
        "#learning rate",
        "#images a second",
        "#waiting for data",
    ];
    let mut table = Table::new("While training, means since the step before", &headings);
    for p in points {
        let mut row = vec![Cell::Count(p.step as u64), Cell::Float(p.loss, 3)];
        let accuracies = [p.train_accuracy, p.train_many, p.train_medium, p.train_few];
        row.extend(accuracies.map(percent));
        row.extend([
            Cell::Float(p.lr, 5),
            Cell::Float(p.images_per_second, 0),
            Cell::Percent(p.data_wait_share, 1),
        ]);
        table.push(row);
    }
    (!points.is_empty()).then_some(table)
}

/// A row a validation, where there are a few; nothing without one.
pub fn validation(points: &[ValidationPoint]) -> Option<Table> {
    let headings = [
        "#step",
        "#overall",
        "#mean class",
        "#many",
        "#medium",
        "#few",
    ];
    let mut table = Table::new("Accuracy on the val split, plain evaluation", &headings);
    for p in points {
        let v = &p.validation;
        let mut row = vec![Cell::Count(p.step as u64)];
        row.extend([v.overall, v.mean_class, v.many, v.medium, v.few].map(percent));
        table.push(row);
    }
    (!points.is_empty()).then_some(table)
}

/// What was tuned, and what it took.
pub fn effort(report: &RunReport) -> Option<Table> {
    let mut table = Table::new("What was tuned, and what it took", &["", "#value"]);
    let mut row = |what: &str, value: Cell| table.push(vec![Cell::text(what), value]);
    if let Some(p) = &report.parameters {
        row("modules", Cell::text(&p.tuner));
        row("parameters in modules", Cell::Count(p.modules));
        row(
            "their share of the image tower",
            Cell::Percent(p.module_share, 2),
        );
        row("parameters in the classifier", Cell::Count(p.classifier));
        row(
            "frozen parameters of the image tower",
            Cell::Count(p.frozen),
        );
    }
    if let Some(cost) = &report.cost {
        if let Some(epochs) = cost.epochs {
            row("epochs", Cell::Count(epochs as u64));
        }
        row("steps", Cell::Count(cost.steps as u64));
        row("seconds of training", Cell::Float(cost.seconds, 1));
        row(
            "seconds of evaluation",
            Cell::Float(cost.evaluation_seconds, 1),
        );
        row("images a second", Cell::Float(cost.images_per_second, 0));
        row(
            "time spent waiting for data",
            Cell::Percent(cost.data_wait_share, 1),
        );
        if let Some(bytes) = cost.peak_memory_bytes {
            row(
                "memory of the host, at most",
                Cell::text(number::bytes(bytes)),
            );
        }
        if let Some(bytes) = cost.peak_device_bytes {
            row(
                "memory of the GPU, at most",
                Cell::text(number::bytes(bytes)),
            );
        }
    }
    row("device, precision", Cell::text(&report.device));
    (report.parameters.is_some() || report.cost.is_some()).then_some(table)
}

/// A row a class; of very many, those with the lowest accuracy after tuning.
pub fn classes(report: &RunReport) -> Table {
    let headings = [
        "class",
        "#label",
        "#train",
        "band",
        "#test",
        "#before",
        "#after",
        "#change",
        "#95 % of after",
        "taken for most",
    ];
    let is_cut = report.per_class.len() > MOST_CLASSES;
    let caption = if is_cut {
        "Accuracy of the classes that are worst after tuning"
    } else {
        "Accuracy of each class"
    };
    let mut table = Table::new(caption, &headings);
    let mut lines: Vec<_> = report.per_class.iter().collect();
    if is_cut {
        lines.sort_by(|a, b| {
            let key = |accuracy: Option<f64>| accuracy.unwrap_or(f64::INFINITY);
            key(a.after).total_cmp(&key(b.after))
        });
    }
    for line in lines {
        let change = line
            .before
            .zip(line.after)
            .map(|(before, after)| after - before);
        let other = line.taken_for.as_ref();
        let other = other.map(|(class, images)| format!("{class} ({images})"));
        table.push(vec![
            Cell::text(&line.class),
            Cell::Count(line.label as u64),
            count(line.train_count),
            text(line.band.map(|band| band.as_str())),
            count(line.test_count),
            percent(line.before),
            percent(line.after),
            percent(change),
            interval(line.interval),
            text(other),
        ]);
    }
    table.first(MOST_CLASSES)
}

/// A row a pair.
pub fn confused(pairs: &[Confused]) -> Table {
    let headings = ["images of", "taken for", "#images", "#of", "#share"];
    let mut table = Table::new("The pairs of classes that are confused most", &headings);
    for pair in pairs {
        table.push(vec![
            Cell::text(&pair.class),
            Cell::text(&pair.predicted_class),
            Cell::Count(pair.images),
            Cell::Count(pair.of),
            Cell::Percent(pair.images as f64 / pair.of.max(1) as f64, 1),
        ]);
    }
    table
}

/// A row a band and state.
pub fn consistency(found: &Consistency) -> Table {
    let headings = [
        "band",
        "tuning",
        "#classes",
        "#mean distance, train",
        "#mean distance, test",
        "#apart",
        "#by chance",
    ];
    let mut table = Table::new("Training against test images, by band", &headings);
    for band in &found.bands {
        for (state, gap) in [("before", &band.before), ("after", &band.after)] {
            let mut row = vec![
                Cell::text(band.band.as_str()),
                Cell::text(state),
                Cell::Count(band.classes as u64),
            ];
            let figures = [gap.train_mean, gap.test_mean, gap.distance, gap.by_chance];
            row.extend(figures.map(|figure| Cell::Float(figure, 4)));
            table.push(row);
        }
    }
    table
}

/// A row a band, state and split.
pub fn quantiles(found: &Consistency) -> Table {
    let names = QUANTILES.map(|share| format!("#{:.0} %", 100.0 * share));
    let mut headings = vec!["band", "tuning", "images"];
    headings.extend(names.iter().map(String::as_str));
    let caption = "Quantiles of the distances within a class, means over classes";
    let mut table = Table::new(caption, &headings);
    for band in &found.bands {
        for (state, gap) in [("before", &band.before), ("after", &band.after)] {
            let Gap {
                train_quantiles,
                test_quantiles,
                ..
            } = gap;
            for (split, quantiles) in [("training", train_quantiles), ("test", test_quantiles)] {
                let words = [band.band.as_str(), state, split];
                let mut row = words.map(Cell::text).to_vec();
                row.extend(quantiles.map(|value| Cell::Float(value, 3)));
                table.push(row);
            }
        }
    }
    table
}

/// A row an evaluation of each run.
pub fn runs(runs: &[Compared]) -> Table {
    let headings = [
        "run",
        "test-time",
        "#overall",
        "#mean class",
        "#many",
        "#medium",
        "#few",
    ];
    let mut table = Table::new("Runs side by side", &headings);
    for run in runs {
        for line in &run.accuracy {
            let mut row = vec![Cell::text(&run.name), Cell::text(&line.test_time)];
            row.extend(
                line.figures()
                    .map(|figure| percent(figure.map(|f| f.value))),
            );
            table.push(row);
        }
    }
    table
}

/// A row a class: its accuracy in this run, and by how much the others differ from it.
pub fn differences(report: &RunReport) -> Table {
    let Some((first, others)) = report.compared.split_first() else {
        return Table::new("", &[]);
    };
    let mut headings = vec![
        "class".to_owned(),
        "#train".into(),
        format!("#{}", first.name),
    ];
    headings.extend(
        others
            .iter()
            .map(|run| format!("#{} less {}", run.name, first.name)),
    );
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(
        "Accuracy of each class, plain evaluation, in points",
        &headings,
    );
    let spread = |label: usize| -> f64 {
        let own = first.per_class[label];
        let of = |run: &Compared| {
            run.per_class[label]
                .zip(own)
                .map_or(0.0, |(a, b)| (a - b).abs())
        };
        others.iter().map(of).fold(0.0, f64::max)
    };
    let mut labels: Vec<usize> = (0..report.num_classes).collect();
    // Those that differ most come first.
    labels.sort_by(|&a, &b| spread(b).total_cmp(&spread(a)));
    for label in labels {
        let line = &report.per_class[label];
        let own = first.per_class[label];
        let mut row = vec![
            Cell::text(&line.class),
            count(line.train_count),
            percent(own),
        ];
        row.extend(others.iter().map(|run| {
            percent(
                run.per_class[label]
                    .zip(own)
                    .map(|(other, own)| other - own),
            )
        }));
        table.push(row);
    }
    table.first(MOST_CLASSES)
}

/// The hashes that a run started from.
pub fn hashes(reproduce: &Reproduce) -> Table {
    let mut table = Table::new("What it started from", &["of", "hash", "kind"]);
    // Runs of an earlier version did not keep them.
    let mut row = |what: &str, hash: Option<&String>| {
        if let Some(hash) = hash {
            table.push([what, hash, "XXH3-64"].map(Cell::text).to_vec());
        }
    };
    row("manifest of the training shards", reproduce.shards.as_ref());
    row("classifier file", reproduce.head.as_ref());
    row("model's image tower", reproduce.model.as_ref());
    table.push(vec![
        Cell::text("class list"),
        Cell::text(&reproduce.class_hash),
        Cell::text("SHA-256"),
    ]);
    table
}
