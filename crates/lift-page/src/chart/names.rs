//! Names below an axis: each in a line or two where it has room, upright where it has not.
//!
//! Widths are estimates, as no font is read. Invariant: no name is wider than its place, a longer one ends in `…`.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Colour;
use super::ink::{LETTERS, UNITS, letters};
use crate::escape::visible;

/// Shown pixels that a letter takes, about.
const LETTER: f64 = 6.6;
/// Shown pixels from a line to the next.
const LINE: f64 = 14.0;
/// Lines of a name.
const MOST_LINES: usize = 2;
/// The most letters of a name that stands upright.
const MOST_UPRIGHT: usize = 18;

/// The names of an axis, broken so that they fit.
pub(super) struct Names {
    lines: Vec<(f64, Vec<String>)>,
    is_upright: bool,
}

impl Names {
    /// Fits names to an axis of so many shown pixels.
    pub(super) fn fitted(names: &[(f64, String)], across: u32) -> Self {
        let room = f64::from(across) / names.len().max(1) as f64 / LETTER;
        let room = (room as usize).saturating_sub(1);
        let broken: Option<Vec<_>> = names
            .iter()
            .map(|(at, name)| Some((*at, broken(&visible(name), room)?)))
            .collect();
        match broken {
            Some(lines) => Self {
                lines,
                is_upright: false,
            },
            None => Self {
                lines: names
                    .iter()
                    .map(|(at, name)| (*at, vec![cut(&visible(name), MOST_UPRIGHT)]))
                    .collect(),
                is_upright: true,
            },
        }
    }

    /// Shown pixels that they need below an axis, more than a line of numbers does.
    pub(super) fn height(&self) -> u32 {
        let lines = self.lines.iter().map(|(_, lines)| lines);
        let pixels = if self.is_upright {
            let letters = lines.flatten().map(|line| line.chars().count()).max();
            letters.unwrap_or(0) as f64 * LETTER - LINE
        } else {
            let most = lines.map(Vec::len).max().unwrap_or(0);
            (most as f64 - 1.0) * LINE
        };
        pixels.max(0.0) as u32
    }

    pub(super) fn is_upright(&self) -> bool {
        self.is_upright
    }

    /// Places and what stands there, a line an element.
    pub(super) fn lines(&self) -> &[(f64, Vec<String>)] {
        &self.lines
    }
}

/// Writes a name below a place.
pub(super) fn write(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    (across, down): (i32, i32),
    lines: &[String],
    is_upright: bool,
) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    for (number, line) in lines.iter().enumerate() {
        let below = down + (number as f64 * LINE * f64::from(UNITS)) as i32;
        let style = letters(Colour::Soft);
        let (style, place) = if is_upright {
            // Turned about its end, which is above.
            let half = (LETTERS * f64::from(UNITS) / 2.0) as i32;
            let style = style.transform(FontTransform::Rotate270);
            (
                style.pos(Pos::new(HPos::Right, VPos::Top)),
                (across - half, below),
            )
        } else {
            (
                style.pos(Pos::new(HPos::Center, VPos::Top)),
                (across, below),
            )
        };
        area.draw(&Text::new(line.as_str(), place, style))?;
    }
    Ok(())
}

/// A name in at most [`MOST_LINES`] lines of at most `room` letters, broken between words; `None` where that cannot be.
fn broken(name: &str, room: usize) -> Option<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    for word in name.split_whitespace() {
        let letters = word.chars().count();
        let fits = |line: &String| line.chars().count() + 1 + letters <= room;
        if letters > room {
            return None;
        }
        let has_room = lines.len() < MOST_LINES;
        match lines.last_mut() {
            Some(line) if fits(line) => *line += &format!(" {word}"),
            _ if has_room => lines.push(word.to_owned()),
            _ => return None,
        }
    }
    Some(lines)
}

/// The name, its end left out where it has more letters.
pub(crate) fn cut(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    let kept: String = name.chars().take(most - 1).collect();
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<(f64, String)> {
        (0..)
            .map(f64::from)
            .zip(of.iter().map(|&name| name.to_owned()))
            .collect()
    }

    #[test]
    fn names_are_broken_between_words_or_stand_upright() {
        let few = names(&["purple crescent", "red heart"]);
        let wide = Names::fitted(&few, 200);
        // 200 pixels for two: 100 each, less than the 15 letters need, more than the 8 of `crescent`.
        assert_eq!(wide.lines()[0].1, ["purple", "crescent"]);
        assert_eq!(
            (wide.lines()[1].1.as_slice(), wide.is_upright()),
            (&["red heart".to_owned()][..], false)
        );
        assert!(
            Names::fitted(&few, 680)
                .lines()
                .iter()
                .all(|(_, lines)| lines.len() == 1)
        );
        let narrow = Names::fitted(&few, 60);
        assert!(narrow.is_upright() && narrow.height() > 60);
        let long = names(&["a very long name without an end"]);
        assert_eq!(
            Names::fitted(&long, 40).lines()[0].1,
            ["a very long name …"]
        );
    }
}
