//! A grid of settings: which runs there are, and what came out of them, over seeds.
//!
//! It starts nothing. Invariant: a sweep file gives the same runs in the same order under the same names, so that a sweep that
//! was stopped goes on where it stood.

use std::path::Path;

use lift_files::Purpose;
use lift_page::terminal::aligned;
use serde::Serialize;
use toml::{Table, Value};

use crate::{
    error::{Error, Result},
    eval::Evaluation,
    report::Report,
};

/// The most runs of a sweep.
const MOST_RUNS: usize = 10_000;

/// A grid of settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Sweep {
    /// The settings that all runs share, a recipe's `[train]` table.
    pub train: Table,
    /// The points of the grid, in the order of the file: the last setting changes first.
    pub points: Vec<Point>,
    /// A run of each point for each.
    pub seeds: Vec<u64>,
}

/// One choice of settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// Such as `lr=0.01,tuner=lora`, which is also the name of its folder.
    pub name: String,
    /// What it sets.
    pub settings: Table,
}

impl Sweep {
    /// Reads a sweep file: a recipe with a table `[sweep]`, in which each setting of `[train]` that varies has a list of
    /// values; `seeds` is a list of seeds.
    ///
    /// # Errors
    /// When it cannot be read, or is no grid.
    pub fn read(path: &Path) -> Result<Self> {
        let text = lift_files::text(path, Purpose::Settings).map_err(Error::io(path))?;
        let bad = |reason: String| Error::Config(format!("{}: {reason}", path.display()));
        let mut file: Table = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
        let mut table = |name: &str| match file.remove(name) {
            Some(Value::Table(table)) => Ok(table),
            Some(_) => Err(bad(format!("`{name}` is no table"))),
            None => Err(bad(format!(
                "there is no table [{name}]\nhint: a sweep has the settings that all runs share in [train], and lists of values in [sweep]"
            ))),
        };
        let (train, mut sweep) = (table("train")?, table("sweep")?);
        let seeds = match sweep.remove("seeds") {
            None => vec![0],
            Some(seeds) => seeds_of(&seeds)
                .ok_or_else(|| bad("`seeds` is no list of whole numbers from 0 on".into()))?,
        };
        let mut points = vec![Table::new()];
        for (setting, values) in sweep {
            let values = match values {
                Value::Array(values) if !values.is_empty() => values,
                _ => return Err(bad(format!("[sweep] {setting}: no list of values"))),
            };
            if setting == "out" || setting == "seed" {
                return Err(bad(format!(
                    "[sweep] {setting} is what a sweep gives each run\nhint: --out names the sweep's folder, `seeds` lists the seeds"
                )));
            }
            let with = |point: &Table, value: &Value| {
                let mut point = point.clone();
                point.insert(setting.clone(), value.clone());
                point
            };
            let all = points
                .iter()
                .flat_map(|point| values.iter().map(|value| with(point, value)));
            points = all.collect();
            if points.len() * seeds.len() > MOST_RUNS {
                return Err(bad(format!("more than {MOST_RUNS} runs")));
            }
        }
        let named = points.into_iter().map(|settings| Point {
            name: name(&settings),
            settings,
        });
        let points: Vec<Point> = named.collect();
        for (i, point) in points.iter().enumerate() {
            if points[..i].iter().any(|other| other.name == point.name) {
                return Err(bad(format!(
                    "two of the runs are called {}\nhint: give values that differ in letters and digits",
                    point.name
                )));
            }
        }
        Ok(Self {
            train,
            points,
            seeds,
        })
    }

    /// The recipe of a run.
    pub fn recipe(&self, point: &Point, seed: u64, out: &Path) -> String {
        let mut train = self.train.clone();
        train.extend(point.settings.clone());
        train.insert("seed".into(), Value::Integer(seed as i64));
        train.insert("out".into(), Value::String(out.display().to_string()));
        let file = Table::from_iter([("train".to_owned(), Value::Table(train))]);
        toml::to_string(&file).expect("a table of settings")
    }
}

/// Seeds as a list of whole numbers.
fn seeds_of(value: &Value) -> Option<Vec<u64>> {
    let list = value.as_array()?;
    let seeds: Option<Vec<u64>> = list
        .iter()
        .map(|seed| seed.as_integer()?.try_into().ok())
        .collect();
    seeds.filter(|seeds| !seeds.is_empty())
}

/// The name of a point, of letters that any file system and shell takes.
fn name(settings: &Table) -> String {
    if settings.is_empty() {
        return "all".into();
    }
    let value = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let parts = settings
        .iter()
        .map(|(setting, v)| format!("{setting}={}", value(v)));
    let name = parts.collect::<Vec<_>>().join(",");
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "=,.-_+".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// What came out of the runs of a point.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// Of the point.
    pub name: String,
    /// Runs that have ended.
    pub runs: usize,
    /// The last evaluation's ensembling; none without an evaluation.
    pub test_time: Option<&'static str>,
    /// Overall, mean class, many, medium, few.
    pub overall: Option<Spread>,
    /// As `overall`.
    pub mean_class: Option<Spread>,
    /// As `overall`.
    pub many: Option<Spread>,
    /// As `overall`.
    pub medium: Option<Spread>,
    /// As `overall`.
    pub few: Option<Spread>,
}

