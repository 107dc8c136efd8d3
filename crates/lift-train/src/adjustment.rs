//! `adjust.toml` of a run: what is added to its logits, and what they are divided by, chosen after training.
//!
//! The adjusted logits are `(z + b) / T`, b one number a class (Menon et al. 2021, arXiv 2007.07314, section 3) and T the
//! temperature (Guo et al. 2017); where class texts are kept beside it, in [`TEXTS`], z has their zero-shot logits in it (Zhu et
//! al. 2023, arXiv 2310.08106). How they are chosen is `lift-train adjust`'s business; here they are kept, read back and
//! applied, to logits of any source. Invariant: what is read belongs to the run's tuned tensors, byte for byte, and has a
//! finite number for each of its classes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use lift_files::Purpose;
use lift_models::TensorFile;
use lift_shards::{Split, atomic};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::{
    config::start::TUNED,
    error::{Error, Result},
    file_hash::of_file,
};

/// Its name in the run's folder.
pub const FILE: &str = "adjust.toml";

/// The class texts whose zero-shot logits are added, a classifier file.
pub const TEXTS: &str = "adjust-texts.safetensors";

const FORMAT: &str = "lift-adjust/1";

/// Whether an evaluation obeys what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjusting {
    /// It does, where there is something.
    AsKept,
    /// It judges the logits as the model gives them.
    LeftOut,
}

/// What is done to a run's logits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adjustment {
    /// `lift-adjust/1`.
    pub format: String,
    /// Version of lift-train that chose it.
    pub tool_version: String,
    /// Hash of the class list.
    pub class_hash: String,
    /// Hash of the run's `tuned.safetensors`.
    pub tuned: String,
    /// What the logits are divided by.
    pub temperature: f64,
    /// What is added to the logit of each class before, in label order; their mean is 0.
    pub bias: Vec<f64>,
    /// Hash of the class texts whose zero-shot logits are added; none: none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub texts: Option<String>,
    /// How it was chosen.
    pub chosen: Chosen,
}

/// How an adjustment was chosen, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chosen {
    /// The split that it was chosen on.
    pub split: Split,
    /// Hash of that split's `manifest.json`.
    pub shards: String,
    /// Images in it.
    pub images: u64,
    /// Ensembling of its logits.
    pub tte: String,
    /// Strength of the shift: `-tau log p` is in the bias, p being the classes' shares in training.
    pub tau: f64,
    /// The class frequencies that it is for.
    pub prior: String,
    /// What was to be large.
    pub monitor: String,
    /// That figure without the adjustment; none where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
    /// That figure with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<f64>,
}

/// In a report: that an adjustment was in force, and which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adjusted {
    /// Strength of the shift.
    pub tau: f64,
    /// The class frequencies that it is for.
    pub prior: String,
    /// What the logits were divided by.
    pub temperature: f64,
    /// The split that it was chosen on.
    pub split: Split,
    /// Whether zero-shot logits were added.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub with_text: bool,
}

impl Adjustment {
    /// An adjustment of the run whose `tuned.safetensors` has this hash; the bias is kept with six decimals and mean 0.
    pub fn new(
        class_hash: String,
        tuned: String,
        (bias, temperature): (&[f64], f64),
        chosen: Chosen,
    ) -> Self {
        let mean = bias.iter().sum::<f64>() / bias.len().max(1) as f64;
        let rounded = |value: f64| (value * 1e6).round() / 1e6;
        Self {
            format: FORMAT.into(),
            tool_version: env!("CARGO_PKG_VERSION").into(),
            class_hash,
            tuned,
            temperature: rounded(temperature),
            // Adding zero makes one zero of two.
            bias: bias.iter().map(|b| rounded(b - mean) + 0.0).collect(),
            texts: None,
            chosen,
        }
    }

