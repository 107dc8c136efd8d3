//! A [`Plot`] as SVG.
//!
//! Plotters rounds to whole units, so that the drawing is four times as large as shown. Invariant: every
//! colour is one of [`rgb`]'s, which the page's style sheet exchanges for the reader's light or dark ones.

use std::ops::Range;

use plotters::chart::ChartBuilder;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::ink::{GRID, UNITS, letters, rgb};
use super::names::{self, Names};
use super::scale::Fitted;
use super::{Colour, Mark, Plot, Rule, Ticks};
use crate::escape::visible;

/// How wide the chart is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Width {
    /// For a screen of a desk, and paper.
    Wide,
    /// For a phone.
    Narrow,
}

impl Width {
    /// Shown pixels, across and down.
    pub(super) fn size(self) -> (u32, u32) {
        match self {
            Width::Wide => (760, 300),
            Width::Narrow => (350, 250),
        }
    }

    /// The most ticks, across and down.
    fn ticks(self) -> (usize, usize) {
        match self {
            Width::Wide => (10, 6),
            Width::Narrow => (5, 5),
        }
    }
}

/// A fitted axis with its ticks, as plotters wants it.
struct Ticked {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
}

impl Ranged for Ticked {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Ticked {
    fn format(value: &f64) -> String {
        value.to_string()
    }

    fn format_ext(&self, value: &f64) -> String {
        let tick = self.ticks.iter().find(|(at, _)| at == value);
        tick.map_or_else(String::new, |(_, label)| label.clone())
    }
}

type Canvas<'a> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<Ticked, Ticked>>;

/// The chart's elements and its view box, without the `svg` element around them: that one has a title,
/// which the page escapes.
pub(crate) fn svg(plot: &Plot, width: Width) -> (String, (u32, u32)) {
    let (across, down) = width.size();
    let names = match &plot.x.ticks {
        Ticks::Named(names) => Some(Names::fitted(names, across - LEFT - RIGHT)),
        Ticks::Round | Ticks::Whole => None,
    };
    let below = names.as_ref().map_or(0, Names::height);
    let size = (across * UNITS, (down + below) * UNITS);
    let mut text = String::new();
    draw(plot, width, size, names.as_ref(), &mut text).expect("drawing into a string cannot fail");
    let start = text.find('>').map_or(0, |at| at + 1);
    let end = text.rfind("</svg>").unwrap_or(text.len());
    (text[start..end].replace('\n', ""), size)
}

type DrawResult = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// Shown pixels beside the plot, and below it.
const LEFT: u32 = 58;
const RIGHT: u32 = 14;
const BELOW: u32 = 54;
/// Shown pixels between an axis and the numbers below it: the first stands clear of the lowest one beside the other axis.
const TICK: u32 = 9;

fn draw(
    plot: &Plot,
    width: Width,
    size: (u32, u32),
    names: Option<&Names>,
    out: &mut String,
) -> DrawResult {
    let (x, y) = axes(plot);
    let (across, down) = width.ticks();
    let ticked = |axis: &Fitted, most| Ticked {
        from: axis.from,
        to: axis.to,
        ticks: axis.ticks(most),
    };
    let across = Ticked {
        ticks: match names {
            // They are written below.
            Some(_) => Vec::new(),
            None => x.ticks(across),
        },
        from: x.from,
        to: x.to,
    };
    let root = SVGBackend::with_string(out, size).into_drawing_area();
    let px = |pixels: u32| (pixels * UNITS) as i32;
    let mut chart = ChartBuilder::on(&root)
        .margin_top(px(8))
        .margin_right(px(RIGHT))
        .x_label_area_size(px(BELOW + names.map_or(0, Names::height)))
        .y_label_area_size(px(LEFT))
        .build_cartesian_2d(across, ticked(&y, down))?;
    let letters = letters(Colour::Soft);
    chart
        .configure_mesh()
        .disable_x_mesh()
        .set_tick_mark_size(LabelAreaPosition::Bottom, px(TICK))
        .bold_line_style(GRID.stroke_width(UNITS))
        .light_line_style(TRANSPARENT)
        .axis_style(rgb(Colour::Soft).stroke_width(UNITS))
        .label_style(letters.clone())
        .axis_desc_style(letters)
        .x_desc(visible(&plot.x.title))
        .y_desc(visible(&plot.y.title))
        .draw()?;
    for series in &plot.series {
        marks(&mut chart, &x, &y, &series.mark, rgb(series.colour))?;
    }
    for rule in &plot.rules {
        draw_rule(&mut chart, &x, &y, rule)?;
    }
    if let Some(names) = names {
        for (at, lines) in names.lines() {
            if let Some(at) = x.place(*at) {
                let (across, down) = chart.backend_coord(&(at, y.from));
                names::write(&root, (across, down + px(TICK)), lines, names.is_upright())?;
            }
        }
    }
    root.present()
}

/// The axes, long enough for all marks; bars and areas start at 0.
fn axes(plot: &Plot) -> (Fitted, Fitted) {
    let (mut xs, mut ys) = (Vec::new(), Vec::new());
    let mut from_zero = false;
    for series in &plot.series {
        match &series.mark {
            Mark::Line(points) | Mark::Dashed(points) | Mark::Points(points) => {
                xs.extend(points.iter().map(|p| p.0));
                ys.extend(points.iter().map(|p| p.1));
            }
            Mark::Area(points) => {
                from_zero = true;
                xs.extend(points.iter().map(|p| p.0));
                ys.extend(points.iter().map(|p| p.1));
            }
            Mark::Bars(bars) => {
                from_zero = true;
                xs.extend(bars.iter().flat_map(|bar| [bar.0, bar.1]));
                ys.extend(bars.iter().map(|bar| bar.2));
            }
            Mark::Whiskers(whiskers) => {
                xs.extend(whiskers.iter().map(|whisker| whisker.0));
                ys.extend(whiskers.iter().flat_map(|whisker| [whisker.1, whisker.2]));
            }
        }
    }
    let x = Fitted::new(&plot.x, xs.into_iter(), false);
    let mut y = Fitted::new(&plot.y, ys.into_iter(), from_zero);
    if plot.y.range.is_none() {
        // Room above, and below the smallest bar of a logarithmic axis: a bar of 1 has a height as well.
        let room = (y.to - y.from) * 0.05;
        y.to += room;
        if from_zero && plot.y.scale == super::Scale::Log {
            y.from -= 0.25;
        }
    }
    (x, y)
}

fn marks(
    chart: &mut Canvas<'_>,
    x: &Fitted,
    y: &Fitted,
    mark: &Mark,
    colour: RGBColor,
) -> DrawResult {
    let placed = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let place = |&(px, py): &(f64, f64)| Some((x.clamped(px)?, y.clamped(py)?));
        points.iter().filter_map(place).collect()
    };
    match mark {
        Mark::Line(points) => {
            let points = placed(points);
            if points.len() <= LONE_POINTS {
                chart.draw_series(dots(&points, 4, colour.filled()))?;
            }
            let line = PathElement::new(points, colour.stroke_width(2 * UNITS));
            chart.draw_series([line])?;
        }
        Mark::Dashed(points) => {
            let points = placed(points);
            if points.len() <= LONE_POINTS {
                chart.draw_series(dots(&points, 4, colour.filled()))?;
            }
            let style = colour.stroke_width(2 * UNITS);
            let (dash, gap) = ((6 * UNITS) as i32, (4 * UNITS) as i32);
            chart.draw_series(DashedLineSeries::new(points, dash, gap, style))?;
        }
        Mark::Points(points) => {
            let style = colour.mix(0.75).filled();
            chart.draw_series(dots(&placed(points), 5, style))?;
        }
        Mark::Whiskers(whiskers) => {
            let style = colour.stroke_width(UNITS * 3 / 2);
            let end = (x.to - x.from) / 150.0;
            let lines = |&(at, low, high): &(f64, f64, f64)| {
                let (at, low, high) = (x.clamped(at)?, y.clamped(low)?, y.clamped(high)?);
                let cap = |height| vec![(at - end, height), (at + end, height)];
                let paths = [vec![(at, low), (at, high)], cap(low), cap(high)];
                Some(paths.map(|path| PathElement::new(path, style)))
            };
            chart.draw_series(whiskers.iter().filter_map(lines).flatten())?;
        }
        Mark::Bars(bars) => {
            let bar = |&(from, to, height): &(f64, f64, f64)| {
                let height = y.clamped(height)?;
                let corners = [(x.clamped(from)?, y.from), (x.clamped(to)?, height)];
                (height > y.from).then(|| Rectangle::new(corners, colour.filled()))
            };
            chart.draw_series(bars.iter().filter_map(bar))?;
        }
        Mark::Area(points) => {
            let mut outline = placed(points);
            if let (Some(first), Some(last)) = (outline.first().copied(), outline.last().copied()) {
                outline.extend([(last.0, y.from), (first.0, y.from)]);
                chart.draw_series([Polygon::new(outline, colour.filled())])?;
            }
        }
    }
    Ok(())
}

