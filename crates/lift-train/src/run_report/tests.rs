use std::{env, fs, path::Path};

use lift_models::Precision;
use lift_shards::Split;

use super::*;
use crate::{
    consistency::{BandConsistency, ClassConsistency, Gap},
    fingerprint::Origins,
    model::ParameterCounts,
};

/// Names that would do harm in a page that took them as they are.
const NAMES: [&str; 6] = [
    "<script>alert(1)</script>",
    "quote\"d 'name' &amp;",
    "two\nlines | and `ticks`",
    "right\u{202e}to left",
    "[link](javascript:alert(1))",
    "plain",
];

const COUNTS: [u64; 6] = [500, 200, 60, 20, 10, 5];

/// Four test images of each class; class c is right in the first `4 - c` of them, at least none, else the next class.
fn judged(least_right: usize) -> Vec<Prediction> {
    let one = |(label, image): (usize, usize)| {
        let right = image < 4usize.saturating_sub(label).max(least_right);
        Prediction {
            label: label as u32,
            predicted: if right { label } else { (label + 1) % 6 } as u32,
            confidence: if right { 0.75 } else { 0.5 },
            rank: u32::from(!right),
        }
    };
    let all = (0..6).flat_map(|label| (0..4).map(move |image| (label, image)));
    all.map(one).collect()
}

fn evaluation(judged: &[Prediction], tte: Tte) -> Evaluation {
    let classes = Classes {
        count: 6,
        train_counts: Some(&COUNTS),
        edges: BandEdges::default(),
    };
    Evaluation {
        split: Split::Test,
        tte,
        crops: 1,
        expand: None,
        level: None,
        adjusted: None,
        metrics: Metrics::new(judged, classes, 0),
        seconds: 1.5,
    }
}

fn run(name: &str, judged: &[Prediction]) -> Report {
    Report {
        format: "lift-report/1".into(),
        tool_version: "0".into(),
        name: name.into(),
        dataset: "shapes <b>lt</b>".into(),
        num_classes: 6,
        class_hash: "ab".repeat(32),
        class_names: NAMES.map(str::to_owned).to_vec(),
        train_counts: Some(COUNTS.to_vec()),
        bands: None,
        model: "somewhere/clip".into(),
        template: "a photo of a {}.".into(),
        precision: Precision::Fp32,
        device: "cpu".into(),
        parameters: Some(ParameterCounts {
            modules: 10,
            classifier: 60,
            frozen: 1000,
        }),
        selection: None,
        training: Some(Training {
            images: 795,
            steps: 20,
            last_epoch_loss: Some(0.5),
            seconds: 12.0,
            images_per_second: 132.5,
            data_wait_share: 0.25,
            peak_memory_bytes: Some(123_456_789),
            peak_device_bytes: None,
        }),
        config: None,
        evaluations: vec![
            evaluation(judged, Tte::None),
            evaluation(judged, Tte::FiveCrop),
        ],
    }
}

fn gap(distance: f64) -> Gap {
    Gap {
        train_mean: 0.25,
        test_mean: 0.25 + distance,
        distance,
        by_chance: 0.0625,
        train_quantiles: [0.0, 0.125, 0.25, 0.375, 0.5],
        test_quantiles: [0.125, 0.25, 0.375, 0.5, 0.625],
    }
}

fn consistency() -> Consistency {
    let class = |label: usize| ClassConsistency {
        label: label as u32,
        class: NAMES[label].into(),
        train_count: COUNTS[label],
        images: [5, 4],
        before: Some(gap(0.0625)),
        after: Some(gap(0.125 * label as f64)),
    };
    let band = |band, classes, after| BandConsistency {
        band,
        classes,
        before: gap(0.0625),
        after: gap(after),
    };
    Consistency {
        format: "lift-consistency/1".into(),
        tuned: "0123456789abcdef".into(),
        images_per_class: 5,
        seed: 0,
        measure: "made up".into(),
        images: [30, 24],
        bands: vec![
            band(Band::Many, 2, 0.0625),
            band(Band::Medium, 2, 0.3125),
            band(Band::Few, 2, 0.5625),
        ],
        classes: (0..6).map(class).collect(),
    }
}

