//! An SQL condition on the images.

use super::columns::{ROW, frame};
use crate::error::{Error, Result};
use crate::source::Source;
use crate::sql;

/// What the images are called in SQL, for conditions that ask for more than one row.
const TABLE: &str = "images";

/// Keeps the images of which `condition` is true.
pub(super) fn keep(source: &mut Source, condition: &str) -> Result<()> {
    let frame = frame(source)?;
    let ours = frame.get_column_names().into_iter();
    let theirs = source.column_names.iter().map(String::as_str);
    let mut names: Vec<String> = Vec::new();
    for name in ours.map(|name| name.as_str()).chain(theirs) {
        if name != ROW && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    let wrong = |reason: String| Error::Setting {
        reason: format!("--where `{condition}`: {reason}"),
        hint: format!(
            "an SQL condition on {}; text stands in single quotes, a class's name is `class`, its number `label`",
            names.join(", ")
        ),
    };
    if condition.trim().is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    // What is neither true nor false is not kept, as SQL has it.
    let question = format!("select \"{ROW}\" from {TABLE} where ({condition}\n)");
    let answer = sql::ask(vec![(TABLE.to_owned(), frame)], &question).map_err(wrong)?;
    let rows = answer.column(ROW).and_then(|rows| rows.u32().cloned());
    let rows = rows.map_err(|err| wrong(err.to_string()))?;
    let mut chosen: Vec<u32> = rows.iter().flatten().collect();
    // The order is the source's, whatever the engine's is.
    chosen.sort_unstable();
    chosen.dedup();
    let (mut chosen, mut start) = (chosen.into_iter().peekable(), 0);
    for list in &mut source.splits {
        let end = start + list.items.len() as u32;
        let mut places = Vec::new();
        while let Some(row) = chosen.next_if(|row| *row < end) {
            places.push(row - start);
        }
        list.keep(&places);
        start = end;
    }
    Ok(())
}
