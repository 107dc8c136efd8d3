//! SQL over frames: the one place that hands a text to the engine.
//!
//! The engine walks what it parsed by recursion, and stops where it meets what it did not expect. Invariant: whatever the
//! text is, the answer is a frame or a reason; nesting is bounded, the stack is large enough for it, and a failure of the
//! engine is a reason too.

use std::thread;

use polars::error::PolarsError;
use polars::prelude::{DataFrame, IntoLazy};
use polars::sql::SQLContext;

/// Longer is nothing that somebody wrote.
const MAX_BYTES: usize = 64 << 10;

/// The most words and signs by which conditions are nested: each may be a level.
const MOST_LEVELS: usize = 200;

/// Of the thread that the engine runs on. It is taken from the system as it is needed.
const STACK: usize = 64 << 20;

/// Characters of what the engine says.
const MOST_SAID: usize = 300;

/// The deepest nesting of parentheses: the parser tries each in several ways.
const DEEPEST: usize = 16;

/// Tables with their names.
pub type Tables = Vec<(String, DataFrame)>;

/// What `sql` answers over the tables.
///
/// # Errors
/// Why it cannot be answered, in the engine's words.
pub fn ask(tables: Tables, sql: &str) -> Result<DataFrame, String> {
    if sql.len() > MAX_BYTES {
        return Err(format!("{} bytes, allowed are {MAX_BYTES}", sql.len()));
    }
    let levels = levels(sql);
    if levels > MOST_LEVELS {
        return Err(format!(
            "{levels} operators and parentheses, allowed are {MOST_LEVELS}; `in (..)` takes any number of values"
        ));
    }
    let first = sql.trim_start().split(|c: char| !c.is_alphabetic()).next();
    if !first.is_some_and(|word| {
        ["select", "with", ""]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(word))
    }) {
        return Err("only questions are answered, which begin with `select` or `with`".to_owned());
    }
    if depth(sql) > DEEPEST {
        return Err(format!("parentheses are nested deeper than {DEEPEST}"));
    }
    let sql = plain_numbers(sql);
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("sql".to_owned())
            .stack_size(STACK);
        let run = || {
            let mut context = SQLContext::new();
            for (name, frame) in tables {
                context.register(&name, frame.lazy());
            }
            context.execute(&sql)?.collect()
        };
        let running = thread.spawn_scoped(scope, run);
        let running = running.map_err(|err| format!("no thread for it: {err}"))?;
        match running.join() {
            Ok(answer) => answer.map_err(|err| said(&err)),
            Err(_) => Err("the SQL engine failed on it".to_owned()),
        }
    })
}

/// The text with numbers such as `1e-3`, which the engine does not read, as decimals; what is quoted stays.
fn plain_numbers(sql: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let mut out = String::with_capacity(sql.len());
    let (mut rest, mut quote) = (sql, None);
    while let Some(first) = rest.chars().next() {
        if matches!(first, '\'' | '"') && quote.is_none_or(|quote| quote == first) {
            quote = quote.xor(Some(first));
        }
        let mut length = first.len_utf8();
        if quote.is_none() && is_word(first) {
            length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            // The sign of the exponent is part of the number.
            let word = &rest[..length];
            let is_cut = first.is_ascii_digit() && word.ends_with(['e', 'E']);
            if is_cut && rest[length..].starts_with(['-', '+']) {
                let digits = &rest[length + 1..];
                let end = digits
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(digits.len());
                length += 1 + end;
            }
            let word = &rest[..length];
            let is_scientific = first.is_ascii_digit() && word.contains(['e', 'E']);
            if let (true, Ok(number)) = (is_scientific, word.parse::<f64>()) {
                out += &number.to_string();
                rest = &rest[length..];
                continue;
            }
        }
        out += &rest[..length];
        rest = &rest[length..];
    }
    out
}

