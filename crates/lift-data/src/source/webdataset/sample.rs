//! The files of a tar that share a name become an image with a label.
//!
//! It reads no tar. Invariant: a sample becomes an item when it has one image and one label, is passed over when it has
//! neither an image nor a class, and is an error that says what it holds otherwise.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::wrong;
use crate::error::Result;
use crate::source::labels::Words;
use crate::source::left_out::LeftOut;
use crate::source::{Content, Item};

/// The samples of a split.
#[derive(Default)]
pub(super) struct Index {
    pub(super) items: Vec<Item>,
    pub(super) labels: Words,
    /// Labels that are the text of a `.txt` file, and how many words those have in all.
    texts: usize,
    words_of_texts: usize,
}

impl Index {
    /// Class names recur and are short. Texts that do not and are not are captions.
    pub(super) fn check_texts(&self, tar: &Path) -> Result<()> {
        let (samples, different) = (self.items.len(), self.labels.num_distinct());
        let is_captions = self.texts == samples
            && samples > 1
            && 2 * different > samples
            && self.words_of_texts > 3 * samples;
        if is_captions {
            Err(wrong(
                tar,
                format!(
                    "the .txt files of {samples} samples have {different} different texts, which are captions and no classes"
                ),
                LABEL_HINT,
            ))
        } else {
            Ok(())
        }
    }
}

pub(super) const LABEL_HINT: &str = "the label is a .cls or .txt file or the field `label` of a .json file (--label-column names another)";

/// The files that share a name, as far as they matter.
#[derive(Default)]
pub(super) struct TarSample {
    pub(super) key: String,
    /// The names of all of its files.
    pub(super) names: Vec<String>,
    /// What could be its image, and how well it is named for that.
    pub(super) images: Vec<(ImageName, Image)>,
    /// The label, and from which kind of file.
    pub(super) label: Option<(LabelFile, String)>,
    /// The text of its `.txt` file, until it is known whether that is a label.
    pub(super) text: Option<String>,
    /// What its `.json` file says about a caption.
    pub(super) caption: Option<Caption>,
}

/// How an image's file in a sample is named, the best last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ImageName {
    /// `KEY.input.jpg`
    InParts,
    /// `KEY.x`, which begins as an image.
    Other,
    /// `KEY.jpg`
    Plain,
}

/// What a label stands in, the best last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LabelFile {
    Text,
    Json,
    Class,
}

pub(super) struct Image {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) num_bytes: u64,
}

/// Turns the samples of one tar into items.
pub(super) struct SampleWriter<'a> {
    pub(super) tar: &'a Path,
    pub(super) name: String,
    pub(super) file: Arc<Path>,
    pub(super) seen: HashSet<String>,
    pub(super) index: &'a mut Index,
    pub(super) left_out: &'a mut LeftOut,
}

impl SampleWriter<'_> {
    pub(super) fn finish(&mut self, mut sample: TarSample) -> Result<()> {
        if sample.key.is_empty() {
            return Ok(());
        }
        let key = &sample.key;
        let fail = |reason: String, hint: &str| Err(wrong(self.tar, reason, hint));
        let holds = sample.names.join(", ");
        sample.images.sort_by_key(|(named, _)| *named);
        let best = sample.images.pop();
        let image = match (best, sample.images.last()) {
            (Some((named, image)), Some((other, second))) if named == *other => {
                let reason = format!(
                    "sample `{key}` has two images, {} and {}",
                    second.name, image.name
                );
                return fail(
                    reason,
                    "a sample has one image, best called KEY.jpg, and one label",
                );
            }
            (Some((_, image)), _) => image,
            // What describes the data set, or a download that failed.
            (None, _) if !matches!(sample.label, Some((LabelFile::Class, _))) => {
                for name in &sample.names {
                    self.left_out.pass_over(name);
                }
                return Ok(());
            }
            (None, _) => {
                let hint = "every sample has one image, such as KEY.jpg, beside KEY.cls";
                return fail(
                    format!("sample `{key}` has no image; it holds {holds}"),
                    hint,
                );
            }
        };
        let text = sample.text.filter(|text| match &sample.caption {
            Some(Caption::Field) => false,
            Some(Caption::Texts(texts)) => !texts.contains(text),
            None => true,
        });
        let label = match (sample.label, text) {
            (Some((_, label)), _) if !label.is_empty() => label,
            (None, Some(text)) if !text.is_empty() => {
                self.index.texts += 1;
                self.index.words_of_texts += text.split_whitespace().count();
                text
            }
            _ => {
                let reason = format!("sample `{key}` has no label; it holds {holds}");
                return fail(reason, LABEL_HINT);
            }
        };
        if self.seen.contains(key) {
            let hint = "the files of a sample must follow each other; write the tar sorted by name";
            return fail(format!("sample `{key}` is there twice"), hint);
        }
        self.index.items.push(Item {
            path: format!("{}#{}", self.name, image.name),
            label: 0,
            content: Content::Slice {
                file: Arc::clone(&self.file),
                offset: image.offset,
                num_bytes: image.num_bytes,
            },
        });
        self.index.labels.push(&label);
        self.seen.insert(sample.key);
        Ok(())
    }
}

/// What a sample's JSON file says.
#[derive(Debug, PartialEq)]
pub(super) struct Json {
    pub(super) label: Option<String>,
    pub(super) caption: Option<Caption>,
}

/// How a sample's JSON file says that its `.txt` file is a caption and no class.
#[derive(Debug, PartialEq)]
pub(super) enum Caption {
    /// It has a field for captions, as img2dataset writes it.
    Field,
    /// One of these is that text too.
    Texts(Vec<String>),
}

impl Json {
    /// The label is the text itself when it is a number or a string, or its `field`; `None`
    /// where there is no such field, since such files often hold other things.
    pub(super) fn parse(text: &str, field: &str) -> std::result::Result<Self, String> {
        let json: Value =
            serde_json::from_str(text).map_err(|err| format!("is not JSON: {err}"))?;
        let (value, caption) = match &json {
            Value::Object(fields) => {
                let is_text = |(_, value): (&String, &Value)| {
                    value.as_str().map(|text| text.trim().to_owned())
                };
                let caption = if fields.contains_key("caption") {
                    Caption::Field
                } else {
                    Caption::Texts(fields.iter().filter_map(is_text).collect())
                };
                (fields.get(field), Some(caption))
            }
            other => (Some(other), None),
        };
        let label = match value {
            None => None,
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(Value::String(text)) => Some(text.trim().to_owned()),
            Some(_) => return Err(format!("has a `{field}` that is neither number nor text")),
        };
        Ok(Self { label, caption })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_in_json_is_a_field_or_the_whole() {
        let label = |text, field| Json::parse(text, field).unwrap().label;
        assert_eq!(label(r#"{"label": 3}"#, "label").as_deref(), Some("3"));
        assert_eq!(label(r#"{"c": " cat "}"#, "c").as_deref(), Some("cat"));
        assert_eq!(label("7", "label").as_deref(), Some("7"));
        assert_eq!(label(r#"{"width": 3}"#, "label"), None);
        assert!(Json::parse("{", "label").is_err());
        assert!(Json::parse(r#"{"label": []}"#, "label").is_err());
    }
}
