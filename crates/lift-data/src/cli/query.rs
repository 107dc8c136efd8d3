//! `lift-data query`: questions in SQL.

use std::path::PathBuf;

use clap::Args;

use lift_data::query;
use lift_data::table::{self, Form};
use lift_page::escape;
use lift_page::terminal::{aligned_as, say};

use super::{CliError, grouped, print, print_json};

/// Rows that are printed; a file gets all.
const SHOWN: usize = 1000;

/// `lift-data query`
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  lift-data query shards \"select class, count(*) as n from train group by class order by n desc\"
  lift-data query shards \"select * from classes where test = 0\"
  lift-data query shards/train \"select path from train where width < 64\" --out small.csv
  lift-data query meta.csv \"select site, count(*) as n from data group by site\" --json
  lift-data query report \"select path from measures where sharpness < 20\" --out blurred.parquet

Tables: train, val, test (those that there are) with every column but the image, and classes. A table's file \
is called `data`, and by its name; the tables of a folder (a report's) by their names. docs/queries.md has more.")]
pub struct QueryArgs {
    /// Shards, a table, a folder of tables, or a source
    #[arg(value_name = "SHARDS|TABLE")]
    path: PathBuf,
    /// What is asked
    #[arg(value_name = "SQL")]
    sql: String,
    /// One more table, under this name
    #[arg(long, value_name = "NAME=FILE", value_parser = named_table)]
    with: Vec<(String, PathBuf)>,
    /// Write the answer to this file: .csv, .json, .jsonl or .parquet
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn named_table(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() => Ok((name.to_owned(), file.into())),
        _ => Err("give a name and a file, such as flags=report/flags.csv".to_owned()),
    }
}

/// Asks, and prints the answer.
pub fn run(args: &QueryArgs) -> Result<(), CliError> {
    let out = args.out.as_ref().map(|path| Ok((path, Form::of(path)?)));
    let out = out.transpose().map_err(CliError::Usage)?;
    let mut tables = query::tables(&args.path)?;
    for (name, file) in &args.with {
        let read = table::Table::read(file, table::WantedColumns::ALL)?;
        if tables.iter().any(|(known, _)| known == name) {
            let reason = format!("--with {name}: there is a table of that name; choose another");
            return Err(CliError::Usage(reason));
        }
        tables.push((name.clone(), read.frame));
    }
    let answer = query::ask(tables, &args.sql)?;
    if let Some((path, form)) = out {
        table::write(&answer, path, form)?;
        say(format_args!(
            "{}: {}",
            escape::path(path),
            super::counted(answer.height() as u64, "row")
        ));
        return Ok(());
    }
    if args.json {
        table::require_plain(&answer)?;
        return print_json(&table::json(&answer));
    }
    let columns = answer.columns();
    let right: Vec<bool> = columns
        .iter()
        .map(|column| table::is_number(column.dtype()))
        .collect();
    print(&aligned_as(&table::text(&answer, SHOWN), &right))?;
    if answer.height() > SHOWN {
        let more = grouped((answer.height() - SHOWN) as u64);
        say(format_args!("{more} more rows; --out FILE writes all"));
    }
    Ok(())
}
