//! JSON files that carry their own hash, so that one changed byte anywhere in them is found.
//!
//! The hash is the last member of the object: XXH3-64, in 16 lower-case hex digits, of all that stands
//! before those digits. What follows them is fixed. So every byte is either hashed, or part of the hash,
//! or compared; white space counts too. It finds damage and edits by hand, it is no signature.

use serde::Serialize;
use serde_json::Value;
use twox_hash::XxHash3_64;

const FIELD: &str = "self_xxh3";
const DIGITS: usize = 16;
const END: &[u8] = b"\"\n}\n";

/// `value`, which must serialise as an object with members, as a sealed document.
pub fn seal(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("plain data into memory");
    let members = text.len() - b"\n}".len();
    text.truncate(members);
    text.extend_from_slice(format!(",\n  \"{FIELD}\": \"").as_bytes());
    let hash = hash(&text);
    text.extend_from_slice(hash.as_bytes());
    text.extend_from_slice(END);
    text
}

/// The object that was sealed. `value` is `text` parsed: callers look at it first, because another
/// version of a file may be sealed otherwise.
pub fn unseal(text: &[u8], mut value: Value) -> Result<Value, String> {
    let (hashed, digits) = text
        .strip_suffix(END)
        .and_then(|text| text.split_last_chunk::<DIGITS>())
        .ok_or("it does not end with its own hash")?;
    if hash(hashed).as_bytes() != digits {
        return Err("its own hash differs: it has changed since it was written".to_owned());
    }
    value
        .as_object_mut()
        .and_then(|members| members.remove(FIELD))
        .ok_or_else(|| format!("there is no {FIELD}"))?;
    Ok(value)
}

/// Parses and unseals in one step.
pub fn open(text: &[u8]) -> Result<Value, String> {
    let value = serde_json::from_slice(text).map_err(|err| err.to_string())?;
    unseal(text, value)
}

fn hash(bytes: &[u8]) -> String {
    format!("{:0DIGITS$x}", XxHash3_64::oneshot(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_found() {
        let value = serde_json::json!({"name": "a b", "list": [1, 2.5, null], "text": "ä"});
        let sealed = seal(&value);
        assert_eq!(open(&sealed).unwrap(), value);
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                assert!(open(&damaged).is_err(), "byte {at} bit {bit}");
            }
        }
        for at in 0..sealed.len() {
            assert!(open(&sealed[..at]).is_err(), "cut at {at}");
            let mut longer = sealed.clone();
            longer.insert(at, b' ');
            assert!(open(&longer).is_err(), "a blank at {at}");
        }
    }

    #[test]
    fn the_hash_is_that_of_the_text_before_it() {
        // python: xxhash.xxh3_64_hexdigest(b'{\n  "a": 1,\n  "self_xxh3": "')
        let sealed = String::from_utf8(seal(&serde_json::json!({"a": 1}))).unwrap();
        assert_eq!(
            sealed,
            "{\n  \"a\": 1,\n  \"self_xxh3\": \"a4fd3a99733fa6bb\"\n}\n"
        );
    }
}
