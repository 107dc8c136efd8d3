//! The command line of `lift-text`: what was typed becomes [`ClassifierOptions`] here.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use lift_data::dataset::DatasetSpec;
use lift_files::Purpose;
use lift_models::{
    DeviceChoice, Head,
    memory::{self, MemorySize},
};
use lift_page::{
    manual::Manual,
    number::plain,
    schema::{self, Shape},
    terminal,
};
use lift_shards::{
    classes::{ClassNames, told_apart},
    layout::split_dir,
    manifest::Manifest,
    outputs,
    ranks::Ranks,
    split::Split,
};
use serde::Deserialize;

use crate::{
    classifier::{self, ClassifierOptions, build_head},
    findings::shown as in_quotes,
    prompt_files::{read_descriptors, read_templates},
    prompts::{Prompts, Template},
    similarity::{cosines, nearest, table},
};

/// Class names to classifier weights, by semantic-aware initialisation.
#[derive(Debug, Parser)]
#[command(name = "lift-text", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Encode class names into a classifier file.
    #[command(after_long_help = "Examples:
  lift-text classifier --shards shards --model clip-vit-base-patch16 --out head.safetensors
  lift-text classifier --classnames names.txt --model openai/clip-vit-base-patch16 --out head.safetensors --template 'a sketch of a {}.'
  lift-text classifier --shards shards --model clip --out head.safetensors --template '{}'
  lift-text classifier --shards shards --model clip --out head.safetensors --templates eighty.txt
  lift-text classifier --shards shards --model clip --out head.safetensors --descriptors phrases.json
  lift-text classifier --shards inat --model clip --out head.safetensors --taxonomy categories.json \\
      --template 'a photo of a {}, of the family {family}.'
  lift-text classifier --config pipelines/shapes-lt.toml

Several texts of a class are ensembled: each embedding is normalised, and so is their mean.")]
    Classifier(Box<ClassifierArgs>),
    /// Say which classes lie close to each other in a classifier file.
    #[command(after_long_help = "Examples:
  lift-text similarity --head head.safetensors --classes 'red star' 'red circle'
  lift-text similarity --head head.safetensors --nearest 3 --json")]
    Similarity {
        /// The classifier file.
        #[arg(long, value_name = "FILE")]
        head: PathBuf,
        /// These classes only, by name [default: all].
        #[arg(long, value_name = "NAME", num_args = 1..)]
        classes: Vec<String>,
        /// How many others to name for each.
        #[arg(long, value_name = "N", default_value_t = 5)]
        nearest: usize,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    #[command(flatten)]
    Manual(Manual),
}

#[derive(Debug, Args, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ClassifierArgs {
    /// Class names of a known dataset, such as shapes-lt.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["classnames", "shards"])]
    dataset: Option<String>,
    /// File with one class name a line, in label order.
    #[arg(long, value_name = "FILE", conflicts_with = "shards")]
    classnames: Option<PathBuf>,
    /// Class names from the manifest of these shards.
    #[arg(long, value_name = "DIR")]
    shards: Option<PathBuf>,
    /// Model folder (config.json, model.safetensors or pytorch_model.bin, tokenizer.json), or a Hugging Face name: org/name[@revision].
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// The classifier file to write.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Prompt with {} for the name, repeatable; '{}' is the name alone [default: "a photo of a {}."].
    #[arg(long, value_name = "TEXT")]
    #[serde(deserialize_with = "one_or_many")]
    template: Vec<String>,
    /// File with one template a line, all of them ensembled.
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    templates: Option<PathBuf>,
    /// JSON file: class name -> list of texts, ensembled.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["template", "templates", "taxonomy"])]
    descriptors: Option<PathBuf>,
    /// categories.json of iNaturalist 2018; templates may then say {family}, {order}, ...
    #[arg(long, value_name = "FILE")]
    taxonomy: Option<PathBuf>,
    /// Texts a forward pass, at most [default: 256].
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Most memory that passes may take, such as 2GiB.
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<MemorySize>,
    /// Go on where classes have the same texts or rows, which cannot be told apart.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    allow_identical: Option<bool>,
    /// auto, cpu or cuda:N [default: auto].
    #[arg(long)]
    device: Option<String>,
    /// Recipe whose [text] table gives what is not typed.
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

