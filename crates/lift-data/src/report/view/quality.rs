//! The images' quality on the page, and the same by groups.

use super::{LISTED_CLASSES, LISTED_FILES, gallery, group};
use crate::report::measures::Groups;
use crate::report::pictures::{Pictures, clearest};
use crate::report::quality::{Distribution, Flag, SplitQuality};
use crate::report::{Report, names};
use lift_page::{Axis, Block, Cell, Figure, Plot, Section, Table, number};
use std::collections::HashMap;

pub(super) fn quality(report: &Report, pictures: &Pictures) -> Option<Section> {
    if report.quality.is_empty() {
        return None;
    }
    let mut parts = vec![Block::Table(flags_table(report))];
    parts.push(Block::Text(
        "Measured on the images as the shards hold them. A flag is a question, not a verdict."
            .to_owned(),
    ));
    let flagged = pictures.flagged.iter().map(|(flag, shown)| {
        let all = clearest(&report.quality, *flag).len() as u64;
        let caption = format!(
            "{}: {} of {}, by {}",
            flag.title(),
            shown.len(),
            number::grouped(all),
            flag.measure()
        );
        group(report, caption, shown)
    });
    parts.extend(gallery(
        "Flagged images, the clearest cases first:",
        flagged.collect(),
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

pub(super) fn groups(groups: &Groups) -> Section {
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
        "Tail and quality by {}, the largest groups first",
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
    // What the shards do not tell is said in a sentence, once.
    let told = |flag: &Flag| {
        report
            .quality
            .iter()
            .any(|split| split.count(*flag).is_some())
    };
    for flag in Flag::ALL.into_iter().filter(told) {
        let mut row = vec![Cell::text(flag.title()), Cell::Text(flag.definition())];
        for split in &report.quality {
            match split.count(flag) {
                Some(count) => {
                    let share = count as f64 / split.images.max(1) as f64;
                    row.extend([Cell::Count(count), Cell::Percent(share, 2)]);
                }
                None => row.extend([Cell::Missing, Cell::Missing]),
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

pub(super) fn class(names: &HashMap<u32, String>, label: u32) -> Cell {
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
    let files = clearest(&report.quality, flag);
    if files.is_empty() {
        return None;
    }
    let heading = format!("#{}", flag.measure());
    let mut table = Table::new(
        &format!("Files: {}", flag.title()),
        &["split", "file", "class", &heading],
    );
    for (split, image) in files {
        table.push(vec![
            Cell::text(&report.quality[split].split),
            Cell::text(&image.path),
            class(&classes, image.label),
            Cell::Float(f64::from(image.value), 2),
        ]);
    }
    Some(table.first(LISTED_FILES))
}
