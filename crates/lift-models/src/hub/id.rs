//! Names of models on the hub: `org/name`, and `@revision` where it is not `main`.
//!
//! The pattern is the hub's own, and strict, so that hardly any path is taken for a name. Invariant: neither the name
//! nor the revision can lead out of the cache's folder when it is made part of a path.

use std::{fmt, path::Path};

/// The branch that is meant where none is named.
const MAIN: &str = "main";

/// The hub's limit on the length of each part of a name.
const LONGEST_PART: usize = 96;

/// A model on the hub, at a branch, a tag, a pull request (`refs/pr/1`) or a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    /// `org/name`.
    pub repo: String,
    /// As typed, or `main`.
    pub revision: String,
}

impl ModelId {
    /// Reads `org/name` or `org/name@revision`; none where the text is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let (repo, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let (org, name) = repo.split_once('/')?;
        let is_file = [".safetensors", ".bin", ".pt", ".pth", ".git"]
            .iter()
            .any(|end| name.ends_with(end));
        let is_id = is_part(org) && is_part(name) && !is_file && is_revision(revision);
        is_id.then(|| Self {
            repo: repo.into(),
            revision: revision.into(),
        })
    }

    /// As [`parse`](Self::parse), from what was given where a path could be.
    pub fn of_path(path: &Path) -> Option<Self> {
        Self::parse(path.to_str()?)
    }

    /// The name without the organisation, which is also what a folder of the model is usually called.
    pub fn name(&self) -> &str {
        self.repo.rsplit('/').next().unwrap_or(&self.repo)
    }

    /// The same model at another revision.
    pub fn at(&self, revision: &str) -> Self {
        Self {
            repo: self.repo.clone(),
            revision: revision.into(),
        }
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            MAIN => f.write_str(&self.repo),
            revision => write!(f, "{}@{revision}", self.repo),
        }
    }
}

/// Whether this is a commit, whose files never change.
pub(super) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// An organisation or a name: letters, digits, `_`, and between them also `-` and `.`, each alone.
fn is_part(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = text.as_bytes();
    let ends_are_words = [bytes.first(), bytes.last()]
        .iter()
        .all(|end| end.is_some_and(|&b| is_word(b)));
    ends_are_words
        && bytes.len() <= LONGEST_PART
        && bytes.iter().all(|&b| is_word(b) || b == b'-' || b == b'.')
        && !text.contains("--")
        && !text.contains("..")
}

/// Names joined by slashes, none of which is empty or begins with a dot.
fn is_revision(text: &str) -> bool {
    let is_name = |name: &str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
        !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_plain)
    };
    text.len() <= 200 && text.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in [
            "openai/clip-vit-base-patch16",
            "timm/vit_base_patch16_224.augreg_in21k",
            "openai/clip-vit-base-patch32@refs/pr/15",
            "a/b@0123456789012345678901234567890123456789",
        ] {
            assert_eq!(ModelId::parse(text).expect(text).to_string(), text);
        }
        let id = ModelId::parse("openai/clip-vit-base-patch16@main").unwrap();
        assert_eq!(id.to_string(), "openai/clip-vit-base-patch16");
        assert_eq!(id.name(), "clip-vit-base-patch16");
        assert_eq!(id.at("v1").to_string(), "openai/clip-vit-base-patch16@v1");
    }

    #[test]
    fn paths_are_no_names() {
        for text in [
            "",
            "clip",
            "/clip",
            "./clip",
            "../clip",
            "clip/",
            "a/b/c",
            "~/clip",
            "models/vit.safetensors",
            "models/pytorch_model.bin",
            "models/vit.pt",
            "models/vit.pth",
            "a/b--c",
            "a/b..c",
            "a/-b",
            "a/b.",
            "a b/c",
            "ä/b",
            "a/b@",
            "a/b@../../c",
            "a/b@x//y",
            "a/b@/x",
            "a/b@x y",
            "a/b@x@y",
        ] {
            assert_eq!(ModelId::parse(text), None, "{text}");
        }
        assert_eq!(ModelId::parse(&format!("a/{}", "b".repeat(97))), None);
    }

    #[test]
    fn only_forty_hex_digits_are_a_commit() {
        assert!(is_commit(&"0a".repeat(20)));
        assert!(!is_commit("main") && !is_commit(&"0a".repeat(32)) && !is_commit(&"0g".repeat(20)));
    }
}