/// A figure over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Its mean, in 0..=1.
    pub mean: f64,
    /// Standard deviation over the seeds (n - 1); none with one.
    pub deviation: Option<f64>,
}

impl Spread {
    /// Of these values; none of no value.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (!values.is_empty()).then(|| Self {
            mean,
            deviation: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()),
        })
    }
}

impl Outcome {
    /// Of the reports of a point's runs.
    pub fn new(name: &str, reports: &[Report]) -> Self {
        let last: Vec<&Evaluation> = reports
            .iter()
            .filter_map(|r| r.evaluations.last())
            .collect();
        let spread = |figure: &dyn Fn(&Evaluation) -> Option<f64>| {
            let values: Vec<f64> = last
                .iter()
                .filter_map(|evaluation| figure(evaluation))
                .collect();
            Spread::of(&values)
        };
        Self {
            name: name.into(),
            runs: reports.len(),
            test_time: last.first().map(|evaluation| evaluation.tte.as_str()),
            overall: spread(&|e| e.metrics.overall),
            mean_class: spread(&|e| e.metrics.mean_class),
            many: spread(&|e| e.metrics.many),
            medium: spread(&|e| e.metrics.medium),
            few: spread(&|e| e.metrics.few),
        }
    }
}

/// A line a point.
pub fn table(outcomes: &[Outcome]) -> String {
    let header = [
        "",
        "runs",
        "test-time",
        "overall",
        "mean class",
        "many",
        "medium",
        "few",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for o in outcomes {
        let figure = |spread: Option<Spread>| match spread {
            None => "-".to_owned(),
            Some(Spread {
                mean,
                deviation: None,
            }) => format!("{:.1}", 100.0 * mean),
            Some(Spread {
                mean,
                deviation: Some(d),
            }) => format!("{:.1} ± {:.1}", 100.0 * mean, 100.0 * d),
        };
        let mut row = vec![
            o.name.clone(),
            o.runs.to_string(),
            o.test_time.unwrap_or("-").to_owned(),
        ];
        row.extend([o.overall, o.mean_class, o.many, o.medium, o.few].map(figure));
        rows.push(row);
    }
    aligned(&rows, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Sweep> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sweep.toml");
        std::fs::write(&path, text).unwrap();
        Sweep::read(&path)
    }

    #[test]
    fn a_grid_is_every_choice_of_every_setting() {
        let sweep = read("[data]\nx = 1\n[train]\nmodel = 'm'\nlr = 1.0\n[sweep]\nseeds = [0, 7]\nlr = [0.01, 0.02]\ntuner = ['lora', 'lora:8,ssf']\n").unwrap();
        let names: Vec<&str> = sweep
            .points
            .iter()
            .map(|point| point.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "lr=0.01,tuner=lora",
                "lr=0.01,tuner=lora-8,ssf",
                "lr=0.02,tuner=lora",
                "lr=0.02,tuner=lora-8,ssf"
            ]
        );
        assert_eq!(sweep.seeds, [0, 7]);
        let recipe: Table =
            toml::from_str(&sweep.recipe(&sweep.points[3], 7, Path::new("o"))).unwrap();
        let wanted: Table = toml::from_str(
            "[train]\nmodel = 'm'\nlr = 0.02\ntuner = 'lora:8,ssf'\nseed = 7\nout = 'o'\n",
        )
        .unwrap();
        assert_eq!(recipe, wanted);
        let alone = read("[train]\n[sweep]\n").unwrap();
        assert_eq!(
            (
                alone.points.len(),
                alone.points[0].name.as_str(),
                alone.seeds.as_slice()
            ),
            (1, "all", &[0][..])
        );
    }

    #[test]
    fn what_is_no_grid_is_refused() {
        for (text, message) in [
            ("[train]\n", "there is no table [sweep]"),
            (
                "[train]\n[sweep]\nlr = 0.1\n",
                "[sweep] lr: no list of values",
            ),
            (
                "[train]\n[sweep]\nlr = []\n",
                "[sweep] lr: no list of values",
            ),
            ("[train]\n[sweep]\nseeds = [-1]\n", "`seeds` is no list"),
            (
                "[train]\n[sweep]\nout = ['x']\n",
                "[sweep] out is what a sweep gives",
            ),
            (
                "[train]\n[sweep]\ntuner = ['a:b', 'a/b']\n",
                "two of the runs are called",
            ),
            ("[train\n", "sweep.toml: "),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn mean_and_deviation_by_hand() {
        let spread = Spread::of(&[0.1, 0.2, 0.6]).unwrap();
        assert!((spread.mean - 0.3).abs() < 1e-12);
        // Squares 0.04 + 0.01 + 0.09 over 2.
        assert!((spread.deviation.unwrap() - 0.07f64.sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of(&[0.5]).unwrap().deviation, None);
        assert_eq!(Spread::of(&[]), None);
    }
}
