//! The long tail on the page: what each split has, and the profiles that come close.

use super::{colour, gallery, group, split_name};
use crate::report::fit::POWERS;
use crate::report::pictures::Pictures;
use crate::report::tail::SplitTail;
use crate::report::{Report, names};
use lift_page::{
    Axis, Block, Cell, Colour, Figure, Mark, Plot, Rule, Section, Series, Table, number,
};
use lift_shards::split::Band;

pub(super) fn long_tail(report: &Report, pictures: &Pictures) -> Section {
    let mut parts = vec![
        Block::Chart(profile(report)),
        Block::Table(splits_table(report)),
    ];
    let bands = pictures.bands.iter().map(|(band, shown)| {
        let caption = format!(
            "{}: {} of {} classes",
            band_name(report, *band),
            shown.len(),
            report.splits[0].stats.bands[*band as usize].classes
        );
        group(report, caption, shown)
    });
    parts.extend(gallery(
        "Samples of each band: the first image of classes from its largest to its smallest.",
        bands.collect(),
    ));
    if let Some(fits) = report.splits[0].fits {
        let mut table = Table::new(
            "Profiles that come closest to the class counts, largest first",
            &[
                "profile",
                "parameters",
                "#typical factor",
                "#RMS of ln(count / profile)",
            ],
        );
        let (exponential, pareto) = (fits.exponential, fits.pareto);
        let factor = |rms: f64| Cell::Float(rms.exp(), 2);
        table.push(vec![
            Cell::text("exponential"),
            Cell::text(format!(
                "largest {}, imbalance ratio {}",
                number::decimal(exponential.largest, 0),
                number::decimal(exponential.imbalance_ratio, 1)
            )),
            factor(exponential.rms_log_error),
            Cell::Float(exponential.rms_log_error, 3),
        ]);
        table.push(vec![
            Cell::text("Pareto"),
            Cell::text(format!(
                "power {}, from {} to {}",
                power(pareto.power),
                number::decimal(pareto.largest, 0),
                number::decimal(pareto.smallest, 0)
            )),
            factor(pareto.rms_log_error),
            Cell::Float(pareto.rms_log_error, 3),
        ]);
        parts.push(Block::Table(table));
        let better = if exponential.rms_log_error <= pareto.rms_log_error {
            "exponential"
        } else {
            "Pareto"
        };
        parts.push(Block::Text(format!(
            "The {better} profile is the closer one. The exponential is a least-squares line through the logarithms of \
             the {} counts; the Pareto lies between the ends that the data has, with the power that fits best.",
            fits.classes
        )));
    }
    if !report.compared.is_empty() {
        parts.push(Block::Heading("Compared with".to_owned()));
        parts.push(Block::Table(figures_table(
            "Class counts of the other data set",
            &report.compared,
            report,
        )));
    }
    Section {
        heading: "Long tail".to_owned(),
        parts,
    }
}

/// A power at the end of the search says no more than that.
fn power(power: f64) -> String {
    let [least, most] = POWERS;
    match power {
        power if power > 0.99 * most => format!("{most} or more"),
        power if power < 1.01 * least => format!("{least} or less"),
        power => number::decimal(power, 2),
    }
}

/// The most classes that are named below the chart.
const NAMED: usize = 12;