/// A line of so few points would not be seen, or not be seen to be so short.
const LONE_POINTS: usize = 2;

/// A dot a point, of a radius in half shown pixels.
fn dots(
    points: &[(f64, f64)],
    radius: u32,
    style: ShapeStyle,
) -> impl Iterator<Item = Circle<(f64, f64), i32>> {
    let radius = (UNITS * radius / 2) as i32;
    let dot = move |&at: &(f64, f64)| Circle::new(at, radius, style);
    points.iter().map(dot).collect::<Vec<_>>().into_iter()
}

fn draw_rule(chart: &mut Canvas<'_>, x: &Fitted, y: &Fitted, rule: &Rule) -> DrawResult {
    let (ends, at, name, anchor) = match rule {
        Rule::Horizontal(height, name) => {
            let Some(height) = inside(y, *height) else {
                return Ok(());
            };
            let anchor = Pos::new(HPos::Right, VPos::Bottom);
            (
                [(x.from, height), (x.to, height)],
                (x.to, height),
                name,
                anchor,
            )
        }
        Rule::Vertical(place, name) => {
            let Some(place) = inside(x, *place) else {
                return Ok(());
            };
            // On the side where there is room.
            let left = place > (x.from + x.to) / 2.0;
            let anchor = Pos::new(if left { HPos::Right } else { HPos::Left }, VPos::Top);
            (
                [(place, y.from), (place, y.to)],
                (place, y.to),
                name,
                anchor,
            )
        }
    };
    let style = rgb(Colour::Ink).stroke_width(UNITS);
    let (dash, gap) = ((2 * UNITS) as i32, (3 * UNITS) as i32);
    chart.draw_series(DashedLineSeries::new(ends, dash, gap, style))?;
    let letters = letters(Colour::Ink).pos(anchor);
    chart.draw_series([Text::new(format!(" {} ", visible(name)), at, letters)])?;
    Ok(())
}

fn inside(axis: &Fitted, value: f64) -> Option<f64> {
    axis.place(value)
        .filter(|at| (axis.from..=axis.to).contains(at))
}
