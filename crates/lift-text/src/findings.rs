//! Class texts that cannot work, or may not: said in one table before anything is encoded.
//!
//! Two classes whose texts are the same tokens can never be told apart; names that are numbers or WordNet ids, texts that
//! are cut, and words that the vocabulary lacks tell a model little. It encodes nothing with the tower. Invariant: what is
//! found depends on names, prompts and tokenizer alone; rows come by kind, then in label order.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use lift_models::{Encoded, Result, Tokenizer};
use lift_page::escape::visible;
use lift_shards::classes::ClassNames;
use unicode_normalization::UnicodeNormalization;

use crate::prompts::Prompts;

/// Rows of a kind that are shown.
const MOST_SHOWN: usize = 10;

/// Characters of a name or a word that are shown.
const LONGEST_SHOWN: usize = 40;

/// What may be wrong with the texts of a class, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Alike,
    Blank,
    SameName,
    Cut,
    Unknown,
    InBytes,
    WordNet,
    Number,
}

/// One row of the table.
#[derive(Clone, Debug)]
struct Finding {
    kind: Kind,
    labels: Vec<usize>,
    what: String,
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    rows: Vec<Finding>,
    names: Vec<String>,
}

impl Findings {
    /// Looks at the texts of all classes.
    ///
    /// # Errors
    /// When the tokenizer refuses a text.
    pub fn of(
        classes: &ClassNames,
        prompts: &Prompts,
        tokenizer: &Tokenizer,
        context_length: usize,
    ) -> Result<Self> {
        let names = classes.as_slice();
        let mut looks = Vec::with_capacity(names.len());
        for (label, name) in names.iter().enumerate() {
            looks.push(ReadTexts::of(
                label,
                name,
                prompts,
                tokenizer,
                context_length,
            )?);
        }
        let mut rows: Vec<Finding> = Vec::new();
        let mut alike: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        let mut same_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (label, look) in looks.iter().enumerate() {
            alike.entry(look.texts).or_default().push(label);
            same_name
                .entry(folded(&names[label]))
                .or_default()
                .push(label);
            rows.extend(look.findings(label, &names[label]));
        }
        let several = |labels: &Vec<usize>| labels.len() > 1;
        let alike: Vec<Vec<usize>> = alike.into_values().filter(several).collect();
        for labels in same_name.into_values().filter(several) {
            if !alike.contains(&labels) {
                let how = same_name_how(&labels, names).unwrap_or("the same name");
                rows.push(Finding {
                    kind: Kind::SameName,
                    what: format!("{how}; their texts differ"),
                    labels,
                });
            }
        }
        for labels in alike {
            let how = same_name_how(&labels, names).map(str::to_owned);
            let cut = || labels.iter().all(|&label| looks[label].cut.is_some());
            let lost = || labels.iter().any(|&label| !looks[label].unknown.is_empty());
            let what = how.unwrap_or_else(|| match (cut(), lost()) {
                (true, _) => {
                    format!("the same first {context_length} tokens, of which a text is cut to")
                }
                (_, true) => "the same tokens: what is different in them is unknown".into(),
                _ => "the same texts".into(),
            });
            rows.push(Finding {
                kind: Kind::Alike,
                labels,
                what,
            });
        }
        rows.sort_by(|a, b| (a.kind, &a.labels).cmp(&(b.kind, &b.labels)));
        Ok(Self {
            rows,
            names: names.to_vec(),
        })
    }

    /// The first classes whose texts are the same; none where all differ.
    pub fn alike(&self) -> Option<&[usize]> {
        let row = self.rows.iter().find(|row| row.kind == Kind::Alike)?;
        Some(&row.labels)
    }

    /// The first class whose text says nothing.
    pub fn blank(&self) -> Option<usize> {
        let row = self.rows.iter().find(|row| row.kind == Kind::Blank)?;
        row.labels.first().copied()
    }

