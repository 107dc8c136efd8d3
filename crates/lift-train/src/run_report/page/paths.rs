//! Text of a run without the folders of the machine that it ran on: a page is sent to others.
//!
//! Invariant: relative paths, addresses and what is no path stay as they are.

/// Each path from the root in `text`, such as a command or settings, with its last part alone: `…/shards`.
pub fn shortened(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    // What stands before the rest, and the quote that the rest is in.
    let (mut before, mut quote) = (' ', None);
    while let Some(first) = rest.chars().next() {
        let begins = matches!(before, '"' | '\'' | '=' | ',' | '[' | '(') || before.is_whitespace();
        if first == '/' && begins && !rest.starts_with("//") {
            let ends = |c: char| match quote {
                Some(quote) => c == quote || c == '\n',
                None => c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ']' | ')'),
            };
            let (path, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
            let last = path.trim_end_matches('/').rsplit('/').next();
            out += "…/";
            out += last.unwrap_or_default();
            (before, rest) = ('/', after);
            continue;
        }
        quote = match quote {
            Some(open) if first == open || first == '\n' => None,
            None if matches!(first, '"' | '\'') => Some(first),
            open => open,
        };
        out.push(first);
        (before, rest) = (first, &rest[first.len_utf8()..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_from_the_root_are_shortened() {
        for (text, short) in [
            (
                "lift-train --shards /home/me/shards --out runs/a",
                "lift-train --shards …/shards --out runs/a",
            ),
            (
                "shards = \"/home/me/my shards\"\nlr = 0.02",
                "shards = \"…/my shards\"\nlr = 0.02",
            ),
            (
                "--out='/a b/c' --model=/m/clip/",
                "--out='…/c' --model=…/clip",
            ),
            (
                "model = \"openai/clip\" https://x.org/a/b and/or",
                "model = \"openai/clip\" https://x.org/a/b and/or",
            ),
            ("keep = [\"/a/b\", '/é/ü']", "keep = [\"…/b\", '…/ü']"),
            ("/", "…/"),
            ("", ""),
        ] {
            assert_eq!(shortened(text), short, "{text}");
        }
    }
}