/// Why the program ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The settings do not say what to do.
    #[error("{0}")]
    Usage(String),
    /// The model cannot be used, or the classifier file not written.
    #[error(transparent)]
    Clip(#[from] lift_models::Error),
    /// There is no classifier that tells the classes apart.
    #[error(transparent)]
    Classifier(#[from] classifier::Error),
    /// Templates, descriptors or a taxonomy that cannot be used.
    #[error("{0}")]
    Prompts(String),
    /// The class names cannot be read.
    #[error(transparent)]
    Data(#[from] lift_data::Error),
    /// Shards cannot be read, or a file cannot be written.
    #[error(transparent)]
    Shards(#[from] lift_shards::Error),
    /// A recipe says what is not known.
    #[error("{}: bad recipe: {reason}", path.display())]
    Recipe {
        /// The recipe.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
    /// Standard output could not be written.
    #[error("standard output: cannot write: {0}")]
    Output(io::Error),
}

impl CliError {
    /// 2 for wrong usage, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Classifier(classifier::Error::Memory(_)) => 2,
            Self::Clip(_)
            | Self::Classifier(_)
            | Self::Prompts(_)
            | Self::Data(_)
            | Self::Shards(_)
            | Self::Recipe { .. }
            | Self::Output(_) => 1,
        }
    }
}

type Result<T> = std::result::Result<T, CliError>;

impl Cli {
    /// Runs the command that was typed.
    ///
    /// # Errors
    /// When the input is wrong; the message names the file and what to do.
    pub fn run(self) -> Result<()> {
        match self.command {
            Command::Classifier(args) => classifier(*args),
            Command::Similarity {
                head,
                classes,
                nearest,
                json,
            } => similarity(&head, &classes, nearest, json),
            Command::Manual(manual) => manual
                .run(Cli::command(), || Ok(ClassifierArgs::schema()))
                .map_err(CliError::Output),
        }
    }
}

fn classifier(args: ClassifierArgs) -> Result<()> {
    let args = match args.config.clone() {
        Some(path) => args.over(read_table(&path)?),
        None => args,
    };
    let Some(model) = args.model else {
        return usage("no model given\nhint: --model MODEL, or `model` in [text] of the recipe");
    };
    let Some(out) = args.out else {
        return usage(
            "no output given\nhint: --out head.safetensors, or `out` in [text] of the recipe",
        );
    };
    let templates = args
        .template
        .iter()
        .map(|text| text.parse().map_err(CliError::Usage))
        .collect::<Result<Vec<Template>>>()?;
    let choice: DeviceChoice = args
        .device
        .as_deref()
        .unwrap_or("auto")
        .parse()
        .map_err(CliError::Usage)?;
    let classes = match (&args.dataset, &args.classnames, &args.shards) {
        (Some(name), None, None) => DatasetSpec::find(name)?.known_class_names()?,
        (None, Some(file), None) => ClassNames::from_file(file)?,
        (None, None, Some(shards)) => class_names_of_shards(shards)?,
        _ => {
            return usage(
                "not exactly one list of class names given\nhint: one of --dataset NAME, --classnames FILE and --shards DIR",
            );
        }
    };
    let device = choice.resolve_with_note()?;
    memory::limit(device, args.max_memory)?;
    outputs::prepare([out.as_path()])?;
    let prompts = match (&args.descriptors, &args.templates) {
        (Some(file), _) => read_descriptors(file, &classes).map(Prompts::Descriptors),
        (None, Some(file)) => read_templates(file)
            .and_then(|templates| with_taxonomy(templates, args.taxonomy.as_deref(), &classes)),
        (None, None) if templates.is_empty() => with_taxonomy(
            vec![Template::default()],
            args.taxonomy.as_deref(),
            &classes,
        ),
        (None, None) => with_taxonomy(templates, args.taxonomy.as_deref(), &classes),
    };
    let options = ClassifierOptions {
        prompts: prompts.map_err(CliError::Prompts)?,
        batch_size: args.batch_size.unwrap_or(256),
        max_memory: args.max_memory,
        allow_identical: args.allow_identical.unwrap_or(false),
        device,
    };
    let head = build_head(&lift_models::hub::fetch(&model)?, &classes, &options)?;
    head.write(&out)?;
    terminal::say(format_args!(
        "{}: {} x {}, prompt {:?}",
        out.display(),
        plain(classes.len() as u64, "class"),
        head.weight.size()[1],
        head.template
    ));
    Ok(())
}

fn with_taxonomy(
    templates: Vec<Template>,
    taxonomy: Option<&Path>,
    classes: &ClassNames,
) -> std::result::Result<Prompts, String> {
    let taxonomy = taxonomy.map(|file| Ranks::read(file, classes));
    Prompts::templates(templates, taxonomy.transpose()?, classes)
}

fn similarity(path: &Path, classes: &[String], count: usize, json: bool) -> Result<()> {
    let head = Head::read(path)?;
    // All classes that bear a name, or the one that tables show with its label.
    let shown = told_apart(&head.class_names);
    let labels_of = |name: &String| {
        let is_it = |&label: &usize| head.class_names[label] == *name || shown[label] == *name;
        let labels: Vec<usize> = (0..shown.len()).filter(is_it).collect();
        if labels.is_empty() {
            let message = format!("{}: no class {name:?} in it", path.display());
            Err(CliError::Usage(message))
        } else {
            Ok(labels)
        }
    };
    let labels: Vec<usize> = match classes {
        [] => (0..head.class_names.len()).collect(),
        some => {
            let labels = some.iter().map(labels_of).collect::<Result<Vec<_>>>()?;
            labels.concat()
        }
    };
    let identical: Vec<Vec<&String>> = head
        .identical()
        .iter()
        .map(|group| {
            group
                .iter()
                .map(|&label| &head.class_names[label])
                .collect()
        })
        .collect();
    let all = nearest(&head, &labels, count);
    // All against all would be a large square that nobody reads.
    let square = match classes {
        [] => Vec::new(),
        _ => cosines(&head, &labels),
    };
    if json {
        let document = serde_json::json!({
            "head": path,
            "template": head.template,
            "classes": all,
            "cosines": square,
            "identical": identical,
        });
        return terminal::print_json(&document).map_err(CliError::Output);
    }
    for group in identical {
        let names: Vec<String> = group.iter().map(|name| in_quotes(name)).collect();
        terminal::say(format_args!("note: the same row: {}", names.join(", ")));
    }
    terminal::print(&table(&all, &square)).map_err(CliError::Output)
}

/// A string, or a list of strings.
fn one_or_many<'de, D: serde::Deserializer<'de>>(
    from: D,
) -> std::result::Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(from)? {
        OneOrMany::One(text) => vec![text],
        OneOrMany::Many(texts) => texts,
    })
}

