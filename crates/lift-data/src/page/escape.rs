//! Text from outside, made harmless: the only place that escapes.
//!
//! Class and file names may hold markup, line breaks, control characters, and marks that turn the
//! direction of what follows. Invariant: what comes out holds no character that ends a text node or an
//! attribute, and no invisible character that could move or hide its neighbours.

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

/// C1 controls, marks that change direction, line and paragraph separators, invisible tags.
fn is_treacherous(character: char) -> bool {
    matches!(
        character,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
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
