//! What people see: text on a terminal ([`terminal`], [`progress`], [`number`]), and reports as one HTML file that needs nothing
//! else, or the same content as Markdown.
//!
//! A [`Page`] is data: sections of text, key figures, tables, charts and small images. [`Page::html`] and
//! [`Page::markdown`] write it. It computes nothing about data sets or runs, and reads no file. Invariant:
//! every character that comes from outside passes [`escape`] (the types leave no other way), the page asks
//! no network for anything (its content security policy forbids it), and the same page gives the same bytes.

#![forbid(unsafe_code)]
// Only `terminal` prints.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod chart;
pub mod day;
pub mod escape;
mod html;
pub mod manual;
mod markdown;
pub mod matrix;
pub mod number;
pub mod progress;
pub mod schema;
mod table;
pub mod terminal;
mod thumbnail;

pub use chart::{Axis, Colour, Mark, Plot, Rule, Scale, Series, Ticks};
pub use matrix::Matrix;
pub use table::{Cell, Column, Kind, Table};
pub use thumbnail::Thumbnail;

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The heading, and the window's title.
    pub title: String,
    /// One line below the heading: what was looked at.
    pub subtitle: String,
    /// The sections in their order.
    pub sections: Vec<Section>,
    /// The last line: what made the page.
    pub footer: String,
}

/// A part of a page with a heading of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// What is below it, in order.
    pub parts: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// A heading below the section's.
    Heading(String),
    /// Something the reader should not overlook; the page marks it by a word and a bar, not by colour alone.
    Warning(String),
    /// Numbers in large type.
    KeyFigures(Vec<KeyFigure>),
    /// A table.
    Table(Table),
    /// A chart.
    Chart(Figure),
    /// Small charts beside each other.
    Charts(Vec<Figure>),
    /// Classes against classes.
    Matrix(Matrix),
    /// Groups of small images.
    Gallery(Gallery),
    /// Text to copy, in a fixed-width face.
    Code(String),
}

/// A number in large type with what it is.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyFigure {
    /// What it is.
    pub label: String,
    /// The number.
    pub value: Cell,
    /// A few words more; may be empty.
    pub note: String,
}

impl KeyFigure {
    /// A key figure without a note.
    pub fn new(label: &str, value: Cell) -> Self {
        Self {
            label: label.to_owned(),
            value,
            note: String::new(),
        }
    }

    /// The same with a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }
}

/// A chart with what is said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What it shows, above it.
    pub title: String,
    /// The same in words, for who does not see it: the main numbers.
    pub description: String,
    /// A line below it; may be empty.
    pub caption: String,
    /// The chart.
    pub plot: Plot,
}

/// Groups of small images, such as pairs of near duplicates.
#[derive(Debug, Clone, PartialEq)]
pub struct Gallery {
    /// What the groups are.
    pub caption: String,
    /// The groups.
    pub groups: Vec<Group>,
}

/// Small images that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What they have in common.
    pub caption: String,
    /// Each image with its own caption, which is its alternative text too.
    pub images: Vec<(Thumbnail, String)>,
}

impl Page {
    /// The page as one HTML document.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// The same content as Markdown, without images; tables are cut after `max_rows` rows and say so.
    pub fn markdown(&self, max_rows: usize) -> String {
        markdown::page(self, max_rows)
    }
}

#[cfg(test)]
mod tests;