/// How deep parentheses are nested, those in quotes too.
fn depth(sql: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for c in sql.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// How many words and signs of the text may nest what follows.
fn levels(sql: &str) -> usize {
    const WORDS: [&str; 12] = [
        "and", "or", "not", "case", "select", "between", "is", "like", "ilike", "rlike", "regexp",
        "exists",
    ];
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    // What is quoted nests nothing.
    let sql: String = sql
        .split('\'')
        .step_by(2)
        .flat_map(|part| [part, " "])
        .collect();
    let words = sql.split(|c: char| !is_word(c));
    let words = words.filter(|word| WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)));
    let signs = sql.chars().filter(|c| "([:+-*/%=<>!~|&^".contains(*c));
    words.count() + signs.count()
}

/// What the engine says, without the kind of error in front and the plan behind; the columns that there are stand in the
/// hint of whoever asks.
fn said(err: &PolarsError) -> String {
    let text = err.to_string();
    let first = text.lines().next().unwrap_or_default();
    let first = first.split("; valid columns").next().unwrap_or_default();
    // Of some questions the engine shows all that it parsed.
    match first.char_indices().nth(MOST_SAID) {
        Some((end, _)) => format!("{}…", &first[..end]),
        None => first.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::Column;
    use proptest::prelude::*;

    use super::*;

    fn table() -> Tables {
        let columns = vec![
            Column::new("a".into(), [1_i64, 2, 3]),
            Column::new("b".into(), ["x", "y", "z"]),
        ];
        vec![("t".to_owned(), DataFrame::new(3, columns).unwrap())]
    }

    #[test]
    fn the_deepest_that_is_taken_has_an_answer() {
        let deep = |left: &str, right: &str, levels: usize| {
            let condition = format!("{}a > 0{}", left.repeat(levels), right.repeat(levels));
            ask(table(), &format!("select a from t where {condition}"))
        };
        for (left, right, each) in [
            ("(", ")", 1),
            ("not ", "", 1),
            ("a > 0 or ", "", 2),
            ("-", "", 1),
            ("cast(", " as bigint)", 1),
        ] {
            let levels = MOST_LEVELS / each - 4;
            // Parentheses beyond the parser's own bound are an error, and no end of the program.
            let _ = deep(left, right, levels);
            assert!(deep(left, right, 30_000 / left.len()).is_err(), "{left}");
        }
        assert!(ask(table(), &format!("select a{} from t", "::int".repeat(5000))).is_err());
        let paths: Vec<String> = (0..900)
            .map(|n| format!("'2024-05-01/a-{n}.jpg'"))
            .collect();
        let quoted = ask(
            table(),
            &format!("select a from t where b not in ({})", paths.join(",")),
        );
        assert_eq!(quoted.unwrap().height(), 3);
        assert_eq!(deep("a > 0 or ", "", 90).unwrap().height(), 3);
        let values: Vec<String> = (0..5000).map(|value| value.to_string()).collect();
        let many = ask(
            table(),
            &format!("select a from t where a in ({})", values.join(",")),
        );
        assert_eq!(many.unwrap().height(), 3);
    }

    #[test]
    fn exponents_are_numbers() {
        for (text, plain) in [
            ("a > 1e-3", "a > 0.001"),
            ("a>2.5E+2 and b='1e-3'", "a>250 and b='1e-3'"),
            ("\"1e5\" < 1e5", "\"1e5\" < 100000"),
            ("x1e5 = 1", "x1e5 = 1"),
            ("1e", "1e"),
            ("a = 1e-", "a = 1e-"),
            ("'it''s 1e3' = 1e3", "'it''s 1e3' = 1000"),
            ("é1e2 1e2", "é1e2 100"),
        ] {
            assert_eq!(plain_numbers(text), plain);
        }
    }

    proptest! {
        #[test]
        fn no_text_ends_the_program(text in "[a-bt()<>=!&|. 0-9é,*'-]{0,40}") {
            let _ = ask(table(), &format!("select a from t where {text}"));
            let _ = ask(table(), &text);
        }
    }
}
