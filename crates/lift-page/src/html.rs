//! A [`Page`] as HTML.
//!
//! Markup is written as literals of this file only ([`Html::raw`] takes nothing else), text goes through
//! [`escape::html`] ([`Html::text`]). Invariant: no string of a page becomes markup.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::chart::{self, Mark, Series, Width};
use super::matrix::{self, Matrix};
use super::table::{Kind, Table};
use super::{Block, Figure, Gallery, KeyFigure, Page, Section, Thumbnail, escape};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn page(page: &Page) -> String {
    let mut html = Html::default();
    html.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    // Nothing is fetched, and no script runs but ours, whatever else may be wrong with the page.
    html.raw("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-");
    html.text(&STANDARD.encode(Sha256::digest(SCRIPT)));
    html.raw("'\">\n<title>");
    html.text(&page.title);
    html.raw("</title>\n<style>\n");
    html.raw(STYLE);
    html.stylesheets();
    html.raw("</style>\n</head>\n<body>\n<header>\n<h1>");
    html.text(&page.title);
    html.raw("</h1>\n<p>");
    html.text(&page.subtitle);
    html.raw("</p>\n");
    if page.sections.len() > 1 {
        html.raw("<nav aria-label=\"Sections\">");
        for (at, section) in page.sections.iter().enumerate() {
            html.raw("<a href=\"#s");
            html.count(at);
            html.raw("\">");
            html.text(&section.heading);
            html.raw("</a>");
        }
        html.raw("</nav>\n");
    }
    html.raw("</header>\n<main>\n");
    for (at, section) in page.sections.iter().enumerate() {
        html.section(at, section);
    }
    html.raw("</main>\n<footer><p>");
    html.text(&page.footer);
    html.raw("</p></footer>\n<script>");
    html.raw(SCRIPT);
    html.raw("</script>\n</body>\n</html>\n");
    html.out
}

#[derive(Default)]
struct Html {
    out: String,
    charts: usize,
}

impl Html {
    /// Markup of this program.
    fn raw(&mut self, markup: &'static str) {
        self.out += markup;
    }

    /// Text from anywhere.
    fn text(&mut self, text: &str) {
        self.out += &escape::html(text);
    }

    fn count(&mut self, number: usize) {
        self.out += &number.to_string();
    }

    /// What the style sheet has from the code: the charts' colours, and which columns hold numbers.
    fn stylesheets(&mut self) {
        self.out += &chart::stylesheet();
        for column in 1..=MOST_COLUMNS {
            self.out += &format!(
                ".n{column} td:nth-child({column}),.n{column} th:nth-child({column}){{text-align:right}}.n{column} td:nth-child({column}){{white-space:nowrap}}\n"
            );
        }
    }

    fn section(&mut self, at: usize, section: &Section) {
        self.raw("<section aria-labelledby=\"s");
        self.count(at);
        self.raw("\">\n<h2 id=\"s");
        self.count(at);
        self.raw("\">");
        self.text(&section.heading);
        self.raw("</h2>\n");
        for part in &section.parts {
            self.part(part);
        }
        self.raw("</section>\n");
    }

    fn part(&mut self, part: &Block) {
        match part {
            Block::Text(text) => {
                self.raw("<p>");
                self.text(text);
                self.raw("</p>\n");
            }
            Block::Heading(text) => {
                self.raw("<h3>");
                self.text(text);
                self.raw("</h3>\n");
            }
            Block::Warning(text) => {
                self.raw("<p class=\"warning\"><b>Note:</b> ");
                self.text(text);
                self.raw("</p>\n");
            }
            Block::Code(text) => {
                self.raw("<pre><code>");
                // Line breaks are meant here.
                for (at, line) in text.lines().enumerate() {
                    if at > 0 {
                        self.raw("\n");
                    }
                    self.text(line);
                }
                self.raw("</code></pre>\n");
            }
            Block::KeyFigures(figures) => self.key_figures(figures),
            Block::Table(table) => self.table(table),
            Block::Chart(figure) => {
                self.figure(figure, &[(Width::Wide, "wide"), (Width::Narrow, "narrow")]);
            }
            Block::Charts(figures) => {
                self.raw("<div class=\"charts\">\n");
                for figure in figures {
                    self.figure(figure, &[(Width::Narrow, "small")]);
                }
                self.raw("</div>\n");
            }
            Block::Matrix(matrix) => self.matrix(matrix),
            Block::Gallery(gallery) => self.gallery(gallery),
        }
    }

    fn key_figures(&mut self, figures: &[KeyFigure]) {
        self.raw("<dl class=\"keys\">\n");
        for figure in figures {
            self.raw("<div class=\"key\"><dt>");
            self.text(&figure.label);
            self.raw("</dt><dd>");
            self.text(&figure.value.display());
            if !figure.note.is_empty() {
                self.raw("<small>");
                self.text(&figure.note);
                self.raw("</small>");
            }
            self.raw("</dd></div>\n");
        }
        self.raw("</dl>\n");
    }

