//! A [`Page`] as Markdown, for issues, wikis and repositories.
//!
//! Charts become their descriptions, galleries their captions. Invariant: the numbers are those of the
//! HTML, written by the same cells.

use super::escape;
use super::table::{Kind, Table};
use super::{Block, Figure, Page};

pub(super) fn page(page: &Page, max_rows: usize) -> String {
    let mut out = format!(
        "# {}\n\n{}\n",
        escape::markdown(&page.title),
        escape::markdown(&page.subtitle)
    );
    for section in &page.sections {
        out += &format!("\n## {}\n", escape::markdown(&section.heading));
        for part in &section.parts {
            out.push('\n');
            part_into(&mut out, part, max_rows);
        }
    }
    out += &format!("\n---\n\n{}\n", escape::markdown(&page.footer));
    out
}

fn part_into(out: &mut String, part: &Block, max_rows: usize) {
    match part {
        Block::Text(text) => *out += &(escape::markdown(text) + "\n"),
        Block::Heading(text) => *out += &format!("### {}\n", escape::markdown(text)),
        Block::Warning(text) => *out += &format!("> **Note:** {}\n", escape::markdown(text)),
        Block::Code(text) => {
            *out += "```\n";
            for line in text.lines() {
                *out += &(escape::visible(line).replace("```", "'''") + "\n");
            }
            *out += "```\n";
        }
        Block::KeyFigures(figures) => {
            *out += "| | |\n|---|--:|\n";
            for figure in figures {
                let label = escape::markdown(&figure.label);
                let note = match figure.note.as_str() {
                    "" => String::new(),
                    note => format!(" ({})", escape::markdown(note)),
                };
                let value = escape::markdown(&figure.value.display());
                *out += &format!("| {label}{note} | {value} |\n");
            }
        }
        Block::Table(table) => table_into(out, table, max_rows),
        Block::Chart(figure) => figure_into(out, figure),
        Block::Charts(figures) => {
            for (at, figure) in figures.iter().enumerate() {
                if at > 0 {
                    out.push('\n');
                }
                figure_into(out, figure);
            }
        }
        Block::Matrix(matrix) => {
            described_into(out, &matrix.title, &matrix.description, &matrix.caption)
        }
        Block::Gallery(gallery) => {
            *out += &(escape::markdown(&gallery.caption) + "\n\n");
            for group in gallery.groups.iter().take(max_rows) {
                let images: Vec<_> = group
                    .images
                    .iter()
                    .map(|(_, caption)| escape::markdown(caption))
                    .collect();
                *out += &format!(
                    "- {}: {}\n",
                    escape::markdown(&group.caption),
                    images.join("; ")
                );
            }
        }
    }
}

fn figure_into(out: &mut String, figure: &Figure) {
    described_into(out, &figure.title, &figure.description, &figure.caption);
}

fn described_into(out: &mut String, title: &str, description: &str, caption: &str) {
    *out += &format!(
        "**{}.** {}\n",
        escape::markdown(title),
        escape::markdown(description)
    );
    if !caption.is_empty() {
        *out += &format!("{}\n", escape::markdown(caption));
    }
}

fn table_into(out: &mut String, table: &Table, max_rows: usize) {
    *out += &format!("**{}**\n\n|", escape::markdown(&table.caption));
    for column in &table.columns {
        *out += &format!(" {} |", escape::markdown(&column.heading));
    }
    *out += "\n|";
    for column in &table.columns {
        *out += match column.kind {
            Kind::Text => "---|",
            Kind::Number => "--:|",
        };
    }
    out.push('\n');
    let shown = table.rows.len().min(max_rows);
    for row in &table.rows[..shown] {
        out.push('|');
        for cell in row {
            *out += &format!(" {} |", escape::markdown(&cell.display()));
        }
        out.push('\n');
    }
    if let Some(note) = table.cut_note(shown) {
        *out += &format!("\n{note}\n");
    }
}
