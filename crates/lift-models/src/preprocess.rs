//! Channel means and standard deviations that a tower was trained with.

use std::path::Path;

use lift_files::Purpose;
use serde::{Deserialize, de::DeserializeOwned};
use tch::{Device, Kind, Tensor};

use crate::{
    error::{Error, Result},
    hub,
};

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

/// `config.json` of timm; others have no `pretrained_cfg`.
#[derive(Deserialize)]
struct TimmConfig {
    pretrained_cfg: Option<PretrainedConfig>,
}

#[derive(Deserialize)]
struct PretrainedConfig {
    mean: Option<[f64; 3]>,
    std: Option<[f64; 3]>,
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

    /// What the `preprocessor_config.json` beside a model says, or timm's `config.json`, or `usual`
    /// ([`usual_normalisation`]) where there is neither.
    ///
    /// [`usual_normalisation`]: crate::VisionTower::usual_normalisation
    ///
    /// # Errors
    /// When the file is there and cannot be read or holds a standard deviation of zero.
    pub fn of_model(model: &Path, usual: Self) -> Result<Self> {
        let model = &hub::find(model)?;
        let folder = if model.is_file() {
            model.parent().unwrap_or(Path::new("."))
        } else {
            model
        };
        let path = folder.join("preprocessor_config.json");
        let (path, mean, std) = if path.is_file() {
            let config: PreprocessorConfig = read(&path)?;
            (path, config.image_mean, config.image_std)
        } else {
            let path = folder.join("config.json");
            if !path.is_file() {
                return Ok(usual);
            }
            match read::<TimmConfig>(&path)?.pretrained_cfg {
                Some(config) => (path, config.mean, config.std),
                None => return Ok(usual),
            }
        };
        let (mean, std) = (mean.unwrap_or(usual.mean), std.unwrap_or(usual.std));
        if std.iter().any(|&s| s <= 0.0) {
            let reason = format!("image_std {std:?} must be above zero");
            return Err(Error::BadConfig { path, reason });
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

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = lift_files::text(path, Purpose::Settings).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|e| Error::BadConfig {
        path: path.into(),
        reason: e.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn constants_come_from_the_processors_file_then_from_timms() {
        let dir = tempfile::tempdir().unwrap();
        let of = || Normalisation::of_model(dir.path(), Normalisation::HALF).unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        assert_eq!(of(), Normalisation::HALF);
        write("config.json", r#"{"model_type": "clip"}"#);
        assert_eq!(of(), Normalisation::HALF);
        write(
            "config.json",
            r#"{"architecture": "vit", "pretrained_cfg": {"mean": [0.1, 0.2, 0.3]}}"#,
        );
        assert_eq!((of().mean, of().std), ([0.1, 0.2, 0.3], [0.5; 3]));
        write("preprocessor_config.json", r#"{"image_std": [1, 2, 3]}"#);
        assert_eq!((of().mean, of().std), ([0.5; 3], [1.0, 2.0, 3.0]));
    }

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
