//! Channel means and standard deviations that a tower was trained with.

use std::{fs, path::Path};

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};

/// `(x / 255 - mean) / std`, by channel (red, green, blue).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Means of pixels in 0..1.
    pub mean: [f64; 3],
    /// Standard deviations of pixels in 0..1.
    pub std: [f64; 3],
}

#[derive(Deserialize)]
struct PreprocessorConfig {
    image_mean: Option<[f64; 3]>,
    image_std: Option<[f64; 3]>,
}

impl Normalisation {
    /// CLIP's constants (OpenAI `clip.py`).
    pub const CLIP: Self = Self {
        mean: [0.48145466, 0.4578275, 0.40821073],
        std: [0.26862954, 0.26130258, 0.27577711],
    };

    /// One half, as the ViTs of timm's `augreg` family that were trained on ImageNet-21k.
    pub const HALF: Self = Self {
        mean: [0.5; 3],
        std: [0.5; 3],
    };

    /// What the `preprocessor_config.json` beside a model says, or `usual` ([`usual_normalisation`]) where there is none.
    ///
    /// [`usual_normalisation`]: crate::VisionTower::usual_normalisation
    ///
    /// # Errors
    /// When the file is there and cannot be read or holds a standard deviation of zero.
    pub fn of_model(model: &Path, usual: Self) -> Result<Self> {
        let folder = if model.is_file() {
            model.parent().unwrap_or(Path::new("."))
        } else {
            model
        };
        let path = folder.join("preprocessor_config.json");
        if !path.is_file() {
            return Ok(usual);
        }
        let bad = |reason: String| Error::BadConfig {
            path: path.clone(),
            reason,
        };
        let text = fs::read_to_string(&path).map_err(Error::io(&path))?;
        let config: PreprocessorConfig =
            serde_json::from_str(&text).map_err(|e| bad(e.to_string()))?;
        let mean = config.image_mean.unwrap_or(usual.mean);
        let std = config.image_std.unwrap_or(usual.std);
        if std.iter().any(|&s| s <= 0.0) {
            return Err(bad(format!("image_std {std:?} must be above zero")));
        }
        Ok(Self { mean, std })
    }

    /// Pixels (b, h, w, 3) of kind u8 -> normalised images (b, 3, h, w), fp32, on `device`.
    pub fn apply(&self, pixels: &Tensor, device: Device) -> Tensor {
        let row = |values: [f64; 3]| {
            Tensor::from_slice(&values)
                .to_kind(Kind::Float)
                .to_device(device)
                .view([1, 3, 1, 1])
        };
        let images = pixels
            .to_device(device)
            .permute([0, 3, 1, 2])
            .to_kind(Kind::Float);
        (images / 255.0 - row(self.mean)) / row(self.std)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_become_channels_first_and_normalised() {
        let pixels = Tensor::from_slice(&[0u8, 128, 255, 255, 0, 128]).view([1, 1, 2, 3]);
        let images = Normalisation::CLIP.apply(&pixels, Device::Cpu);
        assert_eq!(images.size(), [1, 3, 1, 2]);
        let at = |c: i64, x: i64| images.double_value(&[0, c, 0, x]);
        assert!((at(0, 0) - (0.0 - 0.48145466) / 0.26862954).abs() < 1e-6);
        assert!((at(0, 1) - (1.0 - 0.48145466) / 0.26862954).abs() < 1e-6);
        assert!((at(2, 1) - (128.0 / 255.0 - 0.40821073) / 0.27577711).abs() < 1e-6);
    }
}
