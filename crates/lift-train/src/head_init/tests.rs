//! Class means and linear probing against NumPy and scikit-learn (`tests/fixtures/head_init/make.py`).

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    labels: Vec<i64>,
    features: Vec<Vec<f64>>,
    class_means: Vec<Vec<f64>>,
    linear_probe: Vec<Vec<f64>>,
}

fn golden() -> Golden {
    let text = include_str!("../../tests/fixtures/head_init/golden.json");
    serde_json::from_str(text).unwrap()
}

fn largest_difference(ours: &Tensor, theirs: &[Vec<f64>]) -> f64 {
    let theirs = Tensor::from_slice2(theirs);
    assert_eq!(ours.size(), theirs.size());
    (ours - theirs).abs().max().double_value(&[])
}

#[test]
fn class_means_are_of_features_as_they_are() {
    let golden = golden();
    let mut sums = ClassSums::new(5, 6);
    for (features, labels) in golden.features.chunks(7).zip(golden.labels.chunks(7)) {
        sums.add(&Tensor::from_slice2(features), labels);
    }
    assert!(largest_difference(&sums.means(), &golden.class_means) < 1e-8);
    // Features of length one have other means: long images would weigh as much as short ones.
    let mut of_unit = ClassSums::new(5, 6);
    let unit = normalize(&Tensor::from_slice2(&golden.features));
    of_unit.add(&unit, &golden.labels);
    assert!(largest_difference(&of_unit.means(), &golden.class_means) > 0.01);
}

#[test]
fn linear_probing_is_scikit_learns() {
    let golden = golden();
    let exact = Probe {
        tolerance: 1e-9,
        max_steps: 2000,
        ..Probe::default()
    };
    let (features, labels) = (
        Tensor::from_slice2(&golden.features),
        Tensor::from_slice(&golden.labels),
    );
    let probed = exact.fit(&features, &labels, 5);
    let difference = largest_difference(&normalize(&probed.weight), &golden.linear_probe);
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn so_many_images_a_class_are_looked_at() {
    assert_eq!(most(0), usize::MAX);
    assert_eq!(most(100), 100);
    let rows = sample(&rows_by_class(&[0, 0, 0, 1, 0, 1, 2]), most(2), 5);
    assert_eq!(rows.len(), 5);
    let all = sample(&rows_by_class(&[0, 0, 0, 1, 0, 1, 2]), most(0), 5);
    assert_eq!(all.len(), 7);
}