    /// The adjustment that a run keeps; none where it keeps none.
    ///
    /// # Errors
    /// When it cannot be read, or is not of the run's tuned tensors.
    pub fn of_run(run: &Path) -> Result<Option<Self>> {
        let path = run.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let bad = |reason: String| Error::BadRun {
            path: path.clone(),
            reason: format!(
                "{reason}\nhint: `lift-train adjust {0}` chooses it anew, `lift-train adjust {0} --reset` removes it",
                run.display()
            ),
        };
        let text = lift_files::text(&path, Purpose::Settings).map_err(|e| bad(e.to_string()))?;
        let found: Self = toml::from_str(&text).map_err(|e| bad(e.to_string()))?;
        if found.format != FORMAT {
            return Err(bad(format!("format {}, expected {FORMAT}", found.format)));
        }
        let tuned = run.join(TUNED);
        if of_file(&tuned)? != found.tuned {
            return Err(bad(format!(
                "it was chosen for another {TUNED} than the run has"
            )));
        }
        if let Some(texts) = &found.texts {
            let path = run.join(TEXTS);
            if !path.is_file() || &of_file(&path)? != texts {
                return Err(bad(format!("{TEXTS} is not what it was chosen with")));
            }
        }
        let classes = TensorFile::read(&tuned)?.metadata;
        let names = classes.get("class_names").map(String::as_str);
        let names: Vec<String> = serde_json::from_str(names.unwrap_or("[]")).unwrap_or_default();
        if names.len() != found.bias.len() || classes.get("class_hash") != Some(&found.class_hash) {
            return Err(bad(format!(
                "it is for {} other classes, the run has {}",
                found.bias.len(),
                names.len()
            )));
        }
        let usable = |value: &f64| value.is_finite() && value.abs() < 1e6;
        if !found.bias.iter().all(usable) || !(1e-6..=1e6).contains(&found.temperature) {
            return Err(bad("a bias or the temperature is no usable number".into()));
        }
        Ok(Some(found))
    }

    /// Keeps it in a run's folder, in place of one that was there, with the classifier file whose texts it adds; its path.
    ///
    /// # Errors
    /// When that file cannot be read, or the folder cannot be written.
    pub fn write(&mut self, run: &Path, texts: Option<&Path>) -> Result<PathBuf> {
        let path = run.join(FILE);
        let kept = run.join(TEXTS);
        self.texts = match texts {
            None => None,
            Some(file) => {
                let bytes = fs::read(file).map_err(Error::io(file))?;
                atomic::write(&kept, &bytes)?;
                Some(of_file(&kept)?)
            }
        };
        let text = toml::to_string(self).expect("an adjustment is plain data");
        atomic::write(&path, text.as_bytes())?;
        if self.texts.is_none() {
            remove_if_there(&kept)?;
        }
        Ok(path)
    }

    /// Removes what a run keeps; whether there was something.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(run: &Path) -> Result<bool> {
        let was_there = remove_if_there(&run.join(FILE))?;
        remove_if_there(&run.join(TEXTS))?;
        Ok(was_there)
    }

    /// Logits (b, K) as the model gives them -> (b, K), fp32, on their device.
    pub fn apply(&self, logits: &Tensor) -> Tensor {
        self.on(logits.device()).apply(logits)
    }

    /// The same on a device, where it stays for all batches.
    pub fn on(&self, device: Device) -> DeviceAdjustment {
        DeviceAdjustment {
            bias: Tensor::from_slice(&self.bias)
                .to_kind(Kind::Float)
                .to_device(device),
            temperature: self.temperature,
        }
    }

    /// In a few words: what it does, and on what it was chosen.
    pub fn said(&self) -> String {
        let chosen = &self.chosen;
        let text = match self.texts {
            None => "",
            Some(_) => "zero-shot logits added, ",
        };
        format!(
            "{text}tau {}, temperature {}, for {} frequencies, chosen on {} by {}",
            chosen.tau, self.temperature, chosen.prior, chosen.split, chosen.monitor
        )
    }

    /// What reports say of it.
    pub fn adjusted(&self) -> Adjusted {
        Adjusted {
            tau: self.chosen.tau,
            prior: self.chosen.prior.clone(),
            temperature: self.temperature,
            split: self.chosen.split,
            with_text: self.texts.is_some(),
        }
    }
}

/// Whether there was something.
fn remove_if_there(path: &Path) -> Result<bool> {
    let is_there = path.exists();
    if is_there {
        fs::remove_file(path).map_err(Error::io(path))?;
    }
    Ok(is_there)
}

/// An adjustment on a device.
#[derive(Debug)]
pub struct DeviceAdjustment {
    bias: Tensor,
    temperature: f64,
}

