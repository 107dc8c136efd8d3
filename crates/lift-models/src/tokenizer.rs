//! Text -> token ids, from a model's `tokenizer.json`.
//!
//! The byte-pair encoding itself is Hugging Face's `tokenizers`. Before it, texts are cleaned the way OpenAI's CLIP
//! cleans them (`simple_tokenizer.py`): letters are composed (NFC, as ftfy does), HTML entities are resolved twice,
//! typographic quotes and ligatures become plain letters, blanks are collapsed.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use lift_files::Purpose;
use unicode_normalization::UnicodeNormalization;

use crate::{
    error::{Error, Result},
    hub,
    panics::contained,
};

/// A tokenizer that ends every text with its end token.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    /// What stands for a word that it does not know.
    unknown: Option<u32>,
}

/// What a tokenizer makes of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Start and end token included; where the text was cut it keeps its end token.
    pub ids: Vec<i64>,
    /// How many there were before it was cut.
    pub uncut: usize,
    /// Words that are lost, or stand as the token for what is not known.
    pub unknown: Vec<String>,
    /// Words with a character that the vocabulary has only as its bytes.
    pub in_bytes: Vec<String>,
}

impl Encoded {
    /// Whether nothing stands between start and end token.
    pub fn is_blank(&self) -> bool {
        self.uncut <= 2
    }
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
        let bad = |reason: String| Error::Tokenizer {
            path: path.clone(),
            reason,
        };
        let not_one = |e: &dyn std::fmt::Display| bad(format!("not a tokenizer: {e}"));
        // The library panics where a file contradicts itself.
        let parsed = contained(|| text.parse::<tokenizers::Tokenizer>());
        let parsed = parsed.map_err(|words| not_one(&words))?;
        let mut inner = parsed.map_err(|e| not_one(&e))?;
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| not_one(&e))?;
        let unknown = json["model"]["unk_token"].as_str();
        let unknown = unknown.and_then(|token| inner.token_to_id(token));
        // Published files differ in what they pad and cut to; both are done here.
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| bad(e.to_string()))?;
        Ok(Self {
            inner,
            unknown,
            path,
        })
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
        Ok(cut(&self.encoding(&clean(text))?, context_length))
    }

    /// As [`Tokenizer::encode`], with what was lost on the way.
    ///
    /// # Errors
    /// When the tokenizer refuses the text.
    pub fn look(&self, text: &str, context_length: usize) -> Result<Encoded> {
        let text = clean(text);
        let encoding = self.encoding(&text)?;
        let tokens = encoding.get_special_tokens_mask().iter();
        let tokens = tokens.zip(encoding.get_ids()).zip(encoding.get_offsets());
        // What start and end token stand for is no part of the text.
        let tokens: Vec<(u32, Range<usize>)> = tokens
            .filter(|((special, _), _)| **special == 0)
            .map(|((_, id), (start, end))| (*id, *start..*end))
            .collect();
        let (mut unknown, mut in_bytes) = (Vec::new(), Vec::new());
        let mut from = 0;
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let start = from + text[from..].find(word).unwrap_or(0);
            from = start + word.len();
            match known_as(start, word, &tokens, self.unknown) {
                Known::InTokens => {}
                Known::InBytes => in_bytes.push(word.to_owned()),
                Known::Not => unknown.push(word.to_owned()),
            }
        }
        Ok(Encoded {
            ids: cut(&encoding, context_length),
            uncut: encoding.get_ids().len(),
            unknown,
            in_bytes,
        })
    }

    fn encoding(&self, text: &str) -> Result<tokenizers::Encoding> {
        let bad = |e: &dyn std::fmt::Display| Error::Tokenizer {
            path: self.path.clone(),
            reason: format!("{text:?}: {e}"),
        };
        let encoding = contained(|| self.inner.encode(text, true)).map_err(|words| bad(&words))?;
        encoding.map_err(|e| bad(&e))
    }
}

/// How a vocabulary has a word.
enum Known {
    InTokens,
    InBytes,
    Not,
}

/// How the word that begins at `start` stands in these tokens (id, bytes of the text).
fn known_as(
    start: usize,
    word: &str,
    tokens: &[(u32, Range<usize>)],
    unknown: Option<u32>,
) -> Known {
    let mut known = Known::InTokens;
    for (at, c) in word.char_indices() {
        let (begin, end) = (start + at, start + at + c.len_utf8());
        let of_char = tokens
            .iter()
            .filter(|(_, bytes)| bytes.start < end && bytes.end > begin);
        let (mut count, mut lost) = (0, false);
        for (id, _) in of_char {
            count += 1;
            lost |= Some(*id) == unknown;
        }
        if count == 0 || lost {
            return Known::Not;
        }
        if count > 1 {
            known = Known::InBytes;
        }
    }
    known
}

/// At most so many ids, the last one the end token.
fn cut(encoding: &tokenizers::Encoding, context_length: usize) -> Vec<i64> {
    let mut ids: Vec<i64> = encoding.get_ids().iter().map(|&id| i64::from(id)).collect();
    if let Some(&end) = ids.last().filter(|_| ids.len() > context_length) {
        ids.truncate(context_length);
        ids[context_length - 1] = end;
    }
    ids
}

/// OpenAI's `basic_clean` and `whitespace_clean`; of ftfy's repairs those that texts about classes meet.
fn clean(text: &str) -> String {
    let text = html_escape::decode_html_entities(text);
    let text = html_escape::decode_html_entities(text.as_ref()).into_owned();
    let mut plain = String::with_capacity(text.len());
    for c in text.nfc() {
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
