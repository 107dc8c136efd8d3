//! Charts: series of marks on two axes, drawn as SVG by plotters.
//!
//! A [`Plot`] is data; constructors make the usual ones. It is drawn twice, for wide and for narrow
//! screens, so that letters stay legible on both. Text stays text (plotters' estimate of its width is
//! enough, so no font library is needed). Invariant: points that are not finite, or not positive on a
//! logarithmic axis, are left out; nothing here fails. A line of one or two points shows them as dots.

mod draw;
mod file;
mod ink;
mod names;
mod scale;
mod smooth;

pub use file::svg_file;
pub use smooth::smooth;

pub(crate) use names::cut;

pub(super) use draw::{Width, svg};
pub(super) use ink::stylesheet;

/// Colours of the page, from Okabe and Ito's palette, which colour-blind people can tell apart. A page
/// shows darker or lighter ones in their place, by the reader's light or dark mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// The first choice; the band `many`.
    Blue,
    /// The band `medium`.
    Green,
    /// The band `few`.
    Vermillion,
    /// A further series.
    Purple,
    /// A further series.
    Sky,
    /// A further series.
    Orange,
    /// The text's colour: totals, references.
    Ink,
    /// Grey: what is only there to compare with.
    Soft,
}

impl Colour {
    /// The colours for series, in the order in which to use them.
    pub const SERIES: [Colour; 6] = [
        Colour::Blue,
        Colour::Vermillion,
        Colour::Green,
        Colour::Purple,
        Colour::Orange,
        Colour::Sky,
    ];
    pub(super) fn name(self) -> &'static str {
        match self {
            Colour::Blue => "blue",
            Colour::Green => "green",
            Colour::Vermillion => "vermillion",
            Colour::Purple => "purple",
            Colour::Sky => "sky",
            Colour::Orange => "orange",
            Colour::Ink => "ink",
            Colour::Soft => "soft",
        }
    }
}

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten; only positive values.
    Log,
}

/// What stands at an axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Ticks {
    /// Round numbers.
    Round,
    /// Round numbers without a fraction, for what is counted.
    Whole,
    /// Names at places, for groups; of the axis below only.
    Named(Vec<(f64, String)>),
}

/// An axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What it measures, with its unit.
    pub title: String,
    /// How it is divided.
    pub scale: Scale,
    /// Its ends; `None`: what the series need.
    pub range: Option<(f64, f64)>,
    /// What stands at it.
    pub ticks: Ticks,
}

impl Axis {
    /// An even axis that ends where the series end.
    pub fn linear(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            scale: Scale::Linear,
            range: None,
            ticks: Ticks::Round,
        }
    }

    /// An even axis of what is counted: steps, images.
    pub fn whole(title: &str) -> Self {
        Self {
            ticks: Ticks::Whole,
            ..Self::linear(title)
        }
    }

    /// Groups beside each other, the first around 0, the next around 1, and so on, under their names.
    pub fn named(title: &str, names: impl IntoIterator<Item = String>) -> Self {
        let names: Vec<_> = (0..).map(f64::from).zip(names).collect();
        let end = names.len().max(1) as f64 - 0.5;
        Self {
            ticks: Ticks::Named(names),
            ..Self::linear(title).range(-0.5, end)
        }
    }

    /// A logarithmic axis that ends where the series end.
    pub fn log(title: &str) -> Self {
        Self {
            scale: Scale::Log,
            ..Self::linear(title)
        }
    }

    /// The axis with its ends given.
    pub fn range(mut self, from: f64, to: f64) -> Self {
        self.range = Some((from, to));
        self
    }
}

/// Places: across and up.
pub type Points = Vec<(f64, f64)>;

/// What a series looks like.
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// A line through the points.
    Line(Vec<(f64, f64)>),
    /// A dashed line through the points.
    Dashed(Vec<(f64, f64)>),
    /// A dot a point.
    Points(Vec<(f64, f64)>),
    /// Bars from the bottom: from, to, height.
    Bars(Vec<(f64, f64, f64)>),
    /// Upright lines with ends, such as intervals: place, from, to.
    Whiskers(Vec<(f64, f64, f64)>),
    /// The area between the bottom and a line through the points.
    Area(Vec<(f64, f64)>),
}

/// Marks of one colour with a name in the legend.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name in the legend; empty: it has none.
    pub name: String,
    /// Its colour.
    pub colour: Colour,
    /// Its marks.
    pub mark: Mark,
}

impl Series {
    /// A series.
    pub fn new(name: impl Into<String>, colour: Colour, mark: Mark) -> Self {
        Self {
            name: name.into(),
            colour,
            mark,
        }
    }
}

/// A line across the chart with a word at it.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// From left to right at this height.
    Horizontal(f64, String),
    /// From bottom to top at this place.
    Vertical(f64, String),
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// The axis below.
    pub x: Axis,
    /// The axis to the left.
    pub y: Axis,
    /// What is drawn, the first below the others.
    pub series: Vec<Series>,
    /// Lines across it.
    pub rules: Vec<Rule>,
}

impl Plot {
    /// Series on two axes.
    pub fn new(x: Axis, y: Axis, series: Vec<Series>) -> Self {
        Self {
            x,
            y,
            series,
            rules: Vec::new(),
        }
    }

    /// Lines, one a series, in the usual colours.
    pub fn lines(x: Axis, y: Axis, series: Vec<(String, Points)>) -> Self {
        let colours = Colour::SERIES.into_iter().cycle();
        let series = series
            .into_iter()
            .zip(colours)
            .map(|((name, points), colour)| Series::new(name, colour, Mark::Line(points)))
            .collect();
        Self::new(x, y, series)
    }

    /// A histogram: bars between `edges` (one more than there are `counts`).
    pub fn histogram(x: Axis, y: Axis, edges: &[f64], counts: &[u64]) -> Self {
        let bars = edges
            .windows(2)
            .zip(counts)
            .map(|(edge, &count)| (edge[0], edge[1], count as f64))
            .collect();
        Self::new(x, y, vec![Series::new("", Colour::Blue, Mark::Bars(bars))])
    }

    /// Points with a smoothed line through them all ([`smooth`]), one series a group: its name, colour
    /// and points.
    pub fn scatter(x: Axis, y: Axis, groups: Vec<(String, Colour, Points)>) -> Self {
        let all: Vec<_> = groups
            .iter()
            .flat_map(|(.., points)| points.clone())
            .collect();
        let trend = smooth(&all, x.scale);
        let mut series: Vec<_> = groups
            .into_iter()
            .map(|(name, colour, points)| Series::new(name, colour, Mark::Points(points)))
            .collect();
        series.push(Series::new("smoothed", Colour::Ink, Mark::Line(trend)));
        Self::new(x, y, series)
    }

    /// Reliability: a bar a bin of confidence (from, to, accuracy), beside the line where both agree.
    pub fn calibration(bins: &[(f64, f64, f64)]) -> Self {
        let axis = |title| Axis::linear(title).range(0.0, 1.0);
        let agree = Mark::Dashed(vec![(0.0, 0.0), (1.0, 1.0)]);
        Self::new(
            axis("confidence"),
            axis("accuracy"),
            vec![
                Series::new("accuracy", Colour::Blue, Mark::Bars(bins.to_vec())),
                Series::new("confidence = accuracy", Colour::Ink, agree),
            ],
        )
    }

    /// The chart with lines across it.
    pub fn rules(mut self, rules: Vec<Rule>) -> Self {
        self.rules = rules;
        self
    }
}
