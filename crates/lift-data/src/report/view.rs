//! A [`Report`] as a [`Page`]: which numbers stand where, in which words.
//!
//! Invariant: every number on the page comes from the report; words that depend on numbers are chosen here.

use std::collections::HashMap;

use super::duplicates::{DuplicatePair, MOST_DIFFERENCE, Pair, Which};
use super::fit::POWERS;
use super::measures::Groups;
use super::quality::{Distribution, Flag, SplitQuality};
use super::tail::SplitTail;
use super::{Report, names};
use lift_page::{
    Axis, Block, Cell, Colour, Figure, Gallery, Group, KeyFigure, Mark, Page, Plot, Rule, Section,
    Series, Table, number,
};
use lift_shards::split::Band;

/// Files of a flag that the page lists.
const LISTED_FILES: usize = 40;
/// Classes that the page lists.
const LISTED_CLASSES: usize = 10_000;
/// Classes that a split lacks and that are named in a sentence.
const NAMED: usize = 12;

/// The colour of a band, the same in every chart.
fn colour(band: Band) -> Colour {
    match band {
        Band::Many => Colour::Blue,
        Band::Medium => Colour::Green,
        Band::Few => Colour::Vermillion,
    }
}

/// Lays the report out.
pub fn page(report: &Report, pairs: &[Pair]) -> Page {
    let name = report.dataset.clone().unwrap_or_else(|| {
        let last = report.path.file_name().unwrap_or(report.path.as_os_str());
        last.to_string_lossy().into_owned()
    });
    let images: u64 = report.splits.iter().map(|tail| tail.stats.images).sum();
    let splits: Vec<String> = report.splits.iter().map(split_name).collect();
    let kind = match report.encoding {
        Some(_) => "shards",
        None => "list",
    };
    let mut sections = vec![overview(report), long_tail(report)];
    sections.extend(quality(report));
    sections.extend(report.groups.as_ref().map(groups));
    sections.push(leakage(report, pairs));
    sections.push(classes(report));
    Page {
        title: format!("{name}: data report"),
        subtitle: format!(
            "{kind} at {}; {} images in {}",
            report.path.display(),
            number::grouped(images),
            splits.join(", ")
        ),
        sections,
        footer: format!(
            "Computed by lift-data {} (lift-data report).",
            report.tool_version
        ),
    }
}

fn split_name(tail: &SplitTail) -> String {
    tail.stats
        .split
        .map_or("all".to_owned(), |split| split.to_string())
}

fn overview(report: &Report) -> Section {
    let train = &report.splits[0];
    let stats = &train.stats;
    let name = split_name(train);
    let ratio = Cell::float(stats.imbalance_ratio, 1);
    let mut figures = vec![
        KeyFigure::new("classes", Cell::Count(stats.classes as u64)),
        KeyFigure::new(&format!("{name} images"), Cell::Count(stats.images)),
        KeyFigure::new("imbalance ratio", ratio).note(format!(
            "largest class {}, smallest {}",
            number::grouped(stats.largest),
            number::grouped(stats.smallest)
        )),
        KeyFigure::new("Gini", Cell::float(stats.gini, 3)).note("0 balanced, 1 all in one class"),
        KeyFigure::new("effective classes", Cell::float(train.effective_classes, 1)).note(format!(
            "2^entropy; entropy {} bits",
            Cell::float(train.entropy_bits, 2).display()
        )),
        KeyFigure::new(
            "in the top 10 % of classes",
            Cell::percent(train.top_tenth_share, 1),
        )
        .note(format!(
            "{} of {} classes",
            train.top_tenth_classes, train.stats.classes
        )),
    ];
    let leakage = &report.leakage;
    figures.push(
        KeyFigure::new("leaked images", Cell::Count(leakage.leaked)).note(match leakage.by {
            "path" => "of other splits, with a path of train",
            _ if report.compared.is_empty() => "of other splits, equal or near to train",
            _ => "of other splits, equal or near to train; or shared with the other data set",
        }),
    );
    if !report.quality.is_empty() {
        let corrupt = report.quality.iter().map(|split| split.corrupt).sum();
        let left_out: u64 = report.quality.iter().map(SplitQuality::left_out).sum();
        let note = match corrupt - left_out {
            0 => "left out by the build".to_owned(),
            stored => format!(
                "{} left out by the build, {} stored by it",
                number::grouped(left_out),
                number::grouped(stored)
            ),
        };
        figures.push(KeyFigure::new("corrupt files", Cell::Count(corrupt)).note(note));
    }
    let mut parts = vec![Block::KeyFigures(figures)];
    let lacking = report.splits.iter().filter(|tail| !tail.lacking.is_empty());
    parts.extend(lacking.map(|tail| Block::Warning(lacks(report, tail))));
    if leakage.leaked > 0 {
        parts.push(Block::Warning(format!(
            "Images of validation and test splits that are, equal or nearly, training images as well: {}. Accuracy on them says \
             less than it seems to.",
            number::grouped(leakage.leaked)
        )));
    }
    parts.extend(report.notes.iter().cloned().map(Block::Text));
    Section {
        heading: "Overview".to_owned(),
        parts,
    }
}

