//! A JSON schema of a recipe's table, for editors that complete and check recipes.
//!
//! A table has the settings of a command under the same names, so that the schema is drawn from what clap knows of them: names,
//! kinds, words, help. What a recipe takes in another form than one typed value is said by the program ([`Shape`]).

use std::{any::TypeId, num::NonZeroUsize, path::PathBuf};

use clap::{Arg, ArgAction, Command};
use serde_json::{Map, Value, json};

/// How a recipe gives a setting, where it is not as one typed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A list of values.
    List,
    /// A value, or a list of them.
    OneOrList,
    /// A whole number from 0 on.
    Count,
    /// A text or a number.
    TextOrNumber,
    /// A text or a whole number from 0 on.
    TextOrCount,
    /// Not in a recipe.
    Typed,
}

/// The schema of the table that has the settings of `command`; `shapes` names those with another form.
pub fn of_table(command: &Command, shapes: &[(&str, Shape)]) -> Value {
    let mut properties = Map::new();
    for arg in command.get_arguments() {
        let long = arg.get_long();
        let key = long.unwrap_or(arg.get_id().as_str()).replace('-', "_");
        if ["help", "version"].contains(&key.as_str()) {
            continue;
        }
        let shape = shapes.iter().find(|(name, _)| *name == key);
        let one = one(arg);
        let mut schema = match shape.map(|(_, shape)| shape) {
            Some(Shape::Typed) => continue,
            Some(Shape::List) => json!({ "type": "array", "items": one }),
            Some(Shape::OneOrList) => {
                json!({ "anyOf": [one, { "type": "array", "items": one }] })
            }
            Some(Shape::TextOrNumber) => json!({ "type": ["string", "number"] }),
            Some(Shape::TextOrCount) => {
                json!({ "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0 }] })
            }
            Some(Shape::Count) => json!({ "type": "integer", "minimum": 0 }),
            None => one,
        };
        let help = arg.get_help().map(|help| help.to_string());
        schema["description"] = help.unwrap_or_default().into();
        properties.insert(key, schema);
    }
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// One value of a setting.
fn one(arg: &Arg) -> Value {
    let words = arg.get_possible_values();
    let id = arg.get_value_parser().type_id();
    let is = |ids: &[TypeId]| ids.iter().any(|known| id == *known);
    if matches!(arg.get_action(), ArgAction::SetTrue) || is(&[TypeId::of::<bool>()]) {
        json!({ "type": "boolean" })
    } else if !words.is_empty() {
        let words: Vec<&str> = words.iter().map(|word| word.get_name()).collect();
        json!({ "enum": words })
    } else if is(&[
        TypeId::of::<u8>(),
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
    ]) {
        json!({ "type": "integer", "minimum": 0 })
    } else if is(&[TypeId::of::<NonZeroUsize>()]) {
        json!({ "type": "integer", "minimum": 1 })
    } else if is(&[TypeId::of::<i64>()]) {
        json!({ "type": "integer" })
    } else if is(&[TypeId::of::<f64>()]) {
        json!({ "type": "number" })
    } else if is(&[TypeId::of::<PathBuf>(), TypeId::of::<String>()]) {
        json!({ "type": "string" })
    } else {
        // What is read from words of its own.
        json!({ "type": "string", "minLength": 1 })
    }
}

/// Where a schema and the reader of its table disagree, for the tests of programs: settings that one of them lacks, values of the
/// schema that the reader takes for another kind, and other kinds that it takes. `read` gets TOML.
#[doc(hidden)]
pub fn disagreements(schema: &Value, read: impl Fn(&str) -> Result<(), String>) -> Vec<String> {
    let Some(properties) = schema["properties"].as_object() else {
        return vec!["no properties".into()];
    };
    let unknown = read("no_such_setting = 1").err().unwrap_or_default();
    let (_, known) = unknown.split_once("expected one of").unwrap_or_default();
    let known: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
    let missing = known.iter().filter(|name| !properties.contains_key(**name));
    let mut found: Vec<String> = missing
        .map(|name| format!("{name}: not in the schema"))
        .collect();
    for (name, property) in properties {
        if !known.contains(&name.as_str()) {
            found.push(format!("{name}: not read"));
        }
        let values = values(property);
        for value in &values {
            let error = read(&format!("{name} = {value}")).err().unwrap_or_default();
            let words = [
                "invalid type",
                "unknown variant",
                "did not match any variant",
            ];
            if words.iter().any(|words| error.contains(words)) {
                found.push(format!("{name} = {value}: {error}"));
            }
        }
        let has = |kind: &str| values.iter().any(|value| value.starts_with(kind));
        for (other, is_one) in [
            ("{}", has("{")),
            ("true", has("true")),
            ("[[]]", false),
            // Where a whole number is read.
            ("1", has("1")),
            ("\"x\"", has("\"")),
        ] {
            // What else is missing is said when the value itself was taken.
            let is_taken = match read(&format!("{name} = {other}")) {
                Ok(()) => true,
                Err(error) => error.contains("missing field"),
            };
            if is_taken && !is_one {
                found.push(format!("{name} = {other}: is read"));
            }
        }
    }
    found
}

/// Some values of each kind that a schema takes, as TOML.
fn values(schema: &Value) -> Vec<String> {
    let all = |schemas: &Value| -> Vec<String> {
        let schemas = schemas.as_array().into_iter().flatten();
        schemas.flat_map(values).collect()
    };
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(Value::to_string).collect();
    }
    if schema.get("anyOf").is_some() {
        return all(&schema["anyOf"]);
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let of_kind = |kind: &Value| match kind.as_str() {
        Some("boolean") => vec!["true".into(), "false".into()],
        Some("integer") => vec!["1".into()],
        Some("number") => vec!["1".into(), "0.5".into()],
        Some("object") => vec!["{}".into()],
        Some("array") => {
            let items = values(&schema["items"]);
            items.iter().map(|item| format!("[{item}]")).collect()
        }
        _ => vec!["\"x\"".into()],
    };
    kinds.iter().flat_map(of_kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::value_parser;

    #[test]
    fn a_table_is_what_is_typed() {
        let command = Command::new("x")
            .arg(Arg::new("data_set").value_parser(["a", "b"]).help("Which"))
            .arg(Arg::new("condition").long("where"))
            .arg(Arg::new("flag").long("any-list").action(ArgAction::SetTrue))
            .arg(Arg::new("lr").long("lr").value_parser(value_parser!(f64)))
            .arg(
                Arg::new("n")
                    .long("n")
                    .value_parser(value_parser!(u8).range(1..=3)),
            )
            .arg(Arg::new("config").long("config"));
        let schema = of_table(
            &command,
            &[("config", Shape::Typed), ("lr", Shape::OneOrList)],
        );
        let number = json!({ "type": "number" });
        let wanted = json!({
            "type": "object",
            "properties": {
                "data_set": { "enum": ["a", "b"], "description": "Which" },
                "where": { "type": "string", "description": "" },
                "any_list": { "type": "boolean", "description": "" },
                "lr": { "anyOf": [number, { "type": "array", "items": number }], "description": "" },
                "n": { "type": "integer", "minimum": 0, "description": "" },
            },
            "additionalProperties": false,
        });
        assert_eq!(schema, wanted);
    }
}
