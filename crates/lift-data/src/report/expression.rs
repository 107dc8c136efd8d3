//! Conditions such as `leaked > 0 or corrupt > 0.001`, for `--fail-if`.
//!
//! Grammar: comparisons (`>`, `>=`, `<`, `<=`, `==`, `!=`) of names and numbers, joined by `and`, `or`, `not`
//! and parentheses; `and` binds closer than `or`. Invariant: an expression that parsed can be evaluated: its
//! names are known.

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    /// Both hold.
    And(Box<Expression>, Box<Expression>),
    /// One holds, or both.
    Or(Box<Expression>, Box<Expression>),
    /// It does not hold.
    Not(Box<Expression>),
    /// Two values compared.
    Compare(Value, Comparison, Value),
}

/// A number, or the name of one.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A name.
    Name(String),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Different,
}

/// The deepest nesting that is read.
const DEEPEST: usize = 64;

impl Expression {
    /// Reads a condition over the names of `known`; else says what is wrong with it.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        let mut parser = Parser {
            tokens: tokens(text)?,
            at: 0,
            depth: 0,
            known,
        };
        let expression = parser.or()?;
        match parser.tokens.get(parser.at) {
            None => Ok(expression),
            Some(token) => Err(format!("`{token}` is too much")),
        }
    }

    /// The comparisons that hold and make the whole hold, with their values; empty when it does not hold.
    pub fn failures(&self, values: &[(&str, f64)]) -> Vec<String> {
        match self {
            _ if !self.holds(values) => Vec::new(),
            Expression::And(a, b) | Expression::Or(a, b) => {
                let mut both = a.failures(values);
                both.extend(b.failures(values));
                both
            }
            Expression::Not(inner) => vec![format!("not ({})", inner.text(values))],
            Expression::Compare(..) => vec![self.text(values)],
        }
    }

    fn holds(&self, values: &[(&str, f64)]) -> bool {
        match self {
            Expression::And(a, b) => a.holds(values) && b.holds(values),
            Expression::Or(a, b) => a.holds(values) || b.holds(values),
            Expression::Not(inner) => !inner.holds(values),
            Expression::Compare(a, comparison, b) => {
                let (a, b) = (a.number(values), b.number(values));
                match comparison {
                    Comparison::More => a > b,
                    Comparison::AtLeast => a >= b,
                    Comparison::Less => a < b,
                    Comparison::AtMost => a <= b,
                    Comparison::Equal => a == b,
                    Comparison::Different => a != b,
                }
            }
        }
    }

    fn text(&self, values: &[(&str, f64)]) -> String {
        match self {
            Expression::And(a, b) => format!("{} and {}", a.text(values), b.text(values)),
            Expression::Or(a, b) => format!("{} or {}", a.text(values), b.text(values)),
            Expression::Not(inner) => format!("not ({})", inner.text(values)),
            Expression::Compare(a, comparison, b) => {
                let side = |value: &Value| match value {
                    Value::Number(number) => number.to_string(),
                    Value::Name(name) => format!("{name} ({})", value.number(values)),
                };
                format!("{} {} {}", side(a), comparison.as_str(), side(b))
            }
        }
    }
}

impl Value {
    fn number(&self, values: &[(&str, f64)]) -> f64 {
        match self {
            Value::Number(number) => *number,
            Value::Name(name) => {
                let found = values.iter().find(|(known, _)| known == name);
                found.map_or(f64::NAN, |(_, value)| *value)
            }
        }
    }
}

impl Comparison {
    const ALL: [(&'static str, Comparison); 6] = [
        (">=", Comparison::AtLeast),
        ("<=", Comparison::AtMost),
        ("==", Comparison::Equal),
        ("!=", Comparison::Different),
        (">", Comparison::More),
        ("<", Comparison::Less),
    ];

    fn as_str(self) -> &'static str {
        let same = |(_, comparison): &&(&str, Comparison)| *comparison == self;
        Self::ALL.iter().find(same).map_or("", |(text, _)| text)
    }
}

