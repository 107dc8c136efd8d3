//! What charts are drawn with: units, letters and colours.

use plotters::prelude::*;

use super::Colour;

/// Drawn units a shown pixel.
pub(super) const UNITS: u32 = 4;
/// The letters' size in shown pixels.
pub(super) const LETTERS: f64 = 12.0;
/// The size of a line's place for plotters: its SVG writer divides by this.
const FONT_FACTOR: f64 = 1.24;

/// Letters of a colour.
pub(super) fn letters(colour: Colour) -> TextStyle<'static> {
    let size = LETTERS * FONT_FACTOR * f64::from(UNITS);
    ("sans-serif", size).into_font().color(&rgb(colour))
}

/// The colour of lines behind the marks.
pub(super) const GRID: RGBColor = RGBColor(0xE6, 0xE9, 0xEC);

/// The colour as it is drawn; `page.css` and [`stylesheet`] give it its look.
pub(super) fn rgb(colour: Colour) -> RGBColor {
    match colour {
        Colour::Blue => RGBColor(0x00, 0x72, 0xB2),
        Colour::Green => RGBColor(0x00, 0x9E, 0x73),
        Colour::Vermillion => RGBColor(0xD5, 0x5E, 0x00),
        Colour::Purple => RGBColor(0xCC, 0x79, 0xA7),
        Colour::Sky => RGBColor(0x56, 0xB4, 0xE9),
        Colour::Orange => RGBColor(0xE6, 0x9F, 0x00),
        Colour::Ink => RGBColor(0x1B, 0x1F, 0x24),
        Colour::Soft => RGBColor(0x5B, 0x65, 0x70),
    }
}

/// The colour as SVG has it.
pub(super) fn colour(colour: Colour) -> String {
    let RGBColor(r, g, b) = rgb(colour);
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// Rules that exchange the drawn colours for the page's.
pub(crate) fn stylesheet() -> String {
    let colours = [
        Colour::Blue,
        Colour::Green,
        Colour::Vermillion,
        Colour::Purple,
        Colour::Sky,
        Colour::Orange,
        Colour::Ink,
        Colour::Soft,
    ];
    let named = colours.map(|colour| (rgb(colour), colour.name()));
    let mut rules = String::new();
    for (RGBColor(r, g, b), name) in named.into_iter().chain([(GRID, "grid")]) {
        for property in ["fill", "stroke"] {
            rules += &format!(
                ".chart [{property}=\"#{r:02X}{g:02X}{b:02X}\"]{{{property}:var(--{name})}}\n"
            );
        }
    }
    rules
}
