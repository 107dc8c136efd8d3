//! What an adjustment was chosen from, as text for a terminal, as a chart and as a page.

use std::path::PathBuf;

use lift_page::{
    Axis, Block, Cell, Colour, Figure, KeyFigure, Mark, Page, Plot, Rule, Section, Series, Table,
    escape::visible, number::counted, terminal::aligned,
};
use serde::Serialize;

use crate::{
    adjustment::Adjustment,
    balance::{
        calibration::{Calibration, RANGE},
        curve::{Monitor, Point},
        estimate::Estimate,
    },
    logits::About,
};

/// Classes of an estimate that are named.
const MOST_NAMED: usize = 5;

/// Images of rare classes below which a choice is said to be uncertain: at 100 a share of one half has an interval of 20
/// points.
const FEW_IMAGES: u64 = 100;

/// What was found, and what of it was kept.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// `lift-adjust-report/1`.
    pub format: String,
    /// The logits that it was chosen from.
    pub about: About,
    /// The loss that the run was trained with.
    pub loss: String,
    /// Whether zero-shot logits were added.
    pub with_text: bool,
    /// Whether they were given as they are, without the class texts that give those of new images.
    #[serde(skip)]
    pub with_text_logits: bool,
    /// How often classes come.
    pub prior: FoundPrior,
    /// In label order.
    #[serde(skip)]
    pub class_names: Vec<String>,
    /// What was made large.
    pub monitor: Monitor,
    /// Images of the split whose class has many, medium and few training images.
    pub band_images: [u64; 3],
    /// Without any shift.
    pub as_trained: Point,
    /// A point for each strength.
    pub curve: Vec<Point>,
    /// The place in it of the one that was chosen.
    pub chosen: usize,
    /// As trained, shifted, and shifted and divided by the temperature.
    pub calibration: [Calibration; 3],
    /// What was chosen.
    pub adjustment: Adjustment,
    /// Where it is kept; none where it was only to be shown.
    pub kept: Option<PathBuf>,
}

/// How often classes come.
#[derive(Clone, Debug, Serialize)]
pub struct FoundPrior {
    /// `uniform`, `train`, `given` or `estimated`.
    pub kind: String,
    /// In label order, summing to 1.
    pub shares: Vec<f64>,
    /// The estimate, with intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated: Option<Estimate>,
}