fn lacks(report: &Report, tail: &SplitTail) -> String {
    let classes = names(&report.classes);
    let named: Vec<&str> = tail
        .lacking
        .iter()
        .take(NAMED)
        .map(|label| classes[label].as_str())
        .collect();
    let more = match tail.lacking.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let count = tail.lacking.len();
    format!(
        "{} lacks {count} of {} classes: {}{more}.",
        split_name(tail),
        tail.stats.classes,
        named.join(", ")
    )
}

fn long_tail(report: &Report) -> Section {
    let mut parts = vec![
        Block::Chart(profile(report)),
        Block::Table(splits_table(report)),
    ];
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

fn profile(report: &Report) -> Figure {
    let train = &report.splits[0];
    let edges = report.band_edges;
    let mut counts: Vec<u64> = report.classes.iter().map(|row| row.images[0]).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let mut series = Vec::new();
    let mut said = Vec::new();
    for band in Band::ALL {
        let of_band = |&(_, &count): &(usize, &u64)| edges.band(count) == band && count > 0;
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut classes = 0;
        for (rank, &count) in counts.iter().enumerate().filter(of_band) {
            classes += 1;
            let (from, height) = (rank as f64, count as f64);
            // A step ends where the next begins: equal neighbours need no point between them.
            match points.last_mut() {
                Some(last) if last.1 == height => last.0 = from + 1.0,
                _ => points.extend([(from, height), (from + 1.0, height)]),
            }
        }
        let name = band_name(report, band);
        said.push(format!("{name}: {classes} classes"));
        if !points.is_empty() {
            series.push(Series::new(name, colour(band), Mark::Area(points)));
        }
    }
    if let Some(fits) = train.fits {
        let line = |at: &dyn Fn(usize) -> f64| -> Vec<(f64, f64)> {
            // Two hundred places are a smooth line.
            let step = fits.classes.div_ceil(200);
            let places = (0..fits.classes).step_by(step).chain([fits.classes - 1]);
            places.map(|i| (i as f64 + 0.5, at(i))).collect()
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
    let x = Axis::linear("classes, largest first").range(0.0, counts.len().max(1) as f64);
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

fn band_name(report: &Report, band: Band) -> String {
    let edges = report.band_edges;
    match band {
        Band::Many => format!("many (> {})", edges.many_above),
        Band::Medium => format!("medium ({} to {})", edges.few_below, edges.many_above),
        Band::Few => format!("few (< {})", edges.few_below),
    }
}

fn splits_table(report: &Report) -> Table {
    figures_table(
        "The splits in numbers; bands follow the training counts",
        &report.splits,
        report,
    )
}

fn figures_table(caption: &str, tails: &[SplitTail], report: &Report) -> Table {
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

fn quality(report: &Report) -> Option<Section> {
    if report.quality.is_empty() {
        return None;
    }
    let mut parts = vec![Block::Table(flags_table(report))];
    parts.push(Block::Text(
        "Measured on the images as the shards hold them. A flag is a question, not a verdict."
            .to_owned(),
    ));
    parts.extend(quarantine_table(report).map(Block::Table));
    parts.push(Block::Heading("Channels".to_owned()));
    parts.push(Block::Table(channels_table(report)));
    let train = &report.quality[0];
    let three = |values: [Option<f64>; 3]| {
        let texts = values.map(|value| Cell::float(value, 4).display());
        texts.join(", ")
    };
    parts.push(Block::Code(format!(
        "mean = [{}]\nstd = [{}]",
        three(train.channel_mean),
        three(train.channel_std)
    )));
    parts.push(Block::Heading("Distributions".to_owned()));
    parts.push(Block::Table(distributions_table(report)));
    let varies = |of: &&Distribution| of.quantiles[0] < of.quantiles[4];
    let varying = train.distributions.iter().filter(varies);
    parts.push(Block::Charts(
        varying.map(|of| histogram(train, of)).collect(),
    ));
    for flag in Flag::ALL {
        parts.extend(files_table(report, flag).map(Block::Table));
    }
    Some(Section {
        heading: "Quality".to_owned(),
        parts,
    })
}

fn groups(groups: &Groups) -> Section {
    let has_pixels = groups.rows.iter().any(|row| row.median_sharpness.is_some());
    let mut headings = vec![
        groups.column.clone(),
        "split".to_owned(),
        "#images".to_owned(),
        "#classes".to_owned(),
        "#largest".to_owned(),
        "#smallest".to_owned(),
        "#imbalance ratio".to_owned(),
        "#Gini".to_owned(),
    ];
    let flags: Vec<Flag> = Flag::ALL
        .into_iter()
        .filter(|flag| {
            groups
                .rows
                .iter()
                .any(|row| row.flags.contains_key(flag.as_str()))
        })
        .collect();
    if has_pixels {
        headings.extend(["#mean luma", "#median sharpness"].map(str::to_owned));
        headings.extend(flags.iter().map(|flag| format!("#{}", flag.title())));
    }
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let caption = format!(
        "SplitTail and quality by {}, the largest groups first",
        groups.column
    );
    let mut table = Table::new(&caption, &headings);
    for row in &groups.rows {
        let mut cells = vec![
            row.value.as_ref().map_or(Cell::Missing, Cell::text),
            Cell::text(&row.split),
            Cell::Count(row.images),
            Cell::Count(row.classes as u64),
            Cell::Count(row.largest),
            Cell::Count(row.smallest),
            Cell::float(row.imbalance_ratio, 1),
            Cell::float(row.gini, 3),
        ];
        if has_pixels {
            cells.push(Cell::float(row.mean_luma, 1));
            cells.push(Cell::float(row.median_sharpness, 0));
            let counts = flags.iter().map(|flag| row.flags.get(flag.as_str()));
            cells.extend(
                counts.map(|count| count.map_or(Cell::Missing, |&count| Cell::Count(count))),
            );
        }
        table.push(cells);
    }
    Section {
        heading: format!("By {}", groups.column),
        parts: vec![Block::Table(table.first(LISTED_CLASSES))],
    }
}

fn flags_table(report: &Report) -> Table {
    let heads: Vec<String> = report
        .quality
        .iter()
        .flat_map(|split| [format!("#{}", split.split), "#share".to_owned()])
        .collect();
    let mut headings = vec!["flag", "definition"];
    headings.extend(heads.iter().map(String::as_str));
    let mut table = Table::new("Flagged images", &headings);
    for flag in Flag::ALL {
        let mut row = vec![Cell::text(flag.title()), Cell::Text(flag.definition())];
        for split in &report.quality {
            match split.count(flag) {
                Some(count) => {
                    let share = count as f64 / split.images.max(1) as f64;
                    row.extend([Cell::Count(count), Cell::Percent(share, 2)]);
                }
                None => row.extend([Cell::text("not recorded"), Cell::Missing]),
            }
        }
        table.push(row);
    }
    let mut row = vec![
        Cell::text("corrupt"),
        Cell::text("it cannot be read or decoded: the build left it out, or stored it unseen"),
    ];
    for split in &report.quality {
        let share = split.corrupt as f64 / (split.images + split.corrupt).max(1) as f64;
        row.extend([Cell::Count(split.corrupt), Cell::Percent(share, 2)]);
    }
    table.push(row);
    table
}

fn quarantine_table(report: &Report) -> Option<Table> {
    let mut table = Table::new(
        "Corrupt files and why",
        &["split", "file", "class", "reason"],
    );
    let classes = names(&report.classes);
    for split in &report.quality {
        for image in &split.quarantine {
            table.push(vec![
                Cell::text(&split.split),
                Cell::text(&image.path),
                class(&classes, image.label),
                Cell::text(&image.reason),
            ]);
        }
        for image in &split.undecodable {
            table.push(vec![
                Cell::text(&split.split),
                Cell::text(&image.path),
                class(&classes, image.label),
                Cell::text(format!("stored as row {}: {}", image.row, image.reason)),
            ]);
        }
    }
    (!table.rows.is_empty()).then(|| table.first(LISTED_FILES))
}

fn class(names: &HashMap<u32, String>, label: u32) -> Cell {
    Cell::text(names.get(&label).map_or("", String::as_str))
}

fn channels_table(report: &Report) -> Table {
    let mut table = Table::new(
        "Mean and standard deviation over all pixels, of values from 0 to 1",
        &[
            "split",
            "#mean red",
            "#green",
            "#blue",
            "#std red",
            "#green",
            "#blue",
            "#pixels",
        ],
    );
    for split in &report.quality {
        let mut row = vec![Cell::text(&split.split)];
        let values = split.channel_mean.iter().chain(&split.channel_std);
        row.extend(values.map(|&value| Cell::float(value, 4)));
        row.push(Cell::Count(split.pixels));
        table.push(row);
    }
    table
}

fn distributions_table(report: &Report) -> Table {
    let mut table = Table::new(
        "Quantiles over the images",
        &[
            "split",
            "measure",
            "#smallest",
            "#5 %",
            "#median",
            "#95 %",
            "#largest",
            "#mean",
        ],
    );
    for split in &report.quality {
        for of in &split.distributions {
            let mut row = vec![Cell::text(&split.split), Cell::text(of.measure)];
            let is_whole = of.measure.ends_with("pixels") || of.measure.ends_with("bytes");
            let decimals = if is_whole { 0 } else { 2 };
            row.extend(
                of.quantiles
                    .iter()
                    .map(|&value| Cell::Float(value, decimals)),
            );
            row.push(Cell::Float(of.mean, decimals.max(1)));
            table.push(row);
        }
    }
    table
}

fn histogram(split: &SplitQuality, of: &Distribution) -> Figure {
    let x = if of.log_bins {
        Axis::log(of.measure)
    } else {
        Axis::linear(of.measure)
    };
    let [smallest, _, median, _, largest] = of.quantiles;
    Figure {
        title: format!("{}, {}", capitalised(of.measure), split.split),
        description: format!(
            "{} images; from {} to {}, median {}.",
            number::grouped(split.images),
            number::decimal(smallest, 2),
            number::decimal(largest, 2),
            number::decimal(median, 2)
        ),
        caption: String::new(),
        plot: Plot::histogram(x, Axis::linear("images"), &of.edges(), &of.bins),
    }
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + characters.as_str()
}

fn files_table(report: &Report, flag: Flag) -> Option<Table> {
    let classes = names(&report.classes);
    let mut files: Vec<_> = report
        .quality
        .iter()
        .flat_map(|split| split.flagged.iter().map(move |image| (split, image)))
        .filter(|(_, image)| image.flag == flag)
        .collect();
    if files.is_empty() {
        return None;
    }
    // The clearest cases first: the smallest value, but for what is flagged for being large.
    files.sort_by(|(_, a), (_, b)| match flag {
        Flag::Bright | Flag::OddAspect => b.value.total_cmp(&a.value),
        _ => a.value.total_cmp(&b.value),
    });
    let heading = format!("#{}", flag.measure());
    let mut table = Table::new(
        &format!("Files: {}", flag.title()),
        &["split", "file", "class", &heading],
    );
    for (split, image) in files {
        table.push(vec![
            Cell::text(&split.split),
            Cell::text(&image.path),
            class(&classes, image.label),
            Cell::Float(f64::from(image.value), 2),
        ]);
    }
    Some(table.first(LISTED_FILES))
}

fn leakage(report: &Report, pairs: &[Pair]) -> Section {
    let of = &report.leakage;
    let mut figures = vec![
        KeyFigure::new("leaked images", Cell::Count(of.leaked)).note(format!(
            "{} of them equal{}",
            number::grouped(of.leaked_exact),
            match of.leaked_compared {
                0 => String::new(),
                other => format!(", {} of the other data set", number::grouped(other)),
            }
        )),
        KeyFigure::new("duplicates", Cell::Count(of.duplicates)).note(match of.by {
            "path" => "images whose path an earlier image has",
            _ => "images whose pixels an earlier image has",
        }),
        KeyFigure::new("label conflicts", Cell::Count(of.label_conflicts))
            .note("images with a duplicate of another class"),
    ];
    if of.by == "pixels" {
        figures.push(
            KeyFigure::new("near duplicates", Cell::Count(of.near_duplicates))
                .note("images that have one"),
        );
        figures.push(
            KeyFigure::new("groups", Cell::Count(of.clusters)).note(format!(
                "the largest has {}",
                number::grouped(of.largest_cluster)
            )),
        );
        figures.push(
            KeyFigure::new("flat images", Cell::Count(of.flat))
                .note("nearly one colour: not compared"),
        );
    }
    let mut parts = vec![Block::KeyFigures(figures)];
    parts.push(Block::Text(match of.distance {
        Some(distance) => format!(
            "Equal: the same decoded pixels. Near: perceptual hashes (64 bits of a DCT) that differ in at most {distance} \
             bits, and coarse colours less than {MOST_DIFFERENCE} grey levels apart after brightness and contrast are evened out."
        ),
        None => "Lists are compared by path only.".to_owned(),
    }));
    if of.crowded_buckets > 0 {
        parts.push(Block::Warning(format!(
            "{} buckets of the index were too crowded to be searched; near duplicates may be missing.",
            of.crowded_buckets
        )));
    }
    if !of.between.is_empty() {
        let mut table = Table::new(
            "Duplicates within and across splits",
            &["images of", "found in", "#equal", "#near only"],
        );
        for between in &of.between {
            table.push(vec![
                Cell::text(&between.images_of),
                Cell::text(&between.found_in),
                Cell::Count(between.exact),
                Cell::Count(between.near),
            ]);
        }
        parts.push(Block::Table(table));
    }
    if !pairs.is_empty() {
        parts.push(Block::Gallery(gallery(pairs, of.pairs_in_all)));
    }
    if !of.pairs.is_empty() {
        let mut table = Table::new(
            "Pairs: across splits first, then across classes, then the nearest",
            &[
                "kind",
                "#bits",
                "split",
                "file",
                "class",
                "other split",
                "other file",
                "other class",
            ],
        );
        for pair in &of.pairs {
            let [a, b] = &pair.images;
            table.push(vec![
                Cell::text(kind(pair)),
                Cell::Count(u64::from(pair.distance)),
                Cell::text(&a.split),
                Cell::text(&a.path),
                Cell::text(&a.class),
                Cell::text(&b.split),
                Cell::text(&b.path),
                Cell::text(&b.class),
            ]);
        }
        table.rows_in_all = of.pairs_in_all as usize;
        parts.push(Block::Table(table));
    }
    Section {
        heading: "Leakage and label noise".to_owned(),
        parts,
    }
}

fn kind(pair: &DuplicatePair) -> &'static str {
    if pair.exact { "equal" } else { "near" }
}

fn gallery(pairs: &[Pair], in_all: u64) -> Gallery {
    let group = |pair: &Pair| {
        let [first, second] = &pair.pair.images;
        let caption = |which: &Which| format!("{} · {} · {}", which.split, which.class, which.path);
        let [a, b] = &pair.thumbnails;
        let mut words = kind(&pair.pair).to_owned();
        if !pair.pair.exact {
            words += &format!(", {} bits apart", pair.pair.distance);
        }
        if first.class != second.class {
            words += ", different classes";
        }
        Group {
            caption: words,
            images: vec![(a.clone(), caption(first)), (b.clone(), caption(second))],
        }
    };
    Gallery {
        caption: format!("{} of {} pairs:", pairs.len(), number::grouped(in_all)),
        groups: pairs.iter().map(group).collect(),
    }
}

fn classes(report: &Report) -> Section {
    let heads: Vec<String> = report
        .splits
        .iter()
        .map(|tail| format!("#{}", split_name(tail)))
        .collect();
    let mut headings = vec!["class", "#label", "band"];
    headings.extend(heads.iter().map(String::as_str));
    let mut table = Table::new("Images of each class", &headings);
    let classes = names(&report.classes);
    let mut rows: Vec<_> = report.classes.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.images[0]), row.label));
    for row in rows {
        let mut cells = vec![
            class(&classes, row.label),
            Cell::Count(u64::from(row.label)),
            Cell::text(row.band.as_str()),
        ];
        cells.extend(row.images.iter().map(|&images| Cell::Count(images)));
        table.push(cells);
    }
    Section {
        heading: "Classes".to_owned(),
        parts: vec![Block::Table(table.first(LISTED_CLASSES))],
    }
}
