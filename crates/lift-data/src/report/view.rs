//! A [`Report`] as a [`Page`]: which numbers stand where, in which words.
//!
//! Invariant: every number on the page comes from the report; words that depend on numbers are chosen here.

mod duplicates;
mod quality;
mod tail;

use super::pictures::{Picture, Pictures};
use super::quality::SplitQuality;
use super::tail::SplitTail;
use super::{Report, names};
use lift_page::{Block, Cell, Colour, Gallery, Group, KeyFigure, Page, Section, Table, number};
use lift_shards::split::Band;
use std::path::Path;

use duplicates::leakage;
use quality::{class, groups, quality};
use tail::long_tail;

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

/// What stands at the head of the page and is no figure of the report.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// The title; none: the data set's name.
    pub title: Option<String>,
    /// The day on which the data was written, where that is known.
    pub day: Option<String>,
}

/// What `lift-data build` calls data that has no name of its own.
const NAMELESS: [&str; 6] = ["folder", "list", "table", "hf", "webdataset", "shards"];

/// The data set's name, or else the last part of its path.
fn name(report: &Report) -> String {
    let named = report.dataset.as_deref();
    match named.filter(|name| !NAMELESS.contains(name)) {
        Some(name) => name.to_owned(),
        None => last_of(&report.path),
    }
}

fn last_of(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    let path = absolute.as_deref().unwrap_or(path);
    let last = path.file_name().unwrap_or(path.as_os_str());
    last.to_string_lossy().into_owned()
}

/// A path as it was typed, or its last part where it begins at the root: a page is sent to others.
fn place(path: &Path) -> String {
    if path.is_absolute() {
        return format!("…/{}", last_of(path));
    }
    path.display().to_string()
}

/// Lays the report out.
pub fn page(report: &Report, pictures: &Pictures, head: &Head) -> Page {
    let title = head.title.clone();
    let title = title.unwrap_or_else(|| format!("{}: data report", name(report)));
    let day = head.day.as_ref();
    let day = day.map_or_else(String::new, |day| format!("; written on {day}"));
    let images: u64 = report.splits.iter().map(|tail| tail.stats.images).sum();
    let splits: Vec<String> = report.splits.iter().map(split_name).collect();
    let kind = match report.encoding {
        Some(_) => "shards",
        None => "list",
    };
    let mut sections = vec![overview(report), long_tail(report, pictures)];
    sections.extend(quality(report, pictures));
    sections.extend(report.groups.as_ref().map(groups));
    sections.push(leakage(report, &pictures.pairs));
    sections.push(classes(report));
    Page {
        title,
        subtitle: format!(
            "{kind} at {}; {} images in {}{day}; lift-data {}",
            place(&report.path),
            number::grouped(images),
            splits.join(", "),
            report.tool_version
        ),
        sections,
        footer: format!(
            "Computed by lift-data {} (lift-data report).",
            report.tool_version
        ),
    }
}

/// Small images under one caption.
fn group(report: &Report, caption: String, pictures: &[Picture]) -> Group {
    let classes = names(&report.classes);
    let named = |picture: &Picture| {
        let class = classes.get(&picture.label).map_or("", String::as_str);
        match picture.value {
            Some(value) => format!(
                "{class} · {} · {} · {}",
                number::decimal(f64::from(value), 2),
                picture.split,
                picture.path
            ),
            None => class.to_owned(),
        }
    };
    let images = pictures.iter();
    Group {
        caption,
        images: images
            .map(|picture| (picture.thumbnail.clone(), named(picture)))
            .collect(),
    }
}

fn gallery(caption: &str, groups: Vec<Group>) -> Option<Block> {
    let gallery = Gallery {
        caption: caption.to_owned(),
        groups,
    };
    (!gallery.groups.is_empty()).then_some(Block::Gallery(gallery))
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