impl Found {
    /// For a terminal: the curve, the temperature, what to know.
    pub fn text(&self) -> String {
        let mut out = format!("{}\n\n", self.subject());
        out += &self.curve_text();
        out += &format!("chosen by {}\n\n", self.monitor.as_str());
        let mut rows = vec![
            ["", "temperature", "NLL", "ECE"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for (name, one) in self.calibrations() {
            rows.push(vec![
                name.into(),
                format!("{:.3}", one.temperature),
                format!("{:.3}", one.negative_log_likelihood),
                format!("{:.1}", 100.0 * one.calibration_error),
            ]);
        }
        out += &aligned(&rows, 1);
        for note in self.notes() {
            out += &format!("\n{note}\n");
        }
        out
    }

    /// What it was chosen on and for.
    fn subject(&self) -> String {
        let about = &self.about;
        let text = if self.with_text {
            " with zero-shot logits added"
        } else {
            ""
        };
        format!(
            "{}{text}: {} of {}, {}, {}; trained with {}; for {} class frequencies",
            visible(&about.run),
            counted(about.images, "image"),
            about.split,
            counted(about.num_classes as u64, "class"),
            about.tte,
            self.loss,
            self.prior.kind
        )
    }

    fn curve_text(&self) -> String {
        let expected = self.prior.kind != "uniform";
        let mut header = vec!["tau", "overall", "mean class", "many", "medium", "few"];
        if expected {
            header.push("expected");
        }
        header.push("");
        let mut rows: Vec<Vec<String>> = vec![header.into_iter().map(str::to_owned).collect()];
        let mut add = |name: String, point: &Point, mark: &str| {
            let mut figures = vec![
                point.overall,
                point.mean_class,
                point.many,
                point.medium,
                point.few,
            ];
            if expected {
                figures.push(point.expected);
            }
            let figures = figures.into_iter().map(percent);
            let mut row: Vec<String> = std::iter::once(name).chain(figures).collect();
            row.push(mark.into());
            rows.push(row);
        };
        add("as trained".into(), &self.as_trained, "");
        for (at, point) in self.curve.iter().enumerate() {
            let mark = if at == self.chosen { "<" } else { "" };
            add(point.tau.to_string(), point, mark);
        }
        let text = aligned(&rows, 1);
        text.lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect()
    }

    fn calibrations(&self) -> impl Iterator<Item = (&'static str, &Calibration)> {
        ["as trained", "shifted", "shifted, divided"]
            .into_iter()
            .zip(&self.calibration)
    }

    /// What is worth a sentence.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.prior.kind != "uniform" {
            notes.push(
                "expected: accuracy, NLL and ECE where classes come with these frequencies"
                    .to_owned(),
            );
        }
        if let [_, _, few @ 1..FEW_IMAGES] = self.band_images {
            notes.push(format!(
                "{} of rare classes: their accuracy, and what is chosen by it, may well be chance",
                counted(few, "image")
            ));
        }
        if let Some(found) = &self.prior.estimated {
            notes.push(self.estimate_said(found));
        }
        if self.curve.len() > 1 && (self.chosen == 0 || self.chosen + 1 == self.curve.len()) {
            notes.push(
                "the best lies at the end of the strengths\nhint: --tau FROM:TO:STEP looks further"
                    .to_owned(),
            );
        }
        let temperature = self.calibration[2].temperature;
        if RANGE
            .iter()
            .any(|end| (temperature / end - 1.0).abs() < 1e-3)
        {
            notes.push(format!(
                "the temperature ran to the end of {} to {}: these logits tell too little to fit one",
                RANGE[0], RANGE[1]
            ));
        }
        match (&self.kept, self.with_text_logits) {
            (Some(path), _) => notes.push(format!(
                "kept: {}; evaluations of the run obey it",
                visible(&path.display().to_string())
            )),
            (None, true) => notes.push(
                "not kept: these logits say nothing of new images\nhint: --toward-text HEAD.safetensors, the class texts that they are of, can be kept".to_owned(),
            ),
            (None, false) => notes.push("not kept".to_owned()),
        }
        notes
    }

    /// The most frequent classes, by the estimate.
    fn estimate_said(&self, found: &Estimate) -> String {
        let mut order: Vec<usize> = (0..found.shares.len()).collect();
        order.sort_by(|&a, &b| found.shares[b].total_cmp(&found.shares[a]).then(a.cmp(&b)));
        let said = order.iter().take(MOST_NAMED).map(|&class| {
            let [low, high] = found.intervals[class];
            format!(
                "{} {:.1} % ({:.1} to {:.1})",
                visible(&self.class_names[class]),
                100.0 * found.shares[class],
                100.0 * low,
                100.0 * high
            )
        });
        let said: Vec<String> = said.collect();
        let end = if found.settled {
            format!("after {}", counted(found.rounds as u64, "round"))
        } else {
            format!(
                "not settled after {}",
                counted(found.rounds as u64, "round")
            )
        };
        format!(
            "frequencies of {}, {end}, 95 % intervals; the largest: {}",
            counted(found.images, "image"),
            said.join(", ")
        )
    }