/// Words, numbers, signs and parentheses.
fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let sign = Comparison::ALL
            .iter()
            .find(|(sign, _)| rest.starts_with(sign));
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let length = match sign {
            Some((sign, _)) => sign.len(),
            None if matches!(first, '(' | ')') => 1,
            None if is_word(first) || first == '-' => {
                let start = usize::from(first == '-');
                start
                    + rest[start..]
                        .find(|c| !is_word(c))
                        .unwrap_or(rest.len() - start)
            }
            None => return Err(format!("`{first}` has no meaning here")),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: Vec<String>,
    at: usize,
    depth: usize,
    known: &'a [&'a str],
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Expression, String> {
        let mut left = self.and()?;
        while self.takes("or") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut left = self.not()?;
        while self.takes("and") {
            left = Expression::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("it is nested too deeply".to_owned());
        }
        let expression = if self.takes("not") {
            Expression::Not(Box::new(self.not()?))
        } else if self.takes("(") {
            let inner = self.or()?;
            if !self.takes(")") {
                return Err("a `(` has no `)`".to_owned());
            }
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn comparison(&mut self) -> Result<Expression, String> {
        let left = self.value()?;
        let Some(sign) = self.tokens.get(self.at) else {
            return Err("it ends where a comparison such as `> 0` is expected".to_owned());
        };
        let known = Comparison::ALL.iter().find(|(text, _)| text == sign);
        let Some(&(_, comparison)) = known else {
            return Err(format!(
                "`{sign}` is no comparison; they are > >= < <= == !="
            ));
        };
        self.at += 1;
        Ok(Expression::Compare(left, comparison, self.value()?))
    }

    fn value(&mut self) -> Result<Value, String> {
        let Some(token) = self.tokens.get(self.at).cloned() else {
            return Err("it ends where a name or a number is expected".to_owned());
        };
        self.at += 1;
        if let Ok(number) = token.parse::<f64>() {
            return Ok(Value::Number(number));
        }
        if self.known.contains(&token.as_str()) {
            return Ok(Value::Name(token));
        }
        let is_name = token.starts_with(|c: char| c.is_ascii_alphabetic());
        Err(
            if is_name && !["and", "or", "not"].contains(&token.as_str()) {
                format!(
                    "`{token}` is not known here; known are {}",
                    self.known.join(", ")
                )
            } else {
                format!("`{token}` stands where a name or a number is expected")
            },
        )
    }

    fn takes(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|next| next == token);
        self.at += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 3] = ["leaked", "corrupt", "images"];
    const VALUES: [(&str, f64); 3] = [("leaked", 3.0), ("corrupt", 0.0), ("images", 100.0)];

    fn failures(text: &str) -> Vec<String> {
        Expression::parse(text, &KNOWN).unwrap().failures(&VALUES)
    }

    #[test]
    fn what_holds_is_listed() {
        assert_eq!(
            failures("leaked > 0 or corrupt > 0.001"),
            ["leaked (3) > 0"]
        );
        assert_eq!(
            failures("leaked>0 and images<=100"),
            ["leaked (3) > 0", "images (100) <= 100"]
        );
        assert!(failures("leaked > 5 or corrupt > 0").is_empty());
        assert!(failures("leaked > 0 and corrupt > 0").is_empty());
        assert_eq!(failures("not (leaked == 0)"), ["not (leaked (3) == 0)"]);
        // `and` binds closer: true or (false and false).
        assert_eq!(
            failures("leaked > 0 or corrupt > 0 and images < 5"),
            ["leaked (3) > 0"]
        );
        assert!(failures("(leaked > 0 or corrupt > 0) and images < 5").is_empty());
        assert_eq!(failures("-1.5 < corrupt"), ["-1.5 < corrupt (0)"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            ("", "it ends where a name or a number"),
            (
                "leakd > 0",
                "`leakd` is not known here; known are leaked, corrupt, images",
            ),
            ("leaked", "it ends where a comparison"),
            ("leaked = 0", "`=` has no meaning"),
            ("leaked > 0 corrupt", "`corrupt` is too much"),
            ("(leaked > 0", "a `(` has no `)`"),
            ("leaked > or", "`or` stands where"),
            ("leaked and 1 > 0", "`and` is no comparison"),
            ("leaked > 0; rm", "`;` has no meaning"),
        ] {
            let err = Expression::parse(text, &KNOWN).unwrap_err();
            assert!(err.starts_with(message), "{text}: {err}");
        }
        let deep = "(".repeat(100_000);
        assert_eq!(
            Expression::parse(&deep, &KNOWN).unwrap_err(),
            "it is nested too deeply"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z()<>=!&|. 0-9é-]{0,40}") {
            let _ = Expression::parse(&text, &KNOWN).map(|parsed| parsed.failures(&VALUES));
        }
    }
}
