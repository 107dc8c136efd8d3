//! The classifier file: one row a class, and the names it was made for.
//!
//! It is the contract between lift-text, which writes it, and lift-train, which starts from it and can make one from
//! images: a safetensors file with `weight` (K, d) and, for two-tower models, `text_embeds` (K, e), both fp32 with rows
//! of length one, and the metadata `format`, `class_names` (a JSON list in label order), `class_hash`, `template`,
//! `model` and `logit_scale`.

use std::path::Path;

use tch::{Kind, Tensor};

use crate::{
    error::{Error, Result},
    finite::not_finite,
    rows::{identical_rows, zero_row},
    tensor_file::TensorFile,
};

const FORMAT: &str = "lift-head/1";

/// What CLIP's pre-training clips the factor at, and ends at (Radford et al. 2021).
const USUAL_LOGIT_SCALE: f64 = 100.0;

/// Initial classifier weights for a list of classes.
#[derive(Debug)]
pub struct Head {
    /// One row a class (K, d), in the space of the class-token feature.
    pub weight: Tensor,
    /// The class texts in the joint space (K, e), for zero-shot classification.
    pub text_embeds: Option<Tensor>,
    /// Names in label order.
    pub class_names: Vec<String>,
    /// Hash of the class list, as the shards' manifest gives it.
    pub class_hash: String,
    /// The prompt, `{}` standing for the name; or how else the rows were made.
    pub template: String,
    /// The model the rows were made with.
    pub model: String,
    /// The model's factor on cosines in the joint space, for zero-shot probabilities; CLIP's usual 100 where the file
    /// does not say.
    pub logit_scale: f64,
}