    /// An aligned table of what was found; nothing where that is nothing.
    pub fn table(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let mut lines = vec![["class", "name", "what"].map(str::to_owned)];
        for of_kind in self.rows.chunk_by(|a, b| a.kind == b.kind) {
            for row in of_kind.iter().take(MOST_SHOWN) {
                lines.push([
                    joined(&row.labels, |label| label.to_string()),
                    joined(&row.labels, |label| shown(&self.names[label])),
                    row.what.clone(),
                ]);
            }
            if of_kind.len() > MOST_SHOWN {
                let more = of_kind.len() - MOST_SHOWN;
                let what = format!("and {more} more like these");
                lines.push([String::new(), String::new(), what]);
            }
        }
        let width = |column: usize| {
            let cells = lines.iter().map(|line| line[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let (class, name) = (width(0), width(1));
        let line = |[a, b, c]: &[String; 3]| format!("  {a:<class$}  {b:<name$}  {c}\n");
        let rows: String = lines.iter().map(line).collect();
        format!("class texts to look at:\n{rows}")
    }
}

/// What is known of the texts of one class.
struct ReadTexts {
    /// A hash of all its tokens, in whatever order its texts stand.
    texts: u64,
    /// Tokens of the longest text, where it is cut.
    cut: Option<usize>,
    unknown: Vec<String>,
    in_bytes: Vec<String>,
    blank: bool,
}

impl ReadTexts {
    fn of(
        label: usize,
        name: &str,
        prompts: &Prompts,
        tokenizer: &Tokenizer,
        context_length: usize,
    ) -> Result<Self> {
        let texts = prompts.texts(label, name);
        // A template's own words are no class's: there the name is looked at, descriptors are looked at whole.
        let (own, of_templates) = match prompts {
            Prompts::Templates { .. } => (vec![name.replace('_', " ")], true),
            Prompts::Descriptors(_) => (texts.clone(), false),
        };
        let mut hashes = Vec::with_capacity(texts.len());
        let mut cut = None;
        for text in &texts {
            let ids = tokenizer.encode(text, usize::MAX)?;
            if ids.len() > context_length {
                cut = cut.max(Some(ids.len()));
            }
            let mut hash = DefaultHasher::new();
            tokenizer.encode(text, context_length)?.hash(&mut hash);
            hashes.push(hash.finish());
        }
        hashes.sort_unstable();
        let mut hash = DefaultHasher::new();
        hashes.hash(&mut hash);
        let looks = own.iter().map(|text| tokenizer.look(text, context_length));
        let looks = looks.collect::<Result<Vec<Encoded>>>()?;
        let blank = if of_templates {
            looks.iter().all(Encoded::is_blank)
        } else {
            looks.iter().any(Encoded::is_blank)
        };
        let words = |of: fn(&Encoded) -> &Vec<String>| {
            let mut words: Vec<String> = looks.iter().flat_map(of).cloned().collect();
            words.sort_unstable();
            words.dedup();
            words
        };
        Ok(Self {
            texts: hash.finish(),
            cut,
            unknown: words(|look| &look.unknown),
            in_bytes: words(|look| &look.in_bytes),
            blank,
        })
    }

    fn findings(&self, label: usize, name: &str) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut add = |kind: Kind, what: String| {
            found.push(Finding {
                kind,
                labels: vec![label],
                what,
            });
        };
        let words = |words: &[String]| {
            let shown: Vec<String> = words.iter().take(3).map(|word| shown(word)).collect();
            let more = if words.len() > 3 { ", ..." } else { "" };
            shown.join(", ") + more
        };
        if self.blank {
            add(Kind::Blank, "no word in it".into());
        }
        if let Some(tokens) = self.cut {
            add(
                Kind::Cut,
                format!("cut: {tokens} tokens, too many for the text tower"),
            );
        }
        if !self.unknown.is_empty() && !self.blank {
            let words = words(&self.unknown);
            add(Kind::Unknown, format!("unknown to the tokenizer: {words}"));
        }
        if !self.in_bytes.is_empty() {
            let words = words(&self.in_bytes);
            add(
                Kind::InBytes,
                format!("known to the tokenizer only as bytes: {words}"),
            );
        }
        let name = name.trim();
        if is_wordnet_id(name) {
            add(
                Kind::WordNet,
                "a WordNet id: give the words that it stands for".into(),
            );
        } else if is_number(name) {
            add(Kind::Number, "a number: give what it stands for".into());
        }
        found
    }
}

/// `n01440764`.
fn is_wordnet_id(name: &str) -> bool {
    let digits = name.strip_prefix(['n', 'N']);
    digits.is_some_and(|digits| digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Digits of any script, with signs and separators between them.
fn is_number(name: &str) -> bool {
    let is_part = |c: char| c.is_numeric() || " _.,+-/#:".contains(c);
    name.chars().all(is_part) && name.chars().any(char::is_numeric)
}

/// A name as prompts may say it: composed, in lower case, underscores and runs of blanks as one blank.
fn folded(name: &str) -> String {
    let plain: String = name
        .nfc()
        .collect::<String>()
        .to_lowercase()
        .replace('_', " ");
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// How the names of these classes are the same, where they are.
fn same_name_how(labels: &[usize], names: &[String]) -> Option<&'static str> {
    let all_same = |key: &dyn Fn(&str) -> String| {
        let mut keys = labels.iter().map(|&label| key(&names[label]));
        let first = keys.next();
        keys.all(|other| Some(other) == first)
    };
    if all_same(&|name| name.to_owned()) {
        Some("the same name")
    } else if all_same(&|name| name.nfc().collect()) {
        Some("the same name in other code points")
    } else if all_same(&folded) {
        Some("the same name but for case, underscores or blanks")
    } else {
        None
    }
}

/// The first of them, and how many there are more.
fn joined(labels: &[usize], text: impl Fn(usize) -> String) -> String {
    let shown: Vec<String> = labels.iter().take(3).map(|&label| text(label)).collect();
    match labels.len() {
        0..=3 => shown.join(", "),
        all => format!("{}, and {} more", shown.join(", "), all - 3),
    }
}

/// In quotes, made harmless, and cut where it is long.
pub(crate) fn shown(text: &str) -> String {
    let text = visible(text);
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("\"{}...\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_wordnet_ids_are_recognised() {
        for name in ["17", "0", "3.5", "-1", "1_000", "#12", "\u{664}\u{662}"] {
            assert!(is_number(name), "{name}");
        }
        for name in ["", "--", "747 jet", "n01440764", "Boeing 747", "B2"] {
            assert!(!is_number(name), "{name}");
        }
        assert!(is_wordnet_id("n01440764") && is_wordnet_id("N02124075"));
        for name in ["n0144076", "n014407640", "x01440764", "n0144076a"] {
            assert!(!is_wordnet_id(name), "{name}");
        }
    }

    #[test]
    fn how_names_are_the_same() {
        let names = [
            "Crane",
            "Crane",
            "crane_",
            "Caf\u{e9}",
            "Cafe\u{301}",
            "heron",
        ];
        let names: Vec<String> = names.map(str::to_owned).to_vec();
        assert_eq!(same_name_how(&[0, 1], &names), Some("the same name"));
        assert_eq!(
            same_name_how(&[0, 1, 2], &names),
            Some("the same name but for case, underscores or blanks")
        );
        assert_eq!(
            same_name_how(&[3, 4], &names),
            Some("the same name in other code points")
        );
        assert_eq!(same_name_how(&[0, 5], &names), None);
    }

    #[test]
    fn long_and_hostile_names_are_shown_short_and_harmless() {
        assert_eq!(shown("a\u{1b}[31m"), "\"a\u{241b}[31m\"");
        assert_eq!(shown(&"x".repeat(50)), format!("\"{}...\"", "x".repeat(40)));
        assert_eq!(
            joined(&[1, 2, 3, 4, 5], |n| n.to_string()),
            "1, 2, 3, and 2 more"
        );
    }
}
