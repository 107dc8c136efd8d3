//! Git's blob id: how the official lists are pinned.
//!
//! A list that lies in a public repository has this id there, so anyone can look it up. Invariant: an
//! id is 20 bytes; it is SHA-1 over `blob <length>\0` and the bytes, as `git hash-object` prints it.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

/// The id that git gives to a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct GitBlob([u8; 20]);

impl GitBlob {
    /// The id of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut sha = Sha1::new();
        sha.update(format!("blob {}\0", bytes.len()));
        sha.update(bytes);
        Self(sha.finalize().into())
    }
}

impl fmt::Display for GitBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl TryFrom<String> for GitBlob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a git blob id (40 hex digits)");
        if text.len() != 40 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let mut id = [0; 20];
        for (i, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(id))
    }
}

impl From<GitBlob> for String {
    fn from(id: GitBlob) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_git_hash_object() {
        // printf 'hello\n' | git hash-object --stdin; git hash-object /dev/null
        for (bytes, id) in [
            ("hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
            ("", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
        ] {
            assert_eq!(GitBlob::of(bytes.as_bytes()).to_string(), id);
            assert_eq!(
                GitBlob::try_from(id.to_owned()),
                Ok(GitBlob::of(bytes.as_bytes()))
            );
        }
    }

    #[test]
    fn only_forty_hex_digits_are_an_id() {
        for text in [
            "",
            "ce01",
            "ce013625030ba8dba906f756967f9e9ca394464ä",
            &"g".repeat(40),
        ] {
            assert!(GitBlob::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