impl Head {
    /// Writes the file atomically.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut file = TensorFile::default();
        file.tensors
            .insert("weight".into(), self.weight.to_kind(Kind::Float));
        if let Some(embeds) = &self.text_embeds {
            file.tensors
                .insert("text_embeds".into(), embeds.to_kind(Kind::Float));
        }
        let metadata = [
            ("format", FORMAT.to_owned()),
            (
                "class_names",
                serde_json::json!(self.class_names).to_string(),
            ),
            ("class_hash", self.class_hash.clone()),
            ("template", self.template.clone()),
            ("model", self.model.clone()),
            ("logit_scale", self.logit_scale.to_string()),
        ];
        file.metadata
            .extend(metadata.map(|(key, value)| (key.to_owned(), value)));
        file.write(path)
    }

    /// Reads a file that [`Head::write`] wrote.
    ///
    /// # Errors
    /// When it is missing, damaged, no classifier file, its rows and names differ in number, a value is not finite, or a
    /// row is zero.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |reason: String| Error::BadConfig {
            path: path.into(),
            reason,
        };
        let mut file = TensorFile::read(path)?;
        if file.metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(bad(
                "not a classifier file\nhint: make one with `lift-text classifier`".into(),
            ));
        }
        let mut entry = |key: &str| {
            file.metadata
                .remove(key)
                .ok_or_else(|| bad(format!("no {key} in the metadata")))
        };
        let class_names: Vec<String> = serde_json::from_str(&entry("class_names")?)
            .map_err(|e| bad(format!("class_names: {e}")))?;
        let (class_hash, template, model) =
            (entry("class_hash")?, entry("template")?, entry("model")?);
        let logit_scale = match file.metadata.get("logit_scale") {
            None => USUAL_LOGIT_SCALE,
            Some(text) => match text.parse() {
                Ok(scale) if f64::is_finite(scale) => scale,
                _ => return Err(bad(format!("logit_scale is {text:?}, not a number"))),
            },
        };
        let weight = file
            .tensors
            .remove("weight")
            .ok_or_else(|| bad("no tensor named weight".into()))?;
        let text_embeds = file.tensors.remove("text_embeds");
        let weight = weight.to_kind(Kind::Float);
        let text_embeds = text_embeds.map(|t| t.to_kind(Kind::Float));
        for (name, tensor) in [
            ("weight", Some(&weight)),
            ("text_embeds", text_embeds.as_ref()),
        ] {
            let Some(tensor) = tensor else { continue };
            if tensor.dim() != 2 || tensor.size()[0] != class_names.len() as i64 {
                return Err(bad(format!(
                    "{name} has shape {:?} for {} classes",
                    tensor.size(),
                    class_names.len()
                )));
            }
            let again = "hint: make the file again with `lift-text classifier`";
            if let Some(reason) = not_finite(name, tensor) {
                return Err(bad(format!("{reason}\n{again}")));
            }
            if let Some(label) = zero_row(tensor) {
                let class = &class_names[label];
                return Err(bad(format!(
                    "{name}: the row of class {label} ({class:?}) is zero, which has no direction\n{again}"
                )));
            }
        }
        Ok(Self {
            weight,
            text_embeds,
            class_names,
            class_hash,
            template,
            model,
            logit_scale,
        })
    }

    /// Groups of classes that it cannot tell apart, in label order: those of the same row, or of the same class text.
    pub fn identical(&self) -> Vec<Vec<usize>> {
        let mut groups = identical_rows(&self.weight);
        if let Some(texts) = &self.text_embeds {
            let of_texts = identical_rows(texts);
            let known = |group: &Vec<usize>| groups.contains(group);
            let new: Vec<Vec<usize>> = of_texts.into_iter().filter(|g| !known(g)).collect();
            groups.extend(new);
            groups.sort_unstable();
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::kind::FLOAT_CPU;

    #[test]
    fn a_head_is_read_back_and_a_row_too_few_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head.safetensors");
        let mut head = Head {
            weight: Tensor::randn([2, 4], FLOAT_CPU),
            text_embeds: Some(Tensor::randn([2, 3], FLOAT_CPU)),
            class_names: vec!["red star".into(), "a \"quoted\" name".into()],
            class_hash: "abc".into(),
            template: "a photo of a {}.".into(),
            model: "tiny".into(),
            logit_scale: 14.25,
        };
        head.write(&path).unwrap();
        let read = Head::read(&path).unwrap();
        assert_eq!(read.weight, head.weight);
        assert_eq!(read.text_embeds, head.text_embeds);
        assert_eq!(read.class_names, head.class_names);
        assert_eq!(
            (read.class_hash, read.template, read.model),
            ("abc".into(), head.template.clone(), "tiny".into())
        );
        assert_eq!(read.logit_scale, 14.25);

        let mut file = TensorFile::read(&path).unwrap();
        let half = head.weight.to_kind(Kind::Half);
        file.tensors.insert("weight".into(), half);
        file.write(&path).unwrap();
        assert_eq!(Head::read(&path).unwrap().weight.kind(), Kind::Float);

        head.text_embeds = Some(Tensor::full([2, 3], f64::NAN, FLOAT_CPU));
        head.write(&path).unwrap();
        let message = Head::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("head.safetensors: text_embeds holds values that are not finite"),
            "{message}"
        );
        head.text_embeds = None;

        head.weight = Tensor::from_slice2(&[[0.0f32, 1.0], [0.0, 0.0]]);
        head.write(&path).unwrap();
        let message = Head::read(&path).unwrap_err().to_string();
        assert!(
            message.contains("weight: the row of class 1 (\"a \\\"quoted\\\" name\") is zero"),
            "{message}"
        );
        head.weight = Tensor::from_slice2(&[[0.0f32, 1.0], [0.0, 2.0]]);
        head.text_embeds = Some(Tensor::from_slice2(&[[0.0f32, 1.0], [1.0, 0.0]]));
        head.write(&path).unwrap();
        assert_eq!(Head::read(&path).unwrap().identical(), [[0, 1]]);
        head.text_embeds = None;

        head.weight = Tensor::randn([1, 4], FLOAT_CPU);
        head.write(&path).unwrap();
        let message = Head::read(&path).unwrap_err().to_string();
        assert!(
            message.ends_with("weight has shape [1, 4] for 2 classes"),
            "{message}"
        );
    }
}
