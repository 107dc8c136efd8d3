//! `cargo xtask examples`: reports of three data sets and of a run with a picture of each, into `target/examples/`.
//!
//! `shapes-lt` is drawn; CIFAR-100-LT and the lists of Places-LT are left out, with the reason, where the
//! folder of real data is not there. Invariant: only [`publish`] changes files that git knows.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::run_example::Training;
use crate::steps::{Steps, succeed};
use crate::{demo, python_env, run_example, setup, tools};

const FOLDER: &str = "target/examples";
const IMAGES: &str = "docs/images";
/// The most bytes that a picture may have.
const MOST_BYTES: u64 = 300_000;

/// An example: its name, what makes its data, and what is reported on.
struct Example {
    name: &'static str,
    /// Relative to the folder of real data; `None`: it is drawn.
    needs: Option<&'static str>,
    /// Arguments of `lift-data` that make the data, where it is more than lists; `{data}` is the folder of
    /// real data.
    steps: &'static [&'static str],
    report: &'static str,
}

const EXAMPLES: [Example; 3] = [
    Example {
        name: "shapes-lt",
        needs: None,
        steps: &[
            "draw shapes-lt --out target/examples/shapes-lt",
            "build shapes-lt --source target/examples/shapes-lt --out target/examples/shapes-lt-shards",
        ],
        report: "target/examples/shapes-lt-shards",
    },
    Example {
        name: "cifar100-lt",
        needs: Some("cifar100"),
        steps: &[
            "build cifar100-lt --source {data}/cifar100 --out target/examples/cifar100-lt-shards",
        ],
        report: "target/examples/cifar100-lt-shards",
    },
    Example {
        name: "places-lt",
        needs: Some("splits/places-lt"),
        steps: &[],
        report: "target/examples/places-lt",
    },
];

/// Sets up, builds the examples and puts their pictures into `docs/images/`.
pub fn run(checkout: &Checkout, steps: &mut Steps) -> Result<()> {
    let jpeg = setup::run(checkout, steps)?;
    steps.run("python environment", || python_env::set_up(checkout))?;
    steps.command(
        "cargo build --locked",
        checkout
            .cargo()
            .args(["build", "--locked"])
            .args(jpeg.cargo_args()),
    )?;
    let pictures = build(checkout, steps, Training::Whole)?;
    publish(checkout, &pictures)?;
    steps.print_times();
    Ok(())
}

/// Writes the reports and, where Chromium is there, their pictures; says which pictures.
pub fn build(checkout: &Checkout, steps: &mut Steps, training: Training) -> Result<Vec<PathBuf>> {
    let folder = checkout.root.join(FOLDER);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    let program = demo::program_folder()?.join("lift-data");
    let data = real_data(checkout);
    let chromium = tools::chromium();
    let mut pictures = Vec::new();
    for example in &EXAMPLES {
        if let Some(needed) = example.needs
            && !data.join(needed).exists()
        {
            eprintln!(
                "skipped: {}: {} is not there",
                example.name,
                data.join(needed).display()
            );
            continue;
        }
        let run = |line: &str| -> Result<()> {
            let words = line
                .split(' ')
                .map(|word| word.replace("{data}", &data.display().to_string()));
            succeed(checkout.command(&program).args(words))
        };
        let page = format!("{FOLDER}/{}.html", example.name);
        steps.run(&format!("report of {}", example.name), || {
            match example.needs {
                // Beside the others, so that no path of this machine is on the page.
                Some(lists) if example.steps.is_empty() => {
                    copy_lists(&data.join(lists), &checkout.root.join(example.report))?;
                }
                _ => example.steps.iter().try_for_each(|line| run(line))?,
            }
            let others =
                ["json", "md"].map(|kind| format!(" --{kind} {FOLDER}/{}.{kind}", example.name));
            run(&format!(
                "report {} --html {page}{}",
                example.report,
                others.concat()
            ))
        })?;
        let Some(chromium) = &chromium else {
            continue;
        };
        let picture = checkout
            .root
            .join(format!("{FOLDER}/report-{}.png", example.name));
        steps.run(&format!("picture of {}", example.name), || {
            let mut command = checkout.command(checkout.root.join(".venv/bin/python"));
            command
                .arg("xtask/pages/chromium.py")
                .arg(chromium)
                .arg(&page);
            command
                .arg("--shot")
                .arg(&picture)
                .args(["1280", "light", "1330"]);
            look(&mut command)
        })?;
        pictures.push(picture);
    }
    let page = run_example::build(checkout, steps, training)?;
    if let Some(chromium) = &chromium {
        let picture = checkout.root.join(format!("{FOLDER}/report-run.png"));
        steps.run("picture of a run", || {
            let mut command = checkout.command(checkout.root.join(".venv/bin/python"));
            command
                .arg("xtask/pages/chromium.py")
                .arg(chromium)
                .arg(&page)
                .arg("--shot")
                .arg(&picture)
                .args(["1280", "light", "1330"]);
            look(&mut command)
        })?;
        pictures.push(picture);
    }
    Ok(pictures)
}

/// Runs the script that looks at a page; what it saw must be in order.
fn look(command: &mut Command) -> Result<()> {
    let output = command.output().context("python: cannot be started")?;
    if !output.status.success() {
        bail!("chromium.py: {}", String::from_utf8_lossy(&output.stderr));
    }
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    for (key, wanted) in [("overflow", false), ("overflow_on_a_phone", false)] {
        if seen[key] != wanted {
            bail!("the page is wider than its window: {key}");
        }
    }
    if seen["console"]
        .as_array()
        .is_none_or(|messages| !messages.is_empty())
    {
        bail!("the page's console says {}", seen["console"]);
    }
    Ok(())
}

/// Copies pictures into the documentation, each small enough.
fn publish(checkout: &Checkout, pictures: &[PathBuf]) -> Result<()> {
    let images = checkout.root.join(IMAGES);
    fs::create_dir_all(&images).with_context(|| images.display().to_string())?;
    for picture in pictures {
        let bytes = fs::metadata(picture)
            .with_context(|| picture.display().to_string())?
            .len();
        if bytes > MOST_BYTES {
            bail!(
                "{}: {bytes} bytes, a picture has at most {MOST_BYTES}",
                picture.display()
            );
        }
        let to = images.join(picture.file_name().context("a picture has a name")?);
        fs::copy(picture, &to).with_context(|| to.display().to_string())?;
        eprintln!(
            "{IMAGES}/{}: {bytes} bytes",
            to.file_name().unwrap_or_default().display()
        );
    }
    Ok(())
}

fn copy_lists(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for name in ["train.txt", "val.txt", "test.txt", "classnames.txt"] {
        let bytes =
            fs::read(from.join(name)).with_context(|| from.join(name).display().to_string())?;
        fs::write(to.join(name), bytes).with_context(|| to.join(name).display().to_string())?;
    }
    Ok(())
}

/// Where real data is, as for the tests: `LIFT_SHARED`, or `shared` beside the checkout.
fn real_data(checkout: &Checkout) -> PathBuf {
    env::var_os("LIFT_SHARED")
        .map_or_else(|| checkout.root.join("../shared"), PathBuf::from)
        .join("data")
}
