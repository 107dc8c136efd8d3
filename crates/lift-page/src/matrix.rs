//! A square of classes against classes, as a picture: what images of each were taken for.
//!
//! Cells of one darkness are one path, so that 200 classes take tens of kilobytes. Invariant: a cell without images is not
//! drawn, and names pass [`escape`].

use super::chart::cut;
use super::escape;

/// The most classes that have a place.
pub const MOST_CLASSES: usize = 200;

/// Shares of the images of classes that were taken for classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    /// What it shows, above it.
    pub title: String,
    /// The same in words, for who does not see it.
    pub description: String,
    /// A line below it; may be empty.
    pub caption: String,
    /// The classes in their order.
    pub names: Vec<String>,
    /// For each class the classes that its images were taken for, with the share of them, 0 to 1.
    pub rows: Vec<Vec<(usize, f64)>>,
}

/// From this share on a cell is so dark.
const LEVELS: [(f64, &str); 5] = [
    (0.0, ".2"),
    (0.1, ".4"),
    (0.25, ".6"),
    (0.5, ".8"),
    (0.75, "1"),
];
/// The most classes that are named.
const MOST_NAMED: usize = 40;
/// The most whose shares are written into the cells.
const MOST_WRITTEN: usize = 12;
/// Units of a name.
const NAME: usize = 120;
/// The most letters of a name.
const LETTERS: usize = 18;
/// Units of a picture without names.
const SIDE: usize = 640;

/// The units of the picture, across and down alike.
pub(super) fn side(matrix: &Matrix) -> usize {
    let classes = matrix.names.len();
    margin(classes) + classes * cell(classes)
}

fn margin(classes: usize) -> usize {
    if classes <= MOST_NAMED { NAME } else { 0 }
}

fn cell(classes: usize) -> usize {
    match classes {
        few if few <= MOST_WRITTEN => 32,
        some if some <= MOST_NAMED => 16,
        _ => (SIDE / classes).max(1),
    }
}

/// Whether letters are too small where the window is narrow.
pub(super) fn is_dense(matrix: &Matrix) -> bool {
    matrix.names.len() > MOST_WRITTEN
}

/// The picture's elements.
pub(super) fn svg(matrix: &Matrix) -> String {
    let classes = matrix.names.len();
    let (margin, cell) = (margin(classes), cell(classes));
    let end = margin + classes * cell;
    let mut out = format!(
        "<rect class=\"frame\" x=\"{margin}\" y=\"{margin}\" width=\"{0}\" height=\"{0}\"/>",
        end - margin
    );
    for (level, (from, opacity)) in LEVELS.iter().enumerate() {
        let to = LEVELS.get(level + 1).map_or(f64::INFINITY, |next| next.0);
        for (class, is_right) in [("right", true), ("wrong", false)] {
            let mut path = String::new();
            for (row, cells) in matrix.rows.iter().enumerate() {
                let here = cells.iter().filter(|(column, share)| {
                    (row == *column) == is_right && *share > 0.0 && (*from..to).contains(share)
                });
                for (column, _) in here {
                    let (x, y) = (margin + column * cell, margin + row * cell);
                    path += &format!("M{x} {y}h{cell}v{cell}h-{cell}z");
                }
            }
            if !path.is_empty() {
                out +=
                    &format!("<path class=\"{class}\" fill-opacity=\"{opacity}\" d=\"{path}\"/>");
            }
        }
    }
    if margin > 0 {
        out += "<g class=\"names\">";
        for (at, name) in matrix.names.iter().enumerate() {
            let name = escape::html(&cut(&escape::visible(name), LETTERS));
            let (middle, beside) = (margin + at * cell + cell / 2, margin - 5);
            out += &format!(
                "<text text-anchor=\"end\" x=\"{beside}\" y=\"{}\">{name}</text>\
                 <text transform=\"translate({} {beside}) rotate(-90)\">{name}</text>",
                middle + 4,
                middle + 4
            );
        }
        out += "</g>";
    }
    if classes <= MOST_WRITTEN {
        for (row, cells) in matrix.rows.iter().enumerate() {
            for (column, share) in cells.iter().filter(|(_, share)| *share > 0.0) {
                let class = if *share >= LEVELS[3].0 { "on" } else { "of" };
                out += &format!(
                    "<text class=\"{class}\" text-anchor=\"middle\" x=\"{}\" y=\"{}\">{:.0}</text>",
                    margin + column * cell + cell / 2,
                    margin + row * cell + cell / 2 + 4,
                    100.0 * share
                );
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(classes: usize) -> Matrix {
        Matrix {
            title: "t".into(),
            description: "d".into(),
            caption: String::new(),
            names: (0..classes).map(|at| format!("<{at}>")).collect(),
            // Half of the images are right, the others taken for the next class.
            rows: (0..classes)
                .map(|row| vec![(row, 0.5), ((row + 1) % classes, 0.5)])
                .collect(),
        }
    }

    #[test]
    fn every_share_has_a_cell_and_no_name_is_markup() {
        for classes in [2, 30, 200] {
            let svg = svg(&matrix(classes));
            assert_eq!(svg.matches("h-").count(), 2 * classes, "{classes}");
            assert!(!svg.contains("<0>"));
        }
        assert!(svg(&matrix(8)).contains(">50</text>"));
        assert!(
            svg(&matrix(30)).contains("&lt;29&gt;") && !svg(&matrix(30)).contains(">50</text>")
        );
        assert!(!svg(&matrix(200)).contains("<text"));
    }

    #[test]
    fn two_hundred_classes_that_are_all_confused_stay_small() {
        let all = Matrix {
            rows: vec![(0..200).map(|column| (column, 0.005)).collect(); 200],
            ..matrix(200)
        };
        assert!(svg(&all).len() < 1_000_000, "{}", svg(&all).len());
    }
}
