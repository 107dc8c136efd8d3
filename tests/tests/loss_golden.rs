//! The losses against the authors': values and gradients on the same logits, labels and counts.
//!
//! Tolerances: values 1e-5 relative, gradients 1e-6 absolute; both are fp32 in the reference.

use lift_models::TensorFile;
use lift_tests::{largest_difference, shared};
use lift_train::loss::{Loss, LossKind};
use tch::{Device, Tensor};

#[test]
fn losses_and_gradients_equal_the_authors() {
    let Some(path) = shared("golden/losses.safetensors") else {
        return;
    };
    let golden = TensorFile::read(&path).unwrap().tensors;
    let counts: Vec<i64> = Vec::try_from(&golden["class_counts"]).unwrap();
    let counts: Vec<u64> = counts.into_iter().map(|n| n as u64).collect();
    for (name, kind, tau) in [
        ("la", LossKind::La, 1.0),
        ("la-tau-1.5", LossKind::La, 1.5),
        ("ce", LossKind::Ce, 1.0),
        ("focal", LossKind::Focal, 1.0),
        ("ldam", LossKind::Ldam, 1.0),
        ("cb", LossKind::Cb, 1.0),
        ("grw", LossKind::Grw, 1.0),
        ("bs", LossKind::Bs, 1.0),
        ("lade", LossKind::Lade, 1.0),
    ] {
        let logits = golden["logits"].copy().set_requires_grad(true);
        let loss = Loss::new(kind, &counts, tau, 25.0, Device::Cpu);
        let value = loss.forward(&logits, &golden["labels"]);
        value.backward();
        let theirs = golden[&format!("{name}.value")].double_value(&[]);
        let off = (value.double_value(&[]) - theirs).abs() / theirs.abs();
        let gradient = largest_difference(&logits.grad(), &golden[&format!("{name}.grad")]);
        println!("{name}: value {off:.1e} relative, gradient {gradient:.1e}");
        assert!(off <= 1e-5, "{name}: value off by {off:.2e}");
        assert!(gradient <= 1e-6, "{name}: gradient off by {gradient:.2e}");
    }
}

/// Balanced softmax is LA with tau 1, and all re-weighting is cross entropy where the classes are equally large.
#[test]
fn on_balanced_classes_all_but_margins_and_focal_are_cross_entropy() {
    tch::manual_seed(1);
    let logits = Tensor::randn([8, 5], tch::kind::FLOAT_CPU);
    let labels = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 0, 1, 2]);
    let of = |kind| {
        let loss = Loss::new(kind, &[7; 5], 1.0, 25.0, Device::Cpu);
        loss.forward(&logits, &labels).double_value(&[])
    };
    let plain = of(LossKind::Ce);
    for kind in [LossKind::La, LossKind::Bs, LossKind::Cb, LossKind::Grw] {
        assert!((of(kind) - plain).abs() < 1e-6, "{kind}");
    }
    // The largest margin, 0.5, times the scale is taken from every true logit.
    assert!(of(LossKind::Ldam) > plain);
    assert!(of(LossKind::Focal) < plain);
}