fn usage<T>(message: &str) -> Result<T> {
    Err(CliError::Usage(message.into()))
}

impl ClassifierArgs {
    /// The schema of the `[text]` table.
    fn schema() -> serde_json::Value {
        let command = Self::augment_args(clap::Command::new("text"));
        let shapes = [("template", Shape::OneOrList), ("config", Shape::Typed)];
        schema::of_table(&command, &shapes)
    }

    /// What was typed, and below it what the recipe says.
    fn over(self, recipe: Self) -> Self {
        // The three sources of names exclude each other: one that was typed replaces the recipe's.
        let typed = self.dataset.is_some() || self.classnames.is_some() || self.shards.is_some();
        let names = if typed {
            (self.dataset, self.classnames, self.shards)
        } else {
            (recipe.dataset, recipe.classnames, recipe.shards)
        };
        // What is said of the classes, likewise.
        let says =
            !self.template.is_empty() || self.templates.is_some() || self.descriptors.is_some();
        let (template, templates, descriptors) = if says {
            (self.template, self.templates, self.descriptors)
        } else {
            (recipe.template, recipe.templates, recipe.descriptors)
        };
        Self {
            dataset: names.0,
            classnames: names.1,
            shards: names.2,
            model: self.model.or(recipe.model),
            out: self.out.or(recipe.out),
            template,
            templates,
            descriptors,
            taxonomy: self.taxonomy.or(recipe.taxonomy),
            batch_size: self.batch_size.or(recipe.batch_size),
            max_memory: self.max_memory.or(recipe.max_memory),
            allow_identical: self.allow_identical.or(recipe.allow_identical),
            device: self.device.or(recipe.device),
            config: self.config,
        }
    }
}

/// The class names of the training shards, or of the test shards where those are alone.
fn class_names_of_shards(shards: &Path) -> Result<ClassNames> {
    let dir = split_dir(shards, Split::Train).or_else(|_| split_dir(shards, Split::Test))?;
    Ok(Manifest::load(&dir)?.class_names)
}

/// The [text] table of a recipe; the other tables belong to the other programs.
fn read_table(path: &Path) -> Result<ClassifierArgs> {
    #[derive(Deserialize)]
    struct Recipe {
        text: ClassifierArgs,
    }
    let text = lift_files::text(path, Purpose::Settings).map_err(lift_models::Error::io(path))?;
    let recipe: Recipe = toml::from_str(&text).map_err(|error| CliError::Recipe {
        path: path.into(),
        reason: error.to_string().trim_end().into(),
    })?;
    Ok(recipe.text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_is_what_a_recipe_may_hold() {
        let read = |text: &str| toml::from_str::<ClassifierArgs>(text).map(drop);
        let read = |text: &str| read(text).map_err(|error| error.to_string());
        let found = schema::disagreements(&ClassifierArgs::schema(), read);
        assert_eq!(found, Vec::<String>::new());
    }
}
