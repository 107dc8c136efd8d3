//! Answers as people and programs read them: lines, JSON lines, a CSV or Parquet table.
//!
//! Invariant: every form has a row an image, in their order, and says the same.

use std::{path::Path, sync::Arc};

use arrow::array::{ArrayRef, Float32Array, Int32Array, RecordBatch, StringArray};
use lift_page::escape::visible;
use lift_shards::{
    atomic,
    table_file::{self, TableForm, unmade},
};
use serde_json::json;

use super::{Answer, Guess};
use crate::error::{Error, Result};

/// The form of a file of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON document a line.
    JsonLines,
    /// A table.
    Table(TableForm),
}

impl Form {
    /// The form that a file's name asks for.
    ///
    /// # Errors
    /// When it ends in none of `.csv`, `.jsonl` and `.parquet`.
    pub fn of(path: &Path) -> std::result::Result<Self, String> {
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        if ending.eq_ignore_ascii_case("jsonl") {
            return Ok(Self::JsonLines);
        }
        let table = TableForm::of(path).map_err(|_| {
            format!(
                "{}: predictions are written as .csv, .jsonl or .parquet\nhint: end the name in one of these",
                path.display()
            )
        })?;
        Ok(Self::Table(table))
    }
}

/// Writes a file of answers; `top` is how many classes an answer has at most, `names` are those of the classes.
///
/// # Errors
/// When it cannot be written.
pub fn write(
    path: &Path,
    form: Form,
    answers: &[Answer],
    names: &[String],
    top: usize,
) -> Result<()> {
    match form {
        Form::JsonLines => {
            let lines: String = answers
                .iter()
                .map(|answer| json_line(answer, names))
                .collect();
            Ok(atomic::write(path, lines.as_bytes())?)
        }
        Form::Table(form) => {
            let table = table(answers, names, top).map_err(|e| unmade(path, e))?;
            Ok(table_file::write(path, form, &table)?)
        }
    }
}

/// One JSON document with `path`, `predictions` (class, label, probability) and, of an image that could not be judged,
/// `error`.
pub fn json_line(answer: &Answer, names: &[String]) -> String {
    let guess = |guess: &Guess| {
        json!({
            "class": names[guess.label as usize],
            "label": guess.label,
            "probability": guess.probability,
        })
    };
    let line = match &answer.said {
        Ok(guesses) => json!({
            "path": answer.name,
            "predictions": guesses.iter().map(guess).collect::<Vec<_>>(),
        }),
        Err(reason) => json!({ "path": answer.name, "predictions": [], "error": reason }),
    };
    line.to_string() + "\n"
}

/// A line for people.
pub fn line(answer: &Answer, names: &[String]) -> String {
    let said = match &answer.said {
        Err(reason) => format!("error: {}", visible(reason)),
        Ok(guesses) if guesses.is_empty() => "no class is likely enough".into(),
        Ok(guesses) => {
            let guess = |guess: &Guess| {
                let name = visible(&names[guess.label as usize]);
                format!("{name} {:.1} %", 100.0 * guess.probability)
            };
            guesses.iter().map(guess).collect::<Vec<_>>().join(", ")
        }
    };
    format!("{}: {said}\n", visible(&answer.name))
}

/// `path`, `class`, `label` and `probability` of the likeliest class, the same with `_2` and so on of the next ones, and
/// `error`; cells are empty where there is nothing to say.
fn table(
    answers: &[Answer],
    names: &[String],
    top: usize,
) -> std::result::Result<RecordBatch, arrow::error::ArrowError> {
    let paths = answers.iter().map(|answer| answer.name.as_str());
    let mut columns: Vec<(String, ArrayRef, bool)> = vec![(
        "path".into(),
        Arc::new(StringArray::from_iter_values(paths)),
        false,
    )];
    for place in 0..top.min(names.len()) {
        let of = |answer: &Answer| answer.said.as_ref().ok()?.get(place).copied();
        let guesses: Vec<Option<Guess>> = answers.iter().map(of).collect();
        let name = |column: &str| match place {
            0 => column.to_owned(),
            _ => format!("{column}_{}", place + 1),
        };
        let class = guesses
            .iter()
            .map(|g| Some(names[g.as_ref()?.label as usize].as_str()));
        let label = guesses.iter().map(|g| Some(g.as_ref()?.label as i32));
        let share = guesses.iter().map(|g| Some(g.as_ref()?.probability));
        columns.push((name("class"), Arc::new(StringArray::from_iter(class)), true));
        columns.push((name("label"), Arc::new(Int32Array::from_iter(label)), true));
        columns.push((
            name("probability"),
            Arc::new(Float32Array::from_iter(share)),
            true,
        ));
    }
    let errors = answers.iter().map(|answer| answer.said.as_ref().err());
    columns.push((
        "error".into(),
        Arc::new(StringArray::from_iter(errors)),
        true,
    ));
    RecordBatch::try_from_iter_with_nullable(columns)
}

/// The form of a file, where one is asked for.
///
/// # Errors
/// Names the flag.
pub fn form_of(out: Option<&Path>) -> Result<Option<Form>> {
    let form = out.map(Form::of).transpose();
    form.map_err(|reason| Error::Usage(format!("--out {reason}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_say_the_same() {
        let names = ["cat".to_owned(), "a, \"b\"".to_owned()];
        let guess = |label, probability| Guess { label, probability };
        let answers = [
            Answer {
                name: "x.jpg".into(),
                said: Ok(vec![guess(1, 0.75), guess(0, 0.25)]),
            },
            Answer {
                name: "y.jpg".into(),
                said: Err("JPEG: premature end of data".into()),
            },
            Answer {
                name: "z.jpg".into(),
                said: Ok(vec![]),
            },
        ];
        let lines: String = answers.iter().map(|a| line(a, &names)).collect();
        assert_eq!(
            lines,
            "x.jpg: a, \"b\" 75.0 %, cat 25.0 %\ny.jpg: error: JPEG: premature end of data\nz.jpg: no class is likely enough\n"
        );
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        write(&path, Form::of(&path).unwrap(), &answers, &names, 5).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "path,class,label,probability,class_2,label_2,probability_2,error\n\
             x.jpg,\"a, \"\"b\"\"\",1,0.75,cat,0,0.25,\n\
             y.jpg,,,,,,,JPEG: premature end of data\n\
             z.jpg,,,,,,,\n"
        );
        let path = dir.path().join("a.jsonl");
        write(&path, Form::of(&path).unwrap(), &answers, &names, 5).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<serde_json::Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(
            read[0]["predictions"][0],
            json!({"class": "a, \"b\"", "label": 1, "probability": 0.75})
        );
        assert_eq!(
            read[1],
            json!({"path": "y.jpg", "predictions": [], "error": "JPEG: premature end of data"})
        );
        assert_eq!(read.len(), 3);
        assert!(Form::of("a.json".as_ref()).is_err());
    }
}
