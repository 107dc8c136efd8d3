//! Duplicates on the page.

use crate::report::Report;
use crate::report::duplicates::{DuplicatePair, MOST_DIFFERENCE, Pair, Which};
use lift_page::{Block, Cell, Gallery, Group, KeyFigure, Section, Table, number};

pub(super) fn leakage(report: &Report, pairs: &[Pair]) -> Section {
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
