//! `lift fit`: photos -> shards -> classifier -> run with the settings that are advised -> report.

use std::ffi::OsStr;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use twox_hash::XxHash3_64;

use crate::programs::Programs;
use crate::runs::{self, Next, Wishes};
use crate::summary;

/// What is typed for it.
#[derive(Debug, Args)]
pub(crate) struct FitArgs {
    /// Folder of class folders, or of train/ and test/ with them; or shards
    #[arg(value_name = "PHOTOS")]
    pub photos: PathBuf,
    /// Folder, file, or org/name on Hugging Face
    #[arg(long, value_name = "MODEL")]
    pub model: PathBuf,
    /// Folder that gets shards, classifier and numbered runs
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Share of each class that is held out where there is no test split
    #[arg(long, value_name = "F", default_value_t = 0.2, value_parser = share)]
    pub holdout: f64,
    /// A new run, even where one with these settings is there
    #[arg(long)]
    pub again: bool,
    /// Print one JSON document instead of the summary
    #[arg(long)]
    pub json: bool,
    /// More arguments of `lift-train`, behind --
    #[arg(last = true, value_name = "ARGS")]
    pub train: Vec<String>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| *share > 0.0 && *share < 1.0);
    share.ok_or_else(|| "it is a share between 0 and 1, such as 0.2".to_owned())
}

const IDENTICAL: &str = "--allow-identical";

/// Does what was typed.
///
/// # Errors
/// When the photos are not there, or a program fails, which has then said why.
pub(crate) fn run(args: &FitArgs) -> Result<()> {
    let mut programs = Programs::default();
    if !args.photos.is_dir() {
        bail!(
            "{}: not a folder\nhint: give a folder of class folders, or of train/ and test/ with them; `lift-data build` reads lists, tables and archives",
            args.photos.display()
        );
    }
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let shards = shards(args, &mut programs)?;
    let head = args.out.join("head.safetensors");
    let model = args.model.as_os_str();
    // Classes whose names the model cannot tell apart begin alike and are tuned apart; `lift-text` says which they are.
    let text: [&OsStr; 8] = [
        "classifier".as_ref(),
        "--shards".as_ref(),
        shards.as_os_str(),
        "--model".as_ref(),
        model,
        "--out".as_ref(),
        head.as_os_str(),
        IDENTICAL.as_ref(),
    ];
    programs.run("lift-text", &text)?;

    let mut train: Vec<String> = vec!["--shards".into(), word(&shards)?];
    train.extend(["--model".into(), word(&args.model)?]);
    train.extend(["--head".into(), word(&head)?]);
    train.extend(advised(&shards, model, &mut programs)?);
    train.push(IDENTICAL.into());
    train.extend(args.train.iter().cloned());
    let wishes = Wishes {
        train,
        shards: hash_of(&shards)?,
    };
    let run = match runs::next(&args.out, &wishes, args.again)? {
        Next::Finished(run) => run,
        Next::Resume(run) => {
            programs.run("lift-train", &["resume".as_ref(), run.as_os_str()])?;
            run
        }
        Next::Begin(run) => {
            runs::ask(&run, &wishes)?;
            let words = wishes.train.iter().map(|word| OsStr::new(word.as_str()));
            let mut words: Vec<&OsStr> = words.collect();
            words.extend([OsStr::new("--out"), run.as_os_str()]);
            programs.run("lift-train", &words)?;
            run
        }
    };
    summary::report(&run, &mut programs)?;
    summary::print(&run, &programs, args.json)
}

/// The shards of the photos: those that are there, or new ones.
fn shards(args: &FitArgs, programs: &mut Programs) -> Result<PathBuf> {
    if is_shards(&args.photos) {
        return Ok(args.photos.clone());
    }
    let shards = args.out.join("shards");
    let holdout = args.holdout.to_string();
    let mut build: Vec<&OsStr> = ["build", "folder", "--source"].map(OsStr::new).to_vec();
    build.extend([
        args.photos.as_os_str(),
        "--out".as_ref(),
        shards.as_os_str(),
    ]);
    let has_test = args.photos.join("test").is_dir() && args.photos.join("train").is_dir();
    if !has_test {
        build.extend([OsStr::new("--holdout"), holdout.as_ref()]);
    }
    programs.run("lift-data", &build)?;
    Ok(shards)
}

fn is_shards(folder: &Path) -> bool {
    folder.join("train/manifest.json").is_file()
}

/// What `lift-train advise` would type after shards, model and classifier.
fn advised(shards: &Path, model: &OsStr, programs: &mut Programs) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Advice {
        commands: Vec<Vec<String>>,
    }
    let args: [&OsStr; 6] = [
        "advise".as_ref(),
        "--shards".as_ref(),
        shards.as_os_str(),
        "--model".as_ref(),
        model,
        "--json".as_ref(),
    ];
    let json = programs.ask("lift-train", &args)?;
    let advice: Advice = serde_json::from_slice(&json).context("lift-train advise --json")?;
    let mut train = advice.commands.into_iter().rev();
    let words = train.find(|words| words.first().is_some_and(|name| name == "lift-train"));
    let words = words.context("lift-train advise names no command of lift-train")?;
    let mut words = words.into_iter().skip(1);
    let mut settings = Vec::new();
    while let Some(flag) = words.next() {
        match flag.as_str() {
            "--shards" | "--model" | "--head" | "--out" => drop(words.next()),
            _ => settings.push(flag),
        }
    }
    Ok(settings)
}

/// A hash of the manifests of the splits, each of which has those of its files.
fn hash_of(shards: &Path) -> Result<String> {
    let mut hash = XxHash3_64::new();
    for split in ["train", "val", "test"] {
        let path = shards.join(split).join("manifest.json");
        match fs::read(&path) {
            Ok(bytes) => {
                hash.write(split.as_bytes());
                hash.write(&bytes);
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| path.display().to_string()),
        }
    }
    Ok(format!("{:016x}", hash.finish()))
}

fn word(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.with_context(|| format!("{}: a path that is not UTF-8", path.display()))
}
