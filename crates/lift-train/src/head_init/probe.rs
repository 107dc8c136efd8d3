//! Linear probing: multinomial logistic regression with balanced class weights and an L2 penalty.
//!
//! The objective is scikit-learn's `LogisticRegression(C, class_weight="balanced")` divided by the number of images:
//! `1/n sum_i s_i CE(W x_i + b, y_i) + |W|^2 / (2 C n)` with `s_i = n / (K n_c)`. The bias is not penalised. Rows are
//! worked on in pieces, so that the logits of all images never exist at once. Sums are doubles.

use tch::{Kind, Tensor};

use super::lbfgs::{Minimum, minimise};

/// Logits of a piece, unless memory is short; 2^24 fp32 values are 64 MiB.
pub const LOGITS_A_PIECE: i64 = 1 << 24;

/// Settings of the regression; scikit-learn's usual ones by default.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Inverse strength of the penalty.
    pub c: f64,
    /// Ends when no entry of the gradient is above this.
    pub tolerance: f64,
    /// Most steps.
    pub max_steps: usize,
    /// Logits of a piece; some five times as many numbers are there at once. It changes rounding alone.
    pub logits_a_piece: i64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            c: 1.0,
            tolerance: 1e-4,
            max_steps: 100,
            logits_a_piece: LOGITS_A_PIECE,
        }
    }
}

/// What a regression found.
#[derive(Debug)]
pub struct Probed {
    /// A row a class (K, d), double.
    pub weight: Tensor,
    /// One a class (K), double.
    pub bias: Tensor,
    /// How the search ended.
    pub minimum: Minimum,
}

impl Probe {
    /// Fits features (n, d) with labels (n) of `classes` classes, on their device. Every class must have an image.
    pub fn fit(&self, features: &Tensor, labels: &Tensor, classes: i64) -> Probed {
        let width = features.size()[1];
        let objective = Objective {
            logits_a_piece: self.logits_a_piece,
            ..Objective::new(features, labels, classes, self.c)
        };
        let start = Tensor::zeros([classes, width + 1], (Kind::Double, features.device()));
        let minimum =
            tch::no_grad(|| minimise(start, |x| objective.at(x), self.tolerance, self.max_steps));
        Probed {
            weight: minimum.x.narrow(1, 0, width).copy(),
            bias: minimum.x.select(1, width).copy(),
            minimum,
        }
    }
}

/// The function that is minimised, of (K, d + 1): weights, then the bias.
struct Objective<'a> {
    features: &'a Tensor,
    labels: &'a Tensor,
    /// `s_i / n` (n), in the features' kind.
    shares: Tensor,
    /// `1 / (C n)`.
    penalty: f64,
    logits_a_piece: i64,
}

impl<'a> Objective<'a> {
    fn new(features: &'a Tensor, labels: &'a Tensor, classes: i64, c: f64) -> Self {
        let counts = labels
            .bincount(None::<&Tensor>, classes)
            .to_kind(Kind::Double);
        let shares = (counts * classes as f64).reciprocal();
        Self {
            features,
            labels,
            shares: shares.index_select(0, labels).to_kind(features.kind()),
            penalty: 1.0 / (c * features.size()[0] as f64),
            logits_a_piece: LOGITS_A_PIECE,
        }
    }

