//! A [`Plot`] as an SVG file of its own, with its title and the legend in it, on white.
//!
//! Invariant: no word of a title, a description or a series' name becomes markup, and the same chart gives the same bytes.

use super::draw::{Width, svg};
use super::ink::colour;
use super::{Mark, Plot};
use crate::escape;

/// Height of the title's line and of the legend's, in drawn units.
const LINE: u32 = 104;
/// Drawn units a letter of the legend takes, about.
const LETTER: u32 = 27;

/// The chart as a whole file; `description` says the same in words, for who does not see it.
pub fn svg_file(plot: &Plot, title: &str, description: &str) -> String {
    let (elements, (across, down)) = svg(plot, Width::Wide);
    let height = down + 2 * LINE;
    let (shown, shown_height) = (across / 4, height / 4);
    let text = escape::html;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{shown}\" height=\"{shown_height}\" \
         viewBox=\"0 0 {across} {height}\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n\
         <rect width=\"{across}\" height=\"{height}\" fill=\"#FFFFFF\"/>\n\
         <text x=\"56\" y=\"72\" font-family=\"sans-serif\" font-size=\"58\" font-weight=\"bold\" fill=\"#1B1F24\">{}</text>\n",
        text(title),
        text(description),
        text(title)
    );
    let mut x = 56;
    for series in plot.series.iter().filter(|series| !series.name.is_empty()) {
        let (y, colour) = (LINE + 52, colour(series.colour));
        let end = x + 88;
        out += &match &series.mark {
            Mark::Points(_) => format!(
                "<circle cx=\"{}\" cy=\"{y}\" r=\"16\" fill=\"{colour}\"/>",
                x + 44
            ),
            Mark::Bars(_) | Mark::Area(_) => format!(
                "<rect x=\"{x}\" y=\"{}\" width=\"88\" height=\"36\" fill=\"{colour}\"/>",
                y - 18
            ),
            mark => {
                let dashes = match mark {
                    Mark::Dashed(_) => " stroke-dasharray=\"24 16\"",
                    _ => "",
                };
                format!(
                    "<line x1=\"{x}\" y1=\"{y}\" x2=\"{end}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"8\"{dashes}/>"
                )
            }
        };
        out += &format!(
            "<text x=\"{}\" y=\"{}\" font-family=\"sans-serif\" font-size=\"48\" fill=\"#1B1F24\">{}</text>\n",
            end + 20,
            y + 16,
            text(&series.name)
        );
        x = end + 76 + LETTER * series.name.chars().count() as u32;
    }
    out += &format!(
        "<g transform=\"translate(0 {})\">{elements}</g>\n</svg>\n",
        2 * LINE
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, Colour, Series};

    #[test]
    fn a_file_names_its_lines_and_holds_no_markup_of_others() {
        let line = Mark::Line(vec![(0.0, 0.1), (1.0, 0.3)]);
        let series = vec![
            Series::new("many", Colour::Blue, line),
            Series::new(
                "<script>few</script>",
                Colour::Vermillion,
                Mark::Dashed(vec![(0.0, 0.2)]),
            ),
        ];
        let plot = Plot::new(Axis::linear("tau"), Axis::linear("accuracy"), series);
        let file = svg_file(&plot, "a < b", "many rises from 10 to 30");
        assert!(
            file.starts_with("<svg xmlns=") && file.ends_with("</svg>\n"),
            "{file}"
        );
        assert!(file.contains("<title>a &lt; b</title>"), "{file}");
        assert!(
            file.contains(">many</text>") && !file.contains("<script>"),
            "{file}"
        );
        assert_eq!(file, svg_file(&plot, "a < b", "many rises from 10 to 30"));
    }
}