impl DeviceAdjustment {
    /// Logits (b, K) -> (b, K), fp32.
    pub fn apply(&self, logits: &Tensor) -> Tensor {
        (logits.to_kind(Kind::Float) + &self.bias) / self.temperature
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjustment(tuned: String) -> Adjustment {
        let chosen = Chosen {
            split: Split::Val,
            shards: "00".into(),
            images: 7,
            tte: "plain".into(),
            tau: 0.5,
            prior: "uniform".into(),
            monitor: "mean-class".into(),
            before: Some(0.25),
            after: None,
        };
        Adjustment::new("hash".into(), tuned, (&[1.0, 2.0, 6.0], 2.0), chosen)
    }

    /// A folder with what an adjustment is held against.
    fn run(dir: &Path) -> String {
        let mut file = TensorFile::default();
        let entries = [("class_names", r#"["a","b","c"]"#), ("class_hash", "hash")];
        for (key, value) in entries {
            file.metadata.insert(key.into(), value.into());
        }
        file.write(&dir.join(TUNED)).unwrap();
        of_file(&dir.join(TUNED)).unwrap()
    }

    #[test]
    fn by_hand() {
        let adjustment = adjustment(String::new());
        assert_eq!(adjustment.bias, [-2.0, -1.0, 3.0], "the mean is taken out");
        let logits = Tensor::from_slice2(&[[0.0f32, 1.0, 1.0], [4.0, 4.0, -4.0]]);
        let found = Vec::<f32>::try_from(adjustment.apply(&logits).view([-1])).unwrap();
        assert_eq!(found, [-1.0, 0.0, 2.0, 1.0, 1.5, -0.5]);
    }

    #[test]
    fn class_texts_are_kept_beside_it_and_go_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let run_dir = dir.path().join("run");
        fs::create_dir(&run_dir).unwrap();
        let texts = dir.path().join("head.safetensors");
        fs::write(&texts, "texts").unwrap();
        let mut kept = adjustment(run(&run_dir));
        kept.write(&run_dir, Some(&texts)).unwrap();
        assert!(kept.said().starts_with("zero-shot logits added, tau 0.5"));
        assert_eq!(Adjustment::of_run(&run_dir).unwrap(), Some(kept.clone()));
        // One without texts leaves none behind.
        kept.write(&run_dir, None).unwrap();
        assert!(!run_dir.join(TEXTS).exists());
        kept.write(&run_dir, Some(&texts)).unwrap();
        fs::write(run_dir.join(TEXTS), "others").unwrap();
        let message = Adjustment::of_run(&run_dir).unwrap_err().to_string();
        assert!(message.contains("adjust-texts.safetensors is not what it was chosen with"));
        assert!(Adjustment::remove(&run_dir).unwrap());
        assert!(!run_dir.join(TEXTS).exists());
    }

    #[test]
    fn what_is_kept_is_read_back_and_belongs_to_the_run() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Adjustment::of_run(dir.path()).unwrap(), None);
        let mut kept = adjustment(run(dir.path()));
        let path = kept.write(dir.path(), None).unwrap();
        assert_eq!(Adjustment::of_run(dir.path()).unwrap(), Some(kept.clone()));

        let says = |text: String| {
            fs::write(&path, text).unwrap();
            Adjustment::of_run(dir.path()).unwrap_err().to_string()
        };
        let text = fs::read_to_string(&path).unwrap();
        for (from, to, message) in [
            ("lift-adjust/1", "lift-adjust/2", "expected lift-adjust/1"),
            (kept.tuned.as_str(), "0", "another tuned.safetensors"),
            (
                "3.0]",
                "3.0, 1.0]",
                "it is for 4 other classes, the run has 3",
            ),
            ("\"hash\"", "\"other\"", "other classes"),
            ("3.0]", "nan]", "no usable number"),
            ("temperature = 2.0", "temperature = 0.0", "no usable number"),
            ("bias", "biases", "unknown field"),
        ] {
            let found = says(text.replacen(from, to, 1));
            assert!(found.contains(message), "{from}: {found}");
            assert!(found.contains("--reset` removes it"), "{found}");
        }
        assert!(Adjustment::remove(dir.path()).unwrap());
        assert!(!Adjustment::remove(dir.path()).unwrap());
    }
}