    /// Value and gradient.
    fn at(&self, x: &Tensor) -> (f64, Tensor) {
        let (n, width) = (self.features.size()[0], self.features.size()[1]);
        let weight = x.narrow(1, 0, width);
        let rows = weight.to_kind(self.features.kind());
        let bias = x.select(1, width).to_kind(self.features.kind());
        let mut value = Tensor::zeros([], (Kind::Double, x.device()));
        let gradient = x.zeros_like();
        let piece = (self.logits_a_piece / x.size()[0]).max(1);
        for begin in (0..n).step_by(piece as usize) {
            let length = piece.min(n - begin);
            let features = self.features.narrow(0, begin, length);
            let labels = self.labels.narrow(0, begin, length).unsqueeze(1);
            let shares = self.shares.narrow(0, begin, length).unsqueeze(1);
            let log_p = features
                .linear(&rows, Some(&bias))
                .log_softmax(1, None::<Kind>);
            let own = log_p.gather(1, &labels, false);
            value -= (own * &shares).sum(Kind::Double);
            // The gradient of the logits: s_i / n (p - one-hot).
            let mut delta = log_p.exp() * &shares;
            let _ = delta.scatter_add_(1, &labels, &-&shares);
            let mut of_weight = gradient.narrow(1, 0, width);
            of_weight += delta.tr().matmul(&features).to_kind(Kind::Double);
            let mut of_bias = gradient.select(1, width);
            of_bias += delta.sum_dim_intlist([0i64].as_slice(), false, Kind::Double);
        }
        let mut of_weight = gradient.narrow(1, 0, width);
        of_weight += &weight * self.penalty;
        let square = (&weight * &weight).sum(Kind::Double);
        value += square * (self.penalty / 2.0);
        (value.double_value(&[]), gradient)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 24 points in 3 dimensions, 14, 7 and 3 of three classes, by a formula: `sin(1 + 3 i + 7 j + i j / 2)`, and 0.8
    /// more in the dimension of the class.
    fn problem() -> (Tensor, Tensor) {
        let labels: Vec<i64> = [(0, 14), (1, 7), (2, 3)]
            .into_iter()
            .flat_map(|(label, n)| std::iter::repeat_n(label, n))
            .collect();
        let mut features = Vec::new();
        for (i, &label) in labels.iter().enumerate() {
            for j in 0..3 {
                let (i, own) = (i as f64, label == j);
                let j = j as f64;
                let shift = if own { 0.8 } else { 0.0 };
                features.push((1.0 + 3.0 * i + 7.0 * j + i * j * 0.5).sin() + shift);
            }
        }
        let features = Tensor::from_slice(&features).view([-1, 3]);
        (features, Tensor::from_slice(&labels))
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::<f64>::try_from(tensor.contiguous().view([-1])).unwrap()
    }

    /// scikit-learn 1.9.1: `LogisticRegression(C=1.0, class_weight="balanced",
    /// solver="newton-cholesky", tol=1e-14, max_iter=10000)`, coef_ and intercept_ for [`problem`].
    const COEF: [f64; 9] = [
        0.52352584457,
        -0.316033607188,
        -0.401360955825,
        -0.437562962139,
        0.662609154454,
        -0.230554334772,
        -0.085962882431,
        -0.346575547266,
        0.631915290596,
    ];
    const INTERCEPT: [f64; 3] = [-0.024512891637, 0.049549506318, -0.025036614681];

    #[test]
    fn the_fit_is_scikit_learns() {
        let (features, labels) = problem();
        let exact = Probe {
            tolerance: 1e-11,
            max_steps: 1000,
            ..Probe::default()
        };
        // Values that are rounded to fp32 hide any descent within about the root of their precision, 2.4e-4.
        for (kind, tolerance) in [(Kind::Double, 1e-9), (Kind::Float, 1e-3)] {
            let probed = exact.fit(&features.to_kind(kind), &labels, 3);
            let found = values(&probed.weight)
                .into_iter()
                .chain(values(&probed.bias));
            for (found, wanted) in found.zip(COEF.into_iter().chain(INTERCEPT)) {
                assert!(
                    (found - wanted).abs() < tolerance,
                    "{kind:?} {found} {wanted}"
                );
            }
        }
        // The usual tolerance is near it.
        let usual = Probe::default().fit(&features, &labels, 3);
        assert!(usual.minimum.gradient <= 1e-4 && usual.minimum.steps <= 100);
        for (found, wanted) in values(&usual.weight).into_iter().zip(COEF) {
            assert!((found - wanted).abs() < 0.02, "{found} {wanted}");
        }
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let (features, labels) = problem();
        let objective = Objective::new(&features, &labels, 3, 0.5);
        let x = Tensor::arange(12, (Kind::Double, tch::Device::Cpu))
            .sin()
            .view([3, 4]);
        let (_, gradient) = objective.at(&x);
        let h = 1e-5;
        for (i, found) in values(&gradient).into_iter().enumerate() {
            let moved = |by: f64| {
                let mut flat = values(&x);
                flat[i] += by;
                objective.at(&Tensor::from_slice(&flat).view([3, 4])).0
            };
            let wanted = (moved(h) - moved(-h)) / (2.0 * h);
            assert!((found - wanted).abs() < 1e-8, "{i}: {found} {wanted}");
        }
    }

    #[test]
    fn pieces_of_any_size_give_the_same_fit() {
        let (features, labels) = problem();
        let whole = Probe::default().fit(&features, &labels, 3);
        for logits_a_piece in [1, 7, 30] {
            let probe = Probe {
                logits_a_piece,
                ..Probe::default()
            };
            let pieces = probe.fit(&features, &labels, 3);
            for (a, b) in values(&whole.weight)
                .into_iter()
                .zip(values(&pieces.weight))
            {
                assert!((a - b).abs() < 1e-9, "{logits_a_piece}: {a} {b}");
            }
        }
    }

    #[test]
    fn at_zero_every_class_is_as_likely() {
        let (features, labels) = problem();
        let zero = Tensor::zeros([3, 4], (Kind::Double, tch::Device::Cpu));
        let (value, gradient) = Objective::new(&features, &labels, 3, 1.0).at(&zero);
        // By hand: weights of mean one times log 3, and biases that balanced classes do not pull.
        assert!((value - 3f64.ln()).abs() < 1e-12);
        assert!(
            values(&gradient.select(1, 3))
                .into_iter()
                .all(|g| g.abs() < 1e-12)
        );
    }
}
