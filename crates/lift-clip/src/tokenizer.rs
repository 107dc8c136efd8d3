//! Text -> token ids, from a model's `tokenizer.json`.
//!
//! The byte-pair encoding itself is Hugging Face's `tokenizers`. Before it, texts are cleaned the way OpenAI's CLIP
//! cleans them (`simple_tokenizer.py`): HTML entities are resolved twice, typographic quotes and ligatures become
//! plain letters, blanks are collapsed.

use std::path::{Path, PathBuf};

use lift_files::Purpose;

use crate::{
    error::{Error, Result},
    hub,
};

/// A tokenizer that ends every text with its end token.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a model folder, or beside a model file.
    ///
    /// # Errors
    /// When the file is missing or is no tokenizer.
    pub fn of_model(model: &Path) -> Result<Self> {
        let model = hub::find(model)?;
        let path = if model.is_file() {
            model.with_file_name("tokenizer.json")
        } else {
            model.join("tokenizer.json")
        };
        if !path.is_file() {
            let hint =
                "put the model's tokenizer.json there (every OpenAI CLIP uses the same one)".into();
            return Err(Error::MissingFile { path, hint });
        }
        let text = lift_files::text(&path, Purpose::Names).map_err(Error::io(&path))?;
        let not_one = |reason: String| Error::Tokenizer {
            path: path.clone(),
            reason: format!("not a tokenizer: {reason}"),
        };
        let mut inner: tokenizers::Tokenizer = text.parse().map_err(|e| not_one(format!("{e}")))?;
        // Published files differ in what they pad and cut to; both are done here.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| Error::Tokenizer {
            path: path.clone(),
            reason: e.to_string(),
        })?;
        Ok(Self { inner, path })
    }

    /// The `tokenizer.json` this was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The ids of a text, start and end token included, at most `context_length` of them: a longer text is
    /// cut and keeps its end token.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn encode(&self, text: &str, context_length: usize) -> Result<Vec<i64>> {
        let encoding = self
            .inner
            .encode(clean(text), true)
            .map_err(|e| Error::Tokenizer {
                path: self.path.clone(),
                reason: format!("{text:?}: {e}"),
            })?;
        let mut ids: Vec<i64> = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
        if let Some(&end) = ids.last().filter(|_| ids.len() > context_length) {
            ids.truncate(context_length);
            ids[context_length - 1] = end;
        }
        Ok(ids)
    }
}

/// OpenAI's `basic_clean` and `whitespace_clean`; of ftfy's repairs those that texts about classes meet.
fn clean(text: &str) -> String {
    let text = html_escape::decode_html_entities(text);
    let text = html_escape::decode_html_entities(text.as_ref()).into_owned();
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' => plain.push('\''),
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' => plain.push('"'),
            '\u{fb00}' => plain.push_str("ff"),
            '\u{fb01}' => plain.push_str("fi"),
            '\u{fb02}' => plain.push_str("fl"),
            '\u{fb03}' => plain.push_str("ffi"),
            '\u{fb04}' => plain.push_str("ffl"),
            other => plain.push(other),
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}
