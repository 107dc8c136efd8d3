//! The command line of `lift-text`: what was typed becomes [`ClassifierOptions`] here.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use clap::{Args, CommandFactory, Parser, Subcommand};
use lift_clip::DeviceChoice;
use lift_data::{
    classes::ClassNames, dataset::DatasetSpec, layout::split_dir, manifest::Manifest, split::Split,
};
use serde::Deserialize;

use crate::{
    classifier::{ClassifierOptions, build_head},
    prompts::Template,
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
  lift-text classifier --classnames names.txt --model clip --out head.safetensors --template 'a sketch of a {}.'
  lift-text classifier --config pipelines/shapes-lt.toml")]
    Classifier(Box<ClassifierArgs>),
    /// Print a completion script for a shell.
    Completions {
        /// bash, elvish, fish, powershell or zsh.
        shell: clap_complete::Shell,
    },
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
    /// Model folder: config.json, model.safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The classifier file to write.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Prompt with {} for the name [default: "a photo of a {}."].
    #[arg(long)]
    template: Option<String>,
    /// Texts a forward pass [default: 256].
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
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
    Clip(#[from] lift_clip::Error),
    /// The class names cannot be read.
    #[error(transparent)]
    Data(#[from] lift_data::Error),
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
            Self::Usage(_) => 2,
            Self::Clip(_) | Self::Data(_) | Self::Recipe { .. } | Self::Output(_) => 1,
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
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "lift-text", &mut script);
                print(&script)
            }
        }
    }
}

/// Writes to standard output; a reader that went away (`| head`) is no error.
fn print(text: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Output(error)),
        _ => Ok(()),
    }
}

fn classifier(args: ClassifierArgs) -> Result<()> {
    let args = match args.config.clone() {
        Some(path) => args.over(read_table(&path)?),
        None => args,
    };
    let Some(model) = args.model else {
        return usage("no model given\nhint: --model DIR, or `model` in [text] of the recipe");
    };
    let Some(out) = args.out else {
        return usage(
            "no output given\nhint: --out head.safetensors, or `out` in [text] of the recipe",
        );
    };
    let template = match &args.template {
        Some(text) => text.parse().map_err(CliError::Usage)?,
        None => Template::default(),
    };
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
    if let Some(folder) = out.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(lift_clip::Error::io(folder))?;
    }
    let options = ClassifierOptions {
        template,
        batch_size: args.batch_size.unwrap_or(256),
        device,
    };
    let head = build_head(&model, &classes, &options)?;
    head.write(&out)?;
    eprintln!(
        "{}: {} classes x {}, prompt {:?}",
        out.display(),
        classes.len(),
        head.weight.size()[1],
        head.template
    );
    Ok(())
}

fn usage<T>(message: &str) -> Result<T> {
    Err(CliError::Usage(message.into()))
}

impl ClassifierArgs {
    /// What was typed, and below it what the recipe says.
    fn over(self, recipe: Self) -> Self {
        // The three sources of names exclude each other: one that was typed replaces the recipe's.
        let typed = self.dataset.is_some() || self.classnames.is_some() || self.shards.is_some();
        let names = if typed {
            (self.dataset, self.classnames, self.shards)
        } else {
            (recipe.dataset, recipe.classnames, recipe.shards)
        };
        Self {
            dataset: names.0,
            classnames: names.1,
            shards: names.2,
            model: self.model.or(recipe.model),
            out: self.out.or(recipe.out),
            template: self.template.or(recipe.template),
            batch_size: self.batch_size.or(recipe.batch_size),
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
    let text = std::fs::read_to_string(path).map_err(lift_clip::Error::io(path))?;
    let recipe: Recipe = toml::from_str(&text).map_err(|error| CliError::Recipe {
        path: path.into(),
        reason: error.to_string().trim_end().into(),
    })?;
    Ok(recipe.text)
}
