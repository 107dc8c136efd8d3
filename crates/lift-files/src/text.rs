//! Bytes to text: UTF-8, or UTF-16 of either byte order where its mark says so.
//!
//! It does not guess encodings. Invariant: what comes out has no byte order mark and no zero character, and
//! what cannot be read is named by its line.

use std::io::{Error, ErrorKind, Result};

const MARK: char = '\u{feff}';

/// The text in a file's bytes, without byte order marks.
///
/// # Errors
/// When it is not UTF-8, nor UTF-16 with a mark; the line is named.
pub fn decode(bytes: Vec<u8>) -> Result<String> {
    let text = match bytes.as_slice() {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => String::from_utf8(bytes).map_err(|err| {
            let valid = &err.as_bytes()[..err.utf8_error().valid_up_to()];
            wrong(line_after(valid), "is not UTF-8 text")
        })?,
    };
    if let Some(zero) = text.find('\0') {
        let line = line_after(&text.as_bytes()[..zero]);
        return Err(wrong(line, "has a zero byte, which no text has"));
    }
    Ok(if text.contains(MARK) {
        without_marks(&text)
    } else {
        text
    })
}

/// Editors put a mark in front of a file; where files were joined, it stands in front of a line.
fn without_marks(text: &str) -> String {
    let lines = text.split_inclusive('\n');
    lines.map(|line| line.trim_start_matches(MARK)).collect()
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(pairs.len());
    for decoded in char::decode_utf16(pairs.iter().map(|&pair| unit(pair))) {
        match decoded {
            Ok(char) => text.push(char),
            Err(_) => return Err(wrong(line_after(text.as_bytes()), "is not UTF-16 text")),
        }
    }
    match odd {
        [] => Ok(text),
        _ => Err(wrong(line_after(text.as_bytes()), "is not UTF-16 text")),
    }
}

/// The number of the line, from 1, that goes on after `text`.
fn line_after(text: &[u8]) -> usize {
    1 + text.iter().filter(|&&byte| byte == b'\n').count()
}

fn wrong(line: usize, what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidData,
        format!("line {line} {what}\nhint: save it as UTF-8"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "tench\r\nälgar 🐟\n";

    fn utf16_bytes(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn marks_are_no_part_of_the_text() {
        let marked = format!("{MARK}{TEXT}");
        assert_eq!(decode(TEXT.into()).unwrap(), TEXT);
        assert_eq!(decode(marked.clone().into()).unwrap(), TEXT);
        for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
            assert_eq!(decode(utf16_bytes(&marked, bytes)).unwrap(), TEXT);
        }
        // Two files with marks, joined.
        let joined = format!("{MARK}a\n{MARK}b\n{MARK}");
        assert_eq!(decode(joined.into()).unwrap(), "a\nb\n");
        assert_eq!(decode(vec![0xEF, 0xBB, 0xBF]).unwrap(), "");
        assert_eq!(decode(vec![0xFF, 0xFE]).unwrap(), "");
        assert_eq!(decode(Vec::new()).unwrap(), "");
    }

    #[test]
    fn what_is_no_text_is_named_by_its_line() {
        let says = |bytes: &[u8]| decode(bytes.to_vec()).unwrap_err().to_string();
        let hint = "\nhint: save it as UTF-8";
        assert_eq!(
            says(b"a\r\nb\ncaf\xe9\n"),
            format!("line 3 is not UTF-8 text{hint}")
        );
        let zero = |line| format!("line {line} has a zero byte, which no text has{hint}");
        assert_eq!(says(b"a\nb\0"), zero(2));
        // UTF-16 without a mark, and UTF-32.
        assert_eq!(says(&utf16_bytes("ab\n", u16::to_le_bytes)), zero(1));
        assert_eq!(says(b"\xff\xfe\0\0a\0\0\0"), zero(1));
        // Half of a pair of surrogates, and half of a unit.
        for end in [&b"\x3d\xd8\n\0"[..], b"\x3d\xd8", b"x"] {
            let mut bytes = utf16_bytes("\u{feff}a\n", u16::to_le_bytes);
            bytes.extend_from_slice(end);
            assert_eq!(says(&bytes), format!("line 2 is not UTF-16 text{hint}"));
        }
    }
}
