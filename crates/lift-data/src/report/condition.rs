//! Conditions on a report's figures in SQL, such as `leaked > 0 or corrupt / images > 0.001`, for `--fail-if`.
//!
//! Invariant: a condition that passed [`check`] can be asked of every report that has its figures.

use polars::prelude::{Column, DataFrame, DataType};

use crate::sql;

/// A figure's name and its value.
pub type Figures<'a> = [(&'a str, f64)];

/// Says what is wrong with a condition over figures of these names.
///
/// # Errors
/// When it is no SQL, names something else, or is neither true nor false.
pub fn check(condition: &str, names: &[&str]) -> Result<(), String> {
    let figures: Vec<(&str, f64)> = names.iter().map(|name| (*name, 1.0)).collect();
    holds(condition, &figures).map(drop)
}

/// Whether a condition holds.
///
/// # Errors
/// As [`check`].
pub fn holds(condition: &str, figures: &Figures<'_>) -> Result<bool, String> {
    let columns = figures
        .iter()
        .map(|(name, value)| Column::new((*name).into(), [*value]));
    let frame = DataFrame::new(1, columns.collect()).expect("figures have names of their own");
    let known = || {
        let names: Vec<&str> = figures.iter().map(|(name, _)| *name).collect();
        format!("; known are {}", names.join(", "))
    };
    let question = format!("select ({condition}\n) as holds from report");
    let answer = sql::ask(vec![("report".to_owned(), frame)], &question);
    let answer = answer.map_err(|reason| reason + &known())?;
    let holds = answer.column("holds").map_err(|err| err.to_string())?;
    if holds.dtype() != &DataType::Boolean || holds.len() != 1 {
        return Err(format!("it is {}, not true or false", holds.dtype()));
    }
    let holds = holds.bool().map_err(|err| err.to_string())?;
    Ok(holds.get(0) == Some(true))
}

/// A condition with the values of the figures that it names.
pub fn explained(condition: &str, figures: &Figures<'_>) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words: Vec<&str> = condition.split(|c| !is_part(c)).collect();
    let named = figures.iter().filter(|(name, _)| words.contains(name));
    let named: Vec<String> = named
        .map(|(name, value)| format!("{name} is {value}"))
        .collect();
    match named.as_slice() {
        [] => condition.to_owned(),
        named => format!("{condition} ({})", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIGURES: [(&str, f64); 3] = [("leaked", 3.0), ("corrupt", 0.0), ("images", 100.0)];

    #[test]
    fn conditions_are_sql() {
        for (condition, expected) in [
            ("leaked > 0 or corrupt > 0.001", true),
            ("leaked>0 and images<=100", true),
            ("leaked > 5 or corrupt > 0", false),
            ("not (leaked = 0)", true),
            ("leaked == 3 and leaked != 4 and leaked <> 5", true),
            // `and` binds closer: true or (false and false).
            ("leaked > 0 or corrupt > 0 and images < 5", true),
            ("(leaked > 0 or corrupt > 0) and images < 5", false),
            ("leaked / images > 0.01", true),
            ("leaked / images > 0.03", false),
            ("corrupt > 1e-3", false),
            ("leaked between 2 and 4", true),
        ] {
            assert_eq!(holds(condition, &FIGURES), Ok(expected), "{condition}");
        }
        assert_eq!(
            explained("leaked > 0 or corrupt > 0.001", &FIGURES),
            "leaked > 0 or corrupt > 0.001 (leaked is 3, corrupt is 0)"
        );
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        let names = FIGURES.map(|(name, _)| name);
        for condition in [
            "",
            "leakd > 0",
            "leaked",
            "leaked > 0 corrupt",
            "(leaked > 0",
            "leaked > or",
            "leaked and 1 > 0",
            "leaked > 0; drop table report",
        ] {
            assert!(check(condition, &names).is_err(), "{condition}");
        }
        let err = check("leakd > 0", &names).unwrap_err();
        assert!(
            err.contains("leakd") && err.ends_with("; known are leaked, corrupt, images"),
            "{err}"
        );
        for deep in [
            "(".repeat(8000),
            "not ".repeat(2000),
            "leaked>0 or ".repeat(680) + "leaked>0",
        ] {
            let _ = check(&deep, &names);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z()<>=!&|. 0-9é-]{0,40}") {
            let _ = holds(&text, &FIGURES);
        }
    }
}
