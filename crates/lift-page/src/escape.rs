//! Text from outside, made harmless: the only place that escapes.
//!
//! Class and file names may hold markup, line breaks, control characters, and marks that turn the
//! direction of what follows. Invariant: what comes out holds no character that ends a text node or an
//! attribute, none that a terminal obeys, and no invisible one that could move or hide its neighbours.

use std::path::Path;

/// `text` with invisible and direction-changing characters replaced by visible names.
///
/// C0 controls become their control pictures (a line feed: `␊`), others `[U+202E]`.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\0'..='\u{1f}' => {
                out.push(char::from_u32(0x2400 + u32::from(character)).unwrap_or('\u{fffd}'));
            }
            '\u{7f}' => out.push('\u{2421}'),
            _ if is_treacherous(character) => {
                out += &format!("[U+{:04X}]", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out
}

/// A path for a message, [`visible`] on one line.
pub fn path(path: &Path) -> String {
    visible(&path.to_string_lossy())
}

/// As [`visible`], for text whose line feeds are meant.
pub fn lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(visible).collect();
    lines.join("\n")
}

/// A JSON document in which what a terminal would obey is escaped as JSON does it: it stays the same value.
pub fn json(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for character in document.chars() {
        // Outside of strings there is none but the line feed; in them JSON has escaped what is below a blank.
        if character == '\u{7f}' || is_treacherous(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                out += &format!("\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

/// `text` for HTML, between tags or in a quoted attribute.
pub fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in visible(text).chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            _ => out.push(character),
        }
    }
    out
}

/// `text` for Markdown with HTML in it, also in a table's cell.
pub fn markdown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in visible(text).chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' => {
                out.push('\\');
                out.push(character);
            }
            _ => out.push(character),
        }
    }
    out
}

/// C1 controls, marks that change direction, line and paragraph separators, fillers and tags that are not seen.
pub fn is_treacherous(character: char) -> bool {
    matches!(
        character,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'
            | '\u{1160}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markup_and_marks_are_shown_as_they_are() {
        assert_eq!(
            html("<script>alert('1')</script> & \"q\""),
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;q&quot;"
        );
        assert_eq!(visible("a\nb\u{202e}gpj.exe\t"), "a␊b[U+202E]gpj.exe␉");
        // Scripts that need joiners keep them.
        assert_eq!(visible("شمع\u{200c}دان é 🏳️"), "شمع\u{200c}دان é 🏳️");
        assert_eq!(
            markdown("a|b *c* [x](y) <i>"),
            "a\\|b \\*c\\* \\[x\\](y) &lt;i&gt;"
        );
    }

    #[test]
    fn a_terminal_obeys_nothing_and_json_stays_the_same() {
        let name = "\u{1b}]0;x\u{7}\r\u{9b}2J\u{7f}\u{202e}\u{2066}\u{e0041}é猫";
        assert_eq!(
            lines(&format!("{name}\nhint: none")),
            "␛]0;x␇␍[U+009B]2J␡[U+202E][U+2066][U+E0041]é猫\nhint: none"
        );
        let document = serde_json::to_string(&[name]).unwrap();
        let escaped = json(&document);
        assert_eq!(
            escaped,
            r#"["\u001b]0;x\u0007\r\u009b2J\u007f\u202e\u2066\udb40\udc41é猫"]"#
        );
        let back: Vec<String> = serde_json::from_str(&escaped).unwrap();
        assert_eq!(back, [name]);
    }

    proptest! {
        #[test]
        fn nothing_ends_a_text_or_an_attribute(text in any::<String>()) {
            let out = html(&text);
            let harmless = !out.contains(['<', '>', '"', '\'']);
            prop_assert!(harmless);
            prop_assert!(!out.chars().any(|c| c.is_control() || is_treacherous(c)));
            // Nothing is lost: read back, it is the visible text.
            let back = out
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            prop_assert_eq!(back, visible(&text));
        }
    }
}
