//! The cosine classifier.

use lift_clip::normalize;
use tch::{Kind, Tensor};

/// `scale * <normalize(x), normalize(w)>`, without bias.
#[derive(Debug)]
pub struct CosineClassifier {
    /// One row a class (K, d), fp32.
    pub weight: Tensor,
    /// The factor on the cosines; 25 in the paper.
    pub scale: f64,
}

impl CosineClassifier {
    /// Features (b, d) -> logits (b, K), fp32.
    pub fn forward(&self, features: &Tensor) -> Tensor {
        normalize(&features.to_kind(Kind::Float)).matmul(&normalize(&self.weight).tr()) * self.scale
    }
}