/// A run with everything in it, compared with another.
fn report() -> RunReport {
    let (before, after) = (judged(0), judged(2));
    let log: Vec<CurvePoint> = (1..=2)
        .map(|i| CurvePoint {
            step: 10 * i,
            epoch: i - 1,
            loss: 2.0 / i as f64,
            lr: 0.02 / i as f64,
            images_per_second: 130.0 + i as f64,
            data_wait_share: 0.25,
            train_accuracy: None,
            train_many: None,
            train_medium: None,
            train_few: None,
        })
        .collect();
    let recorded = Recorded {
        before: Some(&before),
        after: Some(&after),
        log: &log,
        validations: &[],
        consistency: Some(consistency()),
        provenance: Some(Provenance {
            tool_version: "0".into(),
            command: ["lift-train", "--out", "a b</pre><script>"]
                .map(str::to_owned)
                .to_vec(),
            origins: Origins {
                shards: "00000000000000aa".into(),
                head: Some("00000000000000bb".into()),
                model: "00000000000000cc".into(),
                ..Origins::default()
            },
            changes: Vec::new(),
        }),
        settings: Some("lr = 0.02\nout = \"</pre><script>```\"\n".into()),
        compared: &[run("other\"><img src=x onerror=alert(1)>", &before)],
        slices: None,
        bands: None,
        missing: vec!["nothing <i>much</i>".into()],
    };
    RunReport::of(&run("first", &after), recorded).unwrap()
}

/// Compares with a file in `tests/golden`; with LIFT_UPDATE_GOLDEN set it is written instead.
fn assert_golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if env::var_os("LIFT_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, found).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    let differing = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
    assert!(
        found == expected,
        "{name}: the first difference is {differing:?}"
    );
}

#[test]
fn json_and_markdown_are_as_they_were() {
    let report = report();
    assert_golden(
        "run-report.json",
        &(serde_json::to_string_pretty(&report).unwrap() + "\n"),
    );
    assert_golden(
        "run-report.md",
        &page::page(&report, page::Shown::default()).markdown(100),
    );
    assert_golden("run-report.txt", &summary(&report));
}