    /// The curve as a chart.
    pub fn figure(&self) -> Figure {
        type Figures = fn(&Point) -> Option<f64>;
        let of = |value: Figures| {
            let points = self.curve.iter();
            points
                .filter_map(|point| Some((point.tau, 100.0 * value(point)?)))
                .collect::<Vec<_>>()
        };
        let lines: [(&str, Colour, Figures); 5] = [
            ("many", Colour::Blue, |p| p.many),
            ("medium", Colour::Green, |p| p.medium),
            ("few", Colour::Vermillion, |p| p.few),
            ("mean class", Colour::Ink, |p| p.mean_class),
            ("expected", Colour::Purple, |p| p.expected),
        ];
        let series = lines
            .into_iter()
            .filter(|(name, ..)| *name != "expected" || self.prior.kind != "uniform")
            .map(|(name, colour, value)| (name, colour, of(value)))
            .filter(|(.., points)| !points.is_empty())
            .map(|(name, colour, points)| {
                let mark = match name {
                    "mean class" => Mark::Dashed(points),
                    _ => Mark::Line(points),
                };
                Series::new(name, colour, mark)
            });
        let chosen = &self.curve[self.chosen];
        let plot = Plot::new(
            Axis::linear("strength of the shift, tau"),
            Axis::linear("accuracy, %"),
            series.collect(),
        );
        Figure {
            title: format!(
                "Head against tail: {} on {}",
                self.about.run, self.about.split
            ),
            description: format!(
                "At tau {} the mean class accuracy is {} %, many {}, medium {}, few {}; as trained {} %, many {}, medium {}, few {}.",
                chosen.tau,
                percent(chosen.mean_class),
                percent(chosen.many),
                percent(chosen.medium),
                percent(chosen.few),
                percent(self.as_trained.mean_class),
                percent(self.as_trained.many),
                percent(self.as_trained.medium),
                percent(self.as_trained.few)
            ),
            caption: format!("Chosen by {}", self.monitor.as_str()),
            plot: plot.rules(vec![Rule::Vertical(chosen.tau, "chosen".into())]),
        }
    }

    /// All of it as a page.
    pub fn page(&self) -> Page {
        let mut headings = vec!["tau", "#overall", "#mean class", "#many", "#medium", "#few"];
        headings.push("#expected");
        let mut table = Table::new("Accuracy at each strength", &headings);
        let mut add = |name: String, point: &Point| {
            let figures = [
                point.overall,
                point.mean_class,
                point.many,
                point.medium,
                point.few,
                point.expected,
            ];
            let cells = figures.map(|figure| Cell::percent(figure, 1));
            let row = std::iter::once(Cell::text(name)).chain(cells);
            table.push(row.collect());
        };
        add("as trained".into(), &self.as_trained);
        for point in &self.curve {
            add(point.tau.to_string(), point);
        }
        let mut calibration = Table::new(
            "Probabilities before and after",
            &[
                "",
                "#temperature",
                "#negative log likelihood",
                "#calibration error",
            ],
        );
        for (name, one) in self.calibrations() {
            calibration.push(vec![
                Cell::text(name),
                Cell::Float(one.temperature, 3),
                Cell::Float(one.negative_log_likelihood, 3),
                Cell::Percent(one.calibration_error, 1),
            ]);
        }
        let chosen = &self.curve[self.chosen];
        let keys = vec![
            KeyFigure::new("tau", Cell::Float(chosen.tau, 2)).note(self.monitor.as_str()),
            KeyFigure::new("mean class", Cell::percent(chosen.mean_class, 1)).note(format!(
                "as trained {} %",
                percent(self.as_trained.mean_class)
            )),
            KeyFigure::new("rare classes", Cell::percent(chosen.few, 1))
                .note(format!("as trained {} %", percent(self.as_trained.few))),
            KeyFigure::new(
                "temperature",
                Cell::Float(self.calibration[2].temperature, 3),
            ),
        ];
        let mut balance = vec![
            Block::KeyFigures(keys),
            Block::Chart(self.figure()),
            Block::Table(table),
        ];
        balance.extend(self.notes().into_iter().map(Block::Text));
        Page {
            title: format!("Adjustment of {}", self.about.run),
            subtitle: self.subject(),
            sections: vec![
                Section {
                    heading: "Head against tail".into(),
                    parts: balance,
                },
                Section {
                    heading: "Calibration".into(),
                    parts: vec![Block::Table(calibration)],
                },
            ],
            footer: format!("lift-train {}", env!("CARGO_PKG_VERSION")),
        }
    }
}

fn percent(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |v| format!("{:.1}", v * 100.0))
}
