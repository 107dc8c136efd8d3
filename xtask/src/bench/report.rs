//! Rounds become medians, and medians a table and a JSON document.

use serde_json::{Value, json};

use super::peers::OWN;

/// What a contender did in one round of a stage.
#[derive(Debug, Clone, Copy, Default)]
pub struct Round {
    /// Images.
    pub images: f64,
    /// By the clock.
    pub seconds: f64,
    /// On cores.
    pub cpu_seconds: f64,
    /// The most memory of a process.
    pub peak_bytes: Option<f64>,
    /// Images per CPU-second over those of the same work in a plain loop.
    pub of_bare: Option<f64>,
}

/// A line: a contender in a stage.
#[derive(Debug)]
pub struct Line {
    /// The stage's name.
    pub stage: &'static str,
    /// `lift`, or the peer's name.
    pub contender: &'static str,
    /// Its rounds; at least one.
    pub rounds: Vec<Round>,
}

/// Something that was not measured, and why.
#[derive(Debug)]
pub struct Skipped {
    /// The peer, or the stage of a peer.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl Line {
    /// The median over the rounds of images per second by the clock.
    pub fn rate(&self) -> f64 {
        self.median(|round| Some(round.images / round.seconds))
            .unwrap_or(0.0)
    }

    /// The median over the rounds of images per CPU-second.
    pub fn cpu_rate(&self) -> f64 {
        self.median(|round| Some(round.images / round.cpu_seconds))
            .unwrap_or(0.0)
    }

    fn median(&self, value: impl Fn(&Round) -> Option<f64>) -> Option<f64> {
        median(self.rounds.iter().filter_map(value).collect())
    }

    fn peak(&self) -> Option<f64> {
        self.median(|round| round.peak_bytes)
    }

    fn of_bare(&self) -> Option<f64> {
        self.median(|round| round.of_bare)
    }
}

/// The middle value, or the mean of the middle two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len(), values.len() % 2) {
        (0, _) => None,
        (_, 1) => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

/// How many times as many images per CPU-second ours, the program or the package for Python, makes as this contender of the same
/// stage: the median of the ratios of rounds that followed each other.
fn ours_over(ours: &str, lines: &[Line], line: &Line) -> Option<f64> {
    let ours = lines
        .iter()
        .find(|other| other.stage == line.stage && other.contender == ours)?;
    if ours.contender == line.contender {
        return None;
    }
    let rate = |round: &Round| round.images / round.cpu_seconds;
    let pairs = ours.rounds.iter().zip(&line.rounds);
    median(
        pairs
            .map(|(ours, theirs)| rate(ours) / rate(theirs))
            .collect(),
    )
}

/// An aligned table, and below it what is missing.
pub fn table(lines: &[Line], skipped: &[Skipped]) -> String {
    let header = [
        "stage",
        "by",
        "images/s",
        "images/CPU-s",
        "peak MB",
        "of bare",
        "lift is",
        "lift-python is",
    ];
    let mut rows = vec![header.map(str::to_owned)];
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let over =
        |ours, line| or_dash(ours_over(ours, lines, line).map(|ratio| format!("{ratio:.2}x")));
    for line in lines {
        rows.push([
            line.stage.to_owned(),
            line.contender.to_owned(),
            format!("{:.0}", line.rate()),
            format!("{:.0}", line.cpu_rate()),
            or_dash(line.peak().map(|bytes| format!("{:.0}", bytes / 1e6))),
            or_dash(
                line.of_bare()
                    .map(|ratio| format!("{:.1} %", ratio * 100.0)),
            ),
            over("lift", line),
            over(OWN, line),
        ]);
    }
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
            if column < 2 {
                format!("{cell:<width$}")
            } else {
                format!("{cell:>width$}")
            }
        });
        out += cells.collect::<Vec<_>>().join("  ").trim_end();
        out.push('\n');
    }
    for Skipped { what, reason } in skipped {
        out += &format!("skipped: {what}: {reason}\n");
    }
    out
}

/// All of it, for programs.
pub fn document(machine: Value, lines: &[Line], skipped: &[Skipped]) -> Value {
    let results: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "stage": line.stage,
                "by": line.contender,
                "rounds": line.rounds.len(),
                "images_per_second": line.rate(),
                "images_per_cpu_second": line.cpu_rate(),
                "peak_memory_bytes": line.peak(),
                "ratio_to_bare": line.of_bare(),
                "lift_over_this": ours_over("lift", lines, line),
                "lift_python_over_this": ours_over(OWN, lines, line),
            })
        })
        .collect();
    let skipped: Vec<Value> = skipped
        .iter()
        .map(|skipped| json!({ "what": skipped.what, "reason": skipped.reason }))
        .collect();
    json!({
        "format": "lift-xtask-bench/1",
        "machine": machine,
        "results": results,
        "skipped": skipped,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Vec<Line> {
        let round = |images, seconds, cpu_seconds| Round {
            images,
            seconds,
            cpu_seconds,
            peak_bytes: Some(5e6),
            of_bare: None,
        };
        let ours = Round {
            of_bare: Some(0.955),
            ..round(400.0, 1.0, 2.0)
        };
        vec![
            Line {
                stage: "load-raw",
                contender: "lift",
                rounds: vec![ours, round(400.0, 2.0, 4.0)],
            },
            Line {
                stage: "load-raw",
                contender: "mds",
                rounds: vec![round(100.0, 1.0, 1.0), round(100.0, 4.0, 4.0)],
            },
        ]
    }

    #[test]
    fn ratios_are_of_rounds_that_followed_each_other() {
        let lines = lines();
        // 400 / 1 and 400 / 2; 400 / 2 and 400 / 4
        assert_eq!((lines[0].rate(), lines[0].cpu_rate()), (300.0, 150.0));
        // 200 / 100 and 100 / 25
        assert_eq!(ours_over("lift", &lines, &lines[1]), Some(3.0));
        assert_eq!(ours_over("lift", &lines, &lines[0]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }

    #[test]
    fn the_table_aligns_and_says_what_is_missing() {
        let skipped = [Skipped {
            what: "ffcv".into(),
            reason: "no compiler".into(),
        }];
        let expected = "stage     by    images/s  images/CPU-s  peak MB  of bare  lift is  lift-python is\n\
                        load-raw  lift       300           150        5   95.5 %        -               -\n\
                        load-raw  mds         62            62        5        -    3.00x               -\n\
                        skipped: ffcv: no compiler\n";
        assert_eq!(table(&lines(), &skipped), expected);
        let document = document(json!({}), &lines(), &skipped);
        assert_eq!(document["results"][1]["lift_over_this"], 3.0);
        assert_eq!(document["results"][0]["images_per_second"], 300.0);
        assert_eq!(document["skipped"][0]["reason"], "no compiler");
    }
}
