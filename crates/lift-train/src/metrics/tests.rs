use super::*;

fn judged(pairs: &[(u32, u32)]) -> Vec<Prediction> {
    let one = |&(label, predicted): &(u32, u32)| Prediction {
        label,
        predicted,
        confidence: 0.5,
        rank: u32::from(label != predicted) * 9,
    };
    pairs.iter().map(one).collect()
}

fn metrics(pairs: &[(u32, u32)], count: usize, train_counts: Option<&[u64]>) -> Metrics {
    let classes = Classes {
        count,
        train_counts,
        edges: BandEdges::default(),
    };
    Metrics::new(&judged(pairs), classes, 0)
}

fn close(found: Option<f64>, expected: f64) {
    let found = found.unwrap();
    assert!(
        (found - expected).abs() < 1e-12,
        "{found} is not {expected}"
    );
}

#[test]
fn accuracies_by_hand() {
    // Class 0: 3 of 4, class 1: 0 of 2, class 2: 1 of 1, class 3 has no test image.
    let pairs = [(0, 0), (0, 0), (0, 0), (0, 1), (1, 0), (1, 2), (2, 2)];
    let metrics = metrics(&pairs, 4, Some(&[101, 100, 19, 500]));
    assert_eq!(metrics.images, 7);
    close(metrics.overall, 4.0 / 7.0);
    close(metrics.mean_class, (0.75 + 0.0 + 1.0) / 3.0);
    assert_eq!(
        (metrics.many, metrics.medium, metrics.few),
        (Some(0.75), Some(0.0), Some(1.0))
    );
    assert_eq!(metrics.per_class, [Some(0.75), Some(0.0), Some(1.0), None]);
    // sklearn.metrics.f1_score(y, p, average="macro", labels=[0, 1, 2]): 6/8, 0, 2/3.
    close(metrics.macro_f1, (0.75 + 0.0 + 2.0 / 3.0) / 3.0);
    assert_eq!(metrics.worst_class, Some(0.0));
    assert_eq!(
        (metrics.harmonic_mean, metrics.geometric_mean),
        (Some(0.0), Some(0.0))
    );
    assert_eq!(metrics.top5, None, "four classes");
}

#[test]
fn means_of_classes_that_are_all_right_sometimes() {
    // 1/2 and 1/1: harmonic 2 / (2 + 1), geometric sqrt(1/2).
    let metrics = metrics(&[(0, 0), (0, 1), (1, 1)], 6, None);
    close(metrics.harmonic_mean, 2.0 / 3.0);
    close(metrics.geometric_mean, 0.5f64.sqrt());
    assert_eq!(metrics.worst_class, Some(0.5));
    assert_eq!(metrics.top5, Some(2.0 / 3.0));
}

#[test]
fn a_band_without_classes_is_none() {
    let with_counts = metrics(&[(0, 0)], 1, Some(&[50]));
    assert_eq!(
        (with_counts.many, with_counts.medium, with_counts.few),
        (None, Some(1.0), None)
    );
    assert_eq!(with_counts.intervals.few, None);
    assert_eq!(metrics(&[(0, 0)], 1, None).medium, None);
}

#[test]
fn figures_of_no_image_are_none() {
    let nothing = metrics(&[], 6, Some(&[1; 6]));
    let json = serde_json::to_value(&nothing).unwrap();
    for (name, value) in json.as_object().unwrap() {
        match name.as_str() {
            "images" => assert_eq!(value, 0),
            "intervals" => assert!(value.as_object().unwrap().values().all(|v| v.is_null())),
            "per_class" => assert!(value.as_array().unwrap().iter().all(|v| v.is_null())),
            _ => assert!(value.is_null(), "{name} is {value}"),
        }
    }
}

#[test]
fn calibration_error_by_hand() {
    let one = |confidence, right: bool| Prediction {
        label: 0,
        predicted: u32::from(!right),
        confidence,
        rank: 0,
    };
    // Bins (0.6, 0.667] and (0.933, 1]: |1 - 1.28| + |1 - 0.96| over 3 images.
    let judged = [one(0.64, true), one(0.64, false), one(0.96, true)];
    assert!((calibration_error(&judged).unwrap() - (0.28 + 0.04) / 3.0).abs() < 1e-6);
    let certain = [one(1.0, true), one(0.0, false)];
    assert_eq!(calibration_error(&certain), Some(0.0));
}

#[test]
fn intervals_hold_the_accuracy_and_are_as_wide_as_the_binomials() {
    // 400 images, 80 % right: the standard deviation is sqrt(0.8 * 0.2 / 400) = 0.02.
    let pairs: Vec<_> = (0..400).map(|i| (0, u32::from(i % 5 == 0))).collect();
    let metrics = metrics(&pairs, 2, Some(&[500, 500]));
    let [low, high] = metrics.intervals.overall.unwrap();
    assert!((low - (0.8 - 1.96 * 0.02)).abs() < 0.01, "{low}");
    assert!((high - (0.8 + 1.96 * 0.02)).abs() < 0.01, "{high}");
    assert_eq!(metrics.intervals.many, Some([low, high]));
    // One class has images, and is all of the mean.
    assert_eq!(metrics.intervals.mean_class, Some([low, high]));
    let again = Metrics::new(
        &judged(&pairs),
        Classes {
            count: 2,
            train_counts: Some(&[500, 500]),
            edges: BandEdges::default(),
        },
        1,
    );
    assert_ne!(again.intervals, metrics.intervals, "another seed");
}