#[test]
fn figures_are_those_of_the_predictions() {
    let report = report();
    // Before: 4, 3, 2, 1, 0, 0 of 4 right; after: 4, 3, 2, 2, 2, 2.
    let after: Vec<f64> = report
        .per_class
        .iter()
        .map(|line| line.after.unwrap())
        .collect();
    assert_eq!(after, [1.0, 0.75, 0.5, 0.5, 0.5, 0.5]);
    let before: Vec<f64> = report
        .per_class
        .iter()
        .map(|line| line.before.unwrap())
        .collect();
    assert_eq!(before, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
    let overall: Vec<f64> = report
        .accuracy
        .iter()
        .map(|line| line.overall.unwrap().value)
        .collect();
    assert_eq!(overall, [10.0 / 24.0, 15.0 / 24.0, 15.0 / 24.0]);
    let few: Vec<f64> = report
        .accuracy
        .iter()
        .map(|line| line.few.unwrap().value)
        .collect();
    assert_eq!(few, [0.0, 0.5, 0.5]);
    for line in &report.accuracy {
        for figure in line.figures().into_iter().flatten() {
            let [low, high] = figure.interval.unwrap();
            assert!(low <= figure.value && figure.value <= high, "{line:?}");
        }
    }
    let first = &report.confused[0];
    assert_eq!(
        (first.label, first.predicted, first.images, first.of),
        (2, 3, 2, 4)
    );
    assert_eq!(report.confused.len(), 5);
    assert_eq!(report.per_class[5].taken_for, Some((NAMES[0].into(), 2)));
    assert_eq!(report.per_class[0].taken_for, None);
    // 15 of 24 are right with confidence 0.75, the others are not with 0.5.
    let bins = report.calibration.after.as_ref().unwrap();
    assert_eq!((bins[11].images, bins[11].accuracy), (15, Some(1.0)));
    assert_eq!((bins[7].images, bins[7].accuracy), (9, Some(0.0)));
    let error = report.accuracy[1].calibration_error.unwrap();
    assert!((error - (15.0 * 0.25 + 9.0 * 0.5) / 24.0).abs() < 1e-12);
    assert_eq!(report.parameters.as_ref().unwrap().module_share, 0.01);
    let points: Vec<(u64, bool)> = report
        .frequency
        .iter()
        .map(|s| (s.train_count, s.before < s.after))
        .collect();
    assert_eq!((points[0], points.len()), ((5, true), 6));
    assert_eq!(
        report.reproduce.command.as_deref(),
        Some("lift-train --out 'a b</pre><script>'")
    );
    assert_eq!(report.compared[1].per_class[3], Some(0.25));
}

#[test]
fn names_do_no_harm() {
    let report = report();
    let html = page::page(&report, page::Shown::default()).html();
    for harm in [
        "<script>alert",
        "<img src=x",
        "<b>lt</b>",
        "<i>much</i>",
        "</pre><script>",
        "\u{202e}",
        "href=\"javascript",
    ] {
        assert!(!html.contains(harm), "{harm:?} stands in the page");
    }
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    let markdown = page::page(&report, page::Shown::default()).markdown(100);
    // Command and settings stand between fences, which they cannot close.
    assert_eq!(markdown.matches("```").count(), 4);
    let outside: String = markdown.split("```").step_by(2).collect();
    for harm in ["<script>", "<img", "\u{202e}", "\nlines", "[link]("] {
        assert!(!outside.contains(harm), "{harm:?} stands in the Markdown");
    }
    let text = summary(&report);
    assert!(
        !text.contains('\u{202e}') && !text.contains("two\nlines"),
        "{text}"
    );
}

#[test]
fn a_page_of_many_classes_stays_below_two_megabytes() {
    let count = 8142;
    let names: Vec<String> = (0..count)
        .map(|i| format!("Genusnomen speciesnomen {i}"))
        .collect();
    let judged: Vec<Prediction> = (0..3 * count)
        .map(|i| Prediction {
            label: (i / 3) as u32,
            predicted: ((i / 3 + i % 2) % count) as u32,
            confidence: 0.5,
            rank: 0,
        })
        .collect();
    let train_counts: Vec<u64> = (0..count as u64).map(|i| 2 + i % 999).collect();
    let classes = Classes {
        count,
        train_counts: Some(&train_counts),
        edges: BandEdges::default(),
    };
    let plain = Evaluation {
        metrics: Metrics::new(&judged, classes, 0),
        ..evaluation(&[], Tte::None)
    };
    let large = Report {
        num_classes: count,
        class_names: names,
        train_counts: Some(train_counts.clone()),
        evaluations: vec![plain],
        ..run("large", &[])
    };
    let mut found = consistency();
    let class = found.classes[1].clone();
    found.classes = (0..count as u32)
        .map(|label| ClassConsistency {
            label,
            train_count: train_counts[label as usize],
            ..class.clone()
        })
        .collect();
    let recorded = Recorded {
        before: Some(&judged),
        after: Some(&judged),
        consistency: Some(found),
        compared: &[large.clone(), large.clone()],
        ..Recorded::default()
    };
    let report = RunReport::of(&large, recorded).unwrap();
    let html = page::page(&report, page::Shown::default()).html();
    let bytes = html.len() + page::PICTURE_BYTES;
    assert!(bytes < 2_000_000, "{bytes} bytes");
    assert!(html.contains("8,142 rows"));
    assert!(html.contains("every 9th class"));
}

#[test]
fn other_classes_are_refused_and_missing_parts_are_left_out() {
    let after = judged(2);
    let first = run("first", &after);
    let other = Report {
        class_hash: "cd".repeat(32),
        ..run("other", &after)
    };
    let recorded = Recorded {
        compared: &[other],
        ..Recorded::default()
    };
    let message = RunReport::of(&first, recorded).unwrap_err().to_string();
    assert!(
        message.starts_with("other: its classes are not those of first\nhint: "),
        "{message}"
    );

    let alone = RunReport::of(&first, Recorded::default()).unwrap();
    assert_eq!((alone.accuracy.len(), alone.confused.len()), (2, 0));
    assert_eq!(alone.per_class[0].interval, None);
    let html = page::page(&alone, page::Shown::default()).html();
    for heading in [
        "Calibration",
        "Confused classes",
        "Class-conditional consistency",
        "Compared",
    ] {
        assert!(!html.contains(heading), "{heading}");
    }
    let none = Report {
        evaluations: Vec::new(),
        ..first
    };
    assert!(RunReport::of(&none, Recorded::default()).is_err());
}

#[test]
fn a_page_names_no_folder_of_the_machine_and_takes_its_title_from_whom_it_is_for() {
    let mut report = report();
    report.reproduce.command = Some("lift-train --shards /home/me/secret/shards".into());
    report.reproduce.settings = Some("model = \"/home/me/secret/clip\"\n".into());
    let shown = page::Shown {
        title: Some("Birds <of> 2026".into()),
        day: Some("2026-03-01".into()),
        ..page::Shown::default()
    };
    let html = page::page(&report, shown).html();
    assert!(!html.contains("secret") && html.contains("…/clip") && html.contains("…/shards"));
    assert!(
        html.contains("<h1>Birds &lt;of&gt; 2026</h1>") && html.contains("ended on 2026-03-01")
    );
    assert!(!html.contains("not measured"));
}

#[test]
fn no_interval_is_a_point_and_every_mistake_has_a_cell() {
    let report = report();
    // Class 0 is right in all of four images before and after: resampling sees no spread in it.
    for line in &report.accuracy {
        for figure in line.figures().into_iter().flatten() {
            let [low, high] = figure.interval.unwrap();
            assert!(low < high, "{line:?}");
        }
    }
    let html = page::page(&report, page::Shown::default()).html();
    // Before, no image of the band `few` was right: Wilson of 0 of 8.
    assert!(
        html.contains("<td>0.0–32.4"),
        "0 of 8 is at most z^2 / (8 + z^2) = 32.4 %"
    );
    let matrix = html.split("<svg class=\"matrix").nth(1).unwrap();
    let matrix = matrix.split("</svg>").next().unwrap();
    // Six classes that are right in some images, five of which are taken for the next.
    assert_eq!(matrix.matches("h-32z").count(), 11);
    assert!(matrix.contains("9 of 24 test images were taken for another class"));
}
