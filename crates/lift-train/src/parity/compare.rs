//! How far one outcome lies from another, by kinds of numbers, and how far it may.

use lift_models::Precision;
use serde::Serialize;
use tch::{Kind, Tensor};

use super::outcome::Outcome;

/// How far one kind of number lies from the other run at most.
#[derive(Clone, Debug, Serialize)]
pub struct Deviation {
    /// Which numbers.
    pub what: &'static str,
    /// The largest difference.
    pub largest: f64,
    /// Where it is: the step or the tensor.
    pub place: String,
    /// Whether it was divided by the other run's.
    pub relative: bool,
    /// What is allowed; none where the number is only shown.
    pub tolerance: Option<f64>,
}

impl Deviation {
    /// Whether it is allowed; a difference that is no number is not.
    pub fn is_within(&self) -> bool {
        self.tolerance
            .is_none_or(|tolerance| self.largest <= tolerance)
    }
}

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Tolerances {
    /// Of losses, relative.
    losses: f64,
    /// Of logits, absolute.
    logits: f64,
    /// Of a tensor's update: the norm of the difference over the norm of the other's.
    updates: f64,
    /// Of the angle between both: 1 - cosine.
    angles: f64,
    /// Of gradient norms, relative; none: they are shown.
    gradients: Option<f64>,
}

impl Tolerances {
    /// Of fp32 from a reference; losses and logits as the goldens' page has them.
    pub fn of_fp32() -> Self {
        Self {
            losses: 1e-4,
            logits: 1e-3,
            updates: 5e-4,
            angles: 1e-6,
            gradients: Some(1e-3),
        }
    }

    /// Of 16 bits from fp32: bfloat16 keeps 8 of its 24 bits, half 11. About twice what the worst of the 24 golden runs has on a
    /// CPU. None for fp32 itself.
    pub fn of_16_bits(precision: Precision) -> Option<Self> {
        match precision {
            Precision::Fp32 => None,
            Precision::Bf16 => Some(Self {
                losses: 2e-3,
                logits: 0.15,
                updates: 0.2,
                angles: 1e-2,
                gradients: Some(5e-3),
            }),
            Precision::Fp16 => Some(Self {
                losses: 1e-3,
                logits: 3e-2,
                updates: 5e-2,
                angles: 1e-3,
                gradients: Some(2e-3),
            }),
        }
    }
}

/// How far `ours` lies from `theirs`.
pub fn deviations(ours: &Outcome, theirs: &Outcome, allowed: Tolerances) -> Vec<Deviation> {
    let logits = |what: &'static str, ours: &Tensor, theirs: &Tensor| {
        let mut largest = Largest::default();
        largest.add(difference(ours, theirs), String::new);
        largest.deviation(what, false, Some(allowed.logits))
    };
    let of_steps = |what: &'static str, ours: &[f64], theirs: &[f64], tolerance| {
        let mut largest = Largest::default();
        for (step, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
            let relative = (ours - theirs).abs() / theirs.abs().max(f64::MIN_POSITIVE);
            largest.add(relative, || format!("step {step}"));
        }
        largest.deviation(what, true, tolerance)
    };
    let (mut updates, mut angles) = (Largest::default(), Largest::default());
    for (name, end) in &theirs.end {
        let of = |run: &Outcome, end: &Tensor| {
            (end.to_kind(Kind::Double) - run.start[name].to_kind(Kind::Double)).flatten(0, -1)
        };
        let (ours, theirs) = (of(ours, &ours.end[name]), of(theirs, end));
        updates.add(relative_norm(&ours, &theirs), || name.clone());
        angles.add(1.0 - cosine(&ours, &theirs), || name.clone());
    }
    let mut all = vec![
        of_steps("losses", &ours.losses, &theirs.losses, Some(allowed.losses)),
        logits("first logits", &ours.first_logits, &theirs.first_logits),
        logits("eval logits", &ours.eval_logits, &theirs.eval_logits),
        logits(
            "five-crop logits",
            &ours.five_crop_logits,
            &theirs.five_crop_logits,
        ),
        updates.deviation("updates", true, Some(allowed.updates)),
        angles.deviation("updates, angle", false, Some(allowed.angles)),
    ];
    if let (Some(ours), Some(theirs)) = (&ours.gradient_norms, &theirs.gradient_norms) {
        all.push(of_steps("gradient norms", ours, theirs, allowed.gradients));
    }
    all
}

/// The largest difference so far. One that is no number stays the largest.
#[derive(Default)]
struct Largest {
    value: f64,
    place: String,
}

impl Largest {
    fn add(&mut self, value: f64, place: impl FnOnce() -> String) {
        if !self.value.is_nan() && (value.is_nan() || value > self.value) {
            *self = Self {
                value,
                place: place(),
            };
        }
    }

    fn deviation(self, what: &'static str, relative: bool, tolerance: Option<f64>) -> Deviation {
        Deviation {
            what,
            largest: self.value,
            place: self.place,
            relative,
            tolerance,
        }
    }
}

/// The largest absolute difference of two tensors of the same shape; NaN where one has one.
fn difference(ours: &Tensor, theirs: &Tensor) -> f64 {
    if ours.numel() == 0 {
        return 0.0;
    }
    let difference = ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double);
    difference.abs().max().double_value(&[])
}

/// The norm of the difference over that of `theirs`; of what did not move there, infinite if it moved here.
fn relative_norm(ours: &Tensor, theirs: &Tensor) -> f64 {
    let [apart, theirs] = [&(ours - theirs), theirs].map(|t| t.norm().double_value(&[]));
    if apart == 0.0 { 0.0 } else { apart / theirs }
}

/// 1 for two that are zero, 0 where one is.
fn cosine(ours: &Tensor, theirs: &Tensor) -> f64 {
    let norms = [ours, theirs].map(|t| t.norm().double_value(&[]));
    match norms {
        [0.0, 0.0] => 1.0,
        [a, b] if a == 0.0 || b == 0.0 => 0.0,
        [a, b] => ours.dot(theirs).double_value(&[]) / (a * b),
    }
}
