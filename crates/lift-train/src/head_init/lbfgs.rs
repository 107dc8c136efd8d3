//! L-BFGS (Nocedal and Wright 2006, algorithm 7.5) for smooth functions of one tensor.
//!
//! The step length is bracketed and bisected until it satisfies Wolfe's weak conditions (Lewis and Overton 2013), which
//! keep the curvature of every remembered pair positive. It knows nothing of what is minimised. Invariant: the value
//! never rises from step to step.

use std::collections::VecDeque;

use tch::Tensor;

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 10;

/// How many tensors like `x` a search has at once, at most: the pairs, and the places, gradients and directions in work.
pub const TENSORS: u64 = 2 * (MEMORY as u64 + 1) + 8;

/// Wolfe's constants: sufficient decrease, and how much of the slope may stay.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Trials for a step length; halving so often passes the precision of a double.
const TRIALS: usize = 60;

/// Where [`minimise`] ended.
#[derive(Debug)]
pub struct Minimum {
    /// The place.
    pub x: Tensor,
    /// The value there.
    pub value: f64,
    /// The largest absolute entry of the gradient there.
    pub gradient: f64,
    /// Steps done.
    pub steps: usize,
}

/// A place that was looked at.
struct Point {
    x: Tensor,
    value: f64,
    gradient: Tensor,
}

/// Walks from `x` downhill on `function`, which gives value and gradient, until no entry of the gradient is above
/// `tolerance`, `max_steps` are done, or rounding hides any further descent.
pub fn minimise(
    x: Tensor,
    mut function: impl FnMut(&Tensor) -> (f64, Tensor),
    tolerance: f64,
    max_steps: usize,
) -> Minimum {
    let (value, gradient) = function(&x);
    let mut at = Point { x, value, gradient };
    let mut pairs: VecDeque<(Tensor, Tensor, f64)> = VecDeque::with_capacity(MEMORY + 1);
    let mut steps = 0;
    while steps < max_steps && largest(&at.gradient) > tolerance {
        let direction = -two_loops(&at.gradient, &pairs);
        // Without memory the gradient says nothing of the scale: start with a step of length one at most.
        let first = if pairs.is_empty() {
            (1.0 / dot(&direction, &direction).sqrt()).min(1.0)
        } else {
            1.0
        };
        let Some(next) = line_search(&at, &direction, first, &mut function) else {
            break;
        };
        let (s, y) = (&next.x - &at.x, &next.gradient - &at.gradient);
        let curvature = dot(&s, &y);
        // Below rounding there is no curvature to be learnt from.
        if curvature > f64::EPSILON * dot(&y, &y) {
            pairs.push_back((s, y, curvature));
            if pairs.len() > MEMORY {
                pairs.pop_front();
            }
        }
        at = next;
        steps += 1;
    }
    Minimum {
        gradient: largest(&at.gradient),
        x: at.x,
        value: at.value,
        steps,
    }
}

/// The inverse Hessian that `pairs` tell, times the gradient.
fn two_loops(gradient: &Tensor, pairs: &VecDeque<(Tensor, Tensor, f64)>) -> Tensor {
    let mut q = gradient.copy();
    let mut factors = Vec::with_capacity(pairs.len());
    for (s, y, curvature) in pairs.iter().rev() {
        let factor = dot(s, &q) / curvature;
        q -= y * factor;
        factors.push(factor);
    }
    if let Some((_, y, curvature)) = pairs.back() {
        q *= curvature / dot(y, y);
    }
    for ((s, y, curvature), factor) in pairs.iter().zip(factors.into_iter().rev()) {
        let other = dot(y, &q) / curvature;
        q += s * (factor - other);
    }
    q
}

/// A point along `direction` that satisfies Wolfe's weak conditions; none where rounding hides it.
fn line_search(
    at: &Point,
    direction: &Tensor,
    first: f64,
    function: &mut impl FnMut(&Tensor) -> (f64, Tensor),
) -> Option<Point> {
    let slope = dot(&at.gradient, direction);
    if slope >= 0.0 {
        return None;
    }
    let (mut low, mut high, mut length) = (0.0, f64::INFINITY, first);
    let mut best = None;
    for _ in 0..TRIALS {
        let x = &at.x + direction * length;
        let (value, gradient) = function(&x);
        // Written so that a value that is no number counts as too long a step.
        let decreases = value <= at.value + DECREASE * length * slope;
        if !decreases {
            high = length;
        } else {
            let flat = dot(&gradient, direction) >= CURVATURE * slope;
            let point = Point { x, value, gradient };
            if flat {
                return Some(point);
            }
            best = Some(point);
            low = length;
        }
        length = if high.is_finite() {
            (low + high) / 2.0
        } else {
            2.0 * low
        };
    }
    best
}

fn dot(a: &Tensor, b: &Tensor) -> f64 {
    (a * b).sum(None).double_value(&[])
}

fn largest(gradient: &Tensor) -> f64 {
    gradient.abs().max().double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rosenbrock's valley, whose minimum is 0 at (1, 1), and its gradient by hand.
    fn rosenbrock(x: &Tensor) -> (f64, Tensor) {
        let (a, b) = (x.double_value(&[0]), x.double_value(&[1]));
        let value = (1.0 - a).powi(2) + 100.0 * (b - a * a).powi(2);
        let gradient = [
            -2.0 * (1.0 - a) - 400.0 * a * (b - a * a),
            200.0 * (b - a * a),
        ];
        (value, Tensor::from_slice(&gradient))
    }

    #[test]
    fn a_bent_valley_is_followed_to_its_end() {
        let start = Tensor::from_slice(&[-1.2f64, 1.0]);
        let end = minimise(start, rosenbrock, 1e-10, 200);
        assert!(end.gradient <= 1e-10 && end.steps < 100, "{end:?}");
        assert!((end.x.double_value(&[0]) - 1.0).abs() < 1e-9);
        assert!((end.x.double_value(&[1]) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn values_fall_step_by_step_and_the_limit_is_kept() {
        let value = |max_steps| {
            let start = Tensor::from_slice(&[-1.2f64, 1.0]);
            let end = minimise(start, rosenbrock, 0.0, max_steps);
            assert!(end.steps <= max_steps);
            end.value
        };
        assert_eq!(value(0), rosenbrock(&Tensor::from_slice(&[-1.2f64, 1.0])).0);
        let values: Vec<f64> = (0..20).map(value).collect();
        assert!(
            values.windows(2).all(|pair| pair[1] <= pair[0]),
            "{values:?}"
        );
    }

    #[test]
    fn a_flat_place_is_left_alone() {
        let start = Tensor::from_slice(&[1.0f64, 1.0]);
        let end = minimise(start, rosenbrock, 1e-10, 10);
        assert_eq!((end.steps, end.value), (0, 0.0));
    }
}