fn profile(report: &Report) -> Figure {
    let train = &report.splits[0];
    let edges = report.band_edges;
    let mut rows: Vec<_> = report.classes.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.images[0]), row.label));
    let counts: Vec<u64> = rows.iter().map(|row| row.images[0]).collect();
    // Few classes have a bar and a name each, around whole places; many are steps from 0 on.
    let is_named = counts.len() <= NAMED;
    let middle = if is_named { 0.0 } else { 0.5 };
    let mut series = Vec::new();
    let mut said = Vec::new();
    for band in Band::ALL {
        let of_band = |&(_, &count): &(usize, &u64)| edges.band(count) == band && count > 0;
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut bars: Vec<(f64, f64, f64)> = Vec::new();
        let mut classes = 0;
        for (rank, &count) in counts.iter().enumerate().filter(of_band) {
            classes += 1;
            let (from, height) = (rank as f64, count as f64);
            bars.push((from - 0.4, from + 0.4, height));
            // A step ends where the next begins: equal neighbours need no point between them.
            match points.last_mut() {
                Some(last) if last.1 == height => last.0 = from + 1.0,
                _ => points.extend([(from, height), (from + 1.0, height)]),
            }
        }
        let name = band_name(report, band);
        said.push(format!("{name}: {classes} classes"));
        if !points.is_empty() {
            let mark = if is_named {
                Mark::Bars(bars)
            } else {
                Mark::Area(points)
            };
            series.push(Series::new(name, colour(band), mark));
        }
    }
    if let Some(fits) = train.fits {
        let line = |at: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
            // Two hundred places are a smooth line.
            let step = fits.classes.div_ceil(200);
            let places = (0..fits.classes).step_by(step).chain([fits.classes - 1]);
            places.map(|i| (i as f64 + middle, at(i))).collect()
        };
        let exponential = line(&|i| fits.exponential.at(i, fits.classes));
        let pareto = line(&|i| fits.pareto.at(i, fits.classes));
        series.push(Series::new(
            "exponential fit",
            Colour::Ink,
            Mark::Dashed(exponential),
        ));
        series.push(Series::new(
            "Pareto fit",
            Colour::Purple,
            Mark::Line(pareto),
        ));
    }
    let name = split_name(train);
    let title = "classes, largest first";
    let x = if is_named {
        let all = names(&report.classes);
        Axis::named(title, rows.iter().map(|row| all[&row.label].clone()))
    } else {
        Axis::whole(title).range(0.0, counts.len() as f64)
    };
    let plot = Plot::new(x, Axis::log("images (log scale)"), series).rules(vec![
        Rule::Horizontal(
            edges.many_above as f64,
            format!("{} images", edges.many_above),
        ),
        Rule::Horizontal(
            edges.few_below as f64,
            format!("{} images", edges.few_below),
        ),
    ]);
    Figure {
        title: format!("Images of each class, {name}"),
        description: format!(
            "{} classes from {} images down to {}. {}.",
            counts.len(),
            number::grouped(train.stats.largest),
            number::grouped(train.stats.smallest),
            said.join("; ")
        ),
        caption: match train.lacking.len() {
            0 => String::new(),
            lacking => format!("{lacking} classes without images are not drawn."),
        },
        plot,
    }
}

pub(super) fn band_name(report: &Report, band: Band) -> String {
    let edges = report.band_edges;
    match band {
        Band::Many => format!("many (> {})", edges.many_above),
        Band::Medium => format!("medium ({} to {})", edges.few_below, edges.many_above),
        Band::Few => format!("few (< {})", edges.few_below),
    }
}

pub(super) fn splits_table(report: &Report) -> Table {
    figures_table(
        "The splits in numbers; bands follow the training counts",
        &report.splits,
        report,
    )
}

pub(super) fn figures_table(caption: &str, tails: &[SplitTail], report: &Report) -> Table {
    let heads: Vec<String> = tails
        .iter()
        .map(|tail| format!("#{}", split_name(tail)))
        .collect();
    let mut headings = vec!["figure"];
    headings.extend(heads.iter().map(String::as_str));
    let mut table = Table::new(caption, &headings);
    let mut row = |name: String, value: &dyn Fn(&SplitTail) -> Cell| {
        let mut cells = vec![Cell::Text(name)];
        cells.extend(tails.iter().map(value));
        table.push(cells);
    };
    row("images".into(), &|t| Cell::Count(t.stats.images));
    row("classes with images".into(), &|t| {
        Cell::Count((t.stats.classes - t.stats.empty_classes) as u64)
    });
    row("classes without images".into(), &|t| {
        Cell::Count(t.stats.empty_classes as u64)
    });
    row("largest class".into(), &|t| Cell::Count(t.stats.largest));
    row("smallest class".into(), &|t| Cell::Count(t.stats.smallest));
    row("imbalance ratio".into(), &|t| {
        Cell::float(t.stats.imbalance_ratio, 1)
    });
    row("Gini".into(), &|t| Cell::float(t.stats.gini, 3));
    row("entropy, bits".into(), &|t| Cell::float(t.entropy_bits, 3));
    row("effective classes (2^entropy)".into(), &|t| {
        Cell::float(t.effective_classes, 1)
    });
    row("in the largest tenth of the classes".into(), &|t| {
        Cell::percent(t.top_tenth_share, 1)
    });
    row(
        "accuracy of always guessing the largest training class".into(),
        &|t| Cell::percent(t.majority_accuracy, 2),
    );
    for (at, band) in Band::ALL.into_iter().enumerate() {
        let name = band_name(report, band);
        row(format!("{name}: classes"), &|t| {
            Cell::Count(t.stats.bands[at].classes as u64)
        });
        row(format!("{name}: images"), &|t| {
            Cell::Count(t.stats.bands[at].images)
        });
    }
    table
}
