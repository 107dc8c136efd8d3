//! `lift run`: the programs on the tables of one recipe.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use lift_files::Purpose;
use serde_json::{Map, Value, json};

use crate::programs::{Programs, printed_by};
use crate::runs::Next;
use crate::summary;

/// What is typed for it.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The recipe; its paths are relative to where this is called, as the programs read them
    #[arg(value_name = "RECIPE")]
    pub recipe: PathBuf,
    /// Print one JSON document instead of the summary
    #[arg(long)]
    pub json: bool,
}

/// The schema of a whole recipe, of the programs' own; with `[sweep]`, in which each setting of `[train]` may have a list of values.
///
/// # Errors
/// When a program fails, which has then said why.
pub(crate) fn schema() -> Result<Value> {
    let table = |program| -> Result<Value> {
        let text = printed_by(program, &["schema".as_ref()])?;
        Ok(serde_json::from_slice(&text)?)
    };
    let mut tables = Map::new();
    for (name, program) in [
        ("data", "lift-data"),
        ("text", "lift-text"),
        ("train", "lift-train"),
    ] {
        tables.insert(name.into(), table(program)?);
    }
    let settings = tables["train"]["properties"].as_object();
    let lists = settings.into_iter().flatten();
    let lists = lists.filter(|(name, _)| !["out", "seed"].contains(&name.as_str()));
    let mut lists: Map<String, Value> = lists
        .map(|(name, one)| {
            (
                name.clone(),
                json!({ "type": "array", "minItems": 1, "items": one }),
            )
        })
        .collect();
    let seed = json!({ "type": "integer", "minimum": 0 });
    lists.insert(
        "seeds".into(),
        json!({ "type": "array", "minItems": 1, "items": seed }),
    );
    tables.insert(
        "sweep".into(),
        json!({ "type": "object", "properties": lists, "additionalProperties": false }),
    );
    Ok(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A recipe of LIFT",
        "type": "object",
        "properties": tables,
        "additionalProperties": false,
    }))
}

/// Does what the recipe says: `[data]`, `[text]`, `[train]`, as far as it has them.
///
/// # Errors
/// When it cannot be read, names no run, or a program fails, which has then said why.
pub(crate) fn run(args: &RunArgs) -> Result<()> {
    let recipe = &args.recipe;
    let text = lift_files::text(recipe, Purpose::Settings);
    let text = text.with_context(|| recipe.display().to_string())?;
    let tables: toml::Table = text
        .parse()
        .map_err(|e| anyhow::anyhow!("{}: {e}", recipe.display()))?;
    let known = ["data", "text", "train"];
    if let Some(other) = tables.keys().find(|name| !known.contains(&name.as_str())) {
        bail!(
            "{}: the table [{other}] is none of [data], [text] and [train]",
            recipe.display()
        );
    }
    let out = tables.get("train").and_then(|train| train.get("out"));
    let Some(run) = out.and_then(toml::Value::as_str).map(PathBuf::from) else {
        bail!(
            "{}: [train] has no `out`\nhint: the folder of the run, as `lift-train --out` takes it",
            recipe.display()
        );
    };
    let mut programs = Programs::default();
    let config = [OsStr::new("--config"), recipe.as_os_str()];
    for (table, program, command) in [
        ("data", "lift-data", "build"),
        ("text", "lift-text", "classifier"),
    ] {
        if tables.contains_key(table) {
            programs.run(program, &[&[OsStr::new(command)], &config[..]].concat())?;
        }
    }
    match Next::of(run.clone()) {
        Next::Finished(_) => {}
        Next::Resume(run) => programs.run("lift-train", &["resume".as_ref(), run.as_os_str()])?,
        Next::Begin(_) => programs.run("lift-train", &config)?,
    }
    summary::report(&run, &mut programs)?;
    summary::print(&run, &programs, args.json)
}