    fn table(&mut self, table: &Table) {
        self.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"");
        self.text(&table.caption);
        self.raw("\">\n<table class=\"");
        for (at, column) in table.columns.iter().enumerate() {
            if column.kind == Kind::Number {
                self.raw(" n");
                self.count(at + 1);
            }
        }
        self.raw("\">\n<caption><span>");
        self.text(&table.caption);
        if let Some(note) = table.cut_note(table.rows.len()) {
            self.raw(" ");
            self.text(&note);
        }
        self.raw("</span></caption>\n<thead><tr>");
        for column in &table.columns {
            self.raw(match column.kind {
                Kind::Text => "<th scope=\"col\">",
                Kind::Number => "<th scope=\"col\" data-kind=\"number\">",
            });
            self.text(&column.heading);
            self.raw("</th>");
        }
        // Rows leave out the end tags that HTML does not need: a page may have thousands.
        self.raw("</tr></thead>\n<tbody>\n");
        for row in &table.rows {
            self.raw("<tr>");
            for cell in row {
                self.raw("<td>");
                self.text(&cell.display());
            }
            self.raw("\n");
        }
        self.raw("</tbody>\n</table>\n</div>\n");
    }

    fn figure(&mut self, figure: &Figure, widths: &[(Width, &'static str)]) {
        self.raw("<figure>\n<h3>");
        self.text(&figure.title);
        self.raw("</h3>\n");
        self.legend(&figure.plot.series);
        for &(width, class) in widths {
            self.charts += 1;
            let (elements, (across, down)) = chart::svg(&figure.plot, width);
            self.raw("<svg class=\"chart ");
            self.raw(class);
            self.svg_head(
                (across as usize, down as usize),
                &figure.title,
                &figure.description,
            );
            // Plotters escapes the few words in it, which were made visible before.
            self.out += &elements;
            self.raw("</svg>\n");
        }
        self.figure_end(&figure.caption);
    }

    /// What follows a picture's class: its size, and what it is in words.
    fn svg_head(&mut self, (across, down): (usize, usize), title: &str, description: &str) {
        let number = self.charts;
        self.raw("\" role=\"img\" viewBox=\"0 0 ");
        self.count(across);
        self.raw(" ");
        self.count(down);
        self.raw("\" aria-labelledby=\"t");
        self.count(number);
        self.raw(" d");
        self.count(number);
        self.raw("\"><title id=\"t");
        self.count(number);
        self.raw("\">");
        self.text(title);
        self.raw("</title><desc id=\"d");
        self.count(number);
        self.raw("\">");
        self.text(description);
        self.raw("</desc>");
    }

    fn figure_end(&mut self, caption: &str) {
        if !caption.is_empty() {
            self.raw("<figcaption>");
            self.text(caption);
            self.raw("</figcaption>\n");
        }
        self.raw("</figure>\n");
    }

    fn matrix(&mut self, matrix: &Matrix) {
        self.raw("<figure>\n<h3>");
        self.text(&matrix.title);
        self.raw("</h3>\n<ul class=\"legend\"><li><i class=\"box c-blue\"></i>right</li>");
        self.raw("<li><i class=\"box c-vermillion\"></i>taken for another class</li></ul>\n");
        self.charts += 1;
        self.raw(match matrix::is_dense(matrix) {
            true => "<svg class=\"matrix dense",
            false => "<svg class=\"matrix",
        });
        let side = matrix::side(matrix);
        // Letters are not to grow with the window.
        self.raw("\" style=\"max-width:");
        self.count(side * 5 / 4);
        self.raw("px");
        self.svg_head((side, side), &matrix.title, &matrix.description);
        // Names in it are escaped.
        self.out += &matrix::svg(matrix);
        self.raw("</svg>\n");
        self.figure_end(&matrix.caption);
    }

    fn legend(&mut self, series: &[Series]) {
        if series.iter().all(|series| series.name.is_empty()) {
            return;
        }
        self.raw("<ul class=\"legend\">");
        for series in series.iter().filter(|series| !series.name.is_empty()) {
            self.raw("<li><i class=\"");
            self.raw(match series.mark {
                Mark::Line(_) | Mark::Whiskers(_) => "line",
                Mark::Dashed(_) => "dash",
                Mark::Points(_) => "dot",
                Mark::Bars(_) | Mark::Area(_) => "box",
            });
            self.raw(" c-");
            self.raw(series.colour.name());
            self.raw("\"></i>");
            self.text(&series.name);
            self.raw("</li>");
        }
        self.raw("</ul>\n");
    }

    fn gallery(&mut self, gallery: &Gallery) {
        self.raw("<p class=\"above\">");
        self.text(&gallery.caption);
        self.raw("</p>\n<ul class=\"gallery\">\n");
        for group in &gallery.groups {
            self.raw("<li><p>");
            self.text(&group.caption);
            self.raw("</p><div>");
            for (thumbnail, caption) in &group.images {
                self.raw("<figure>");
                self.image(thumbnail, caption);
                self.raw("<figcaption>");
                self.text(caption);
                self.raw("</figcaption></figure>");
            }
            self.raw("</div></li>\n");
        }
        self.raw("</ul>\n");
    }

    fn image(&mut self, thumbnail: &Thumbnail, alt: &str) {
        let (width, height) = thumbnail.size();
        self.raw("<img width=\"");
        self.count(width as usize);
        self.raw("\" height=\"");
        self.count(height as usize);
        self.raw("\" alt=\"");
        self.text(alt);
        self.raw("\" src=\"");
        self.text(&thumbnail.data_uri());
        self.raw("\">");
    }
}

/// Columns that can be numbers.
const MOST_COLUMNS: usize = 24;
