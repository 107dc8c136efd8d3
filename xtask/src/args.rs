//! What was typed after `cargo xtask`, turned into what is meant. Reads nothing but its input.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::bench::BenchOptions;

/// The help text; fits a screen.
pub const HELP: &str = "\
Sets this checkout up, tests it and runs its demo.

Usage: cargo xtask <COMMAND>

Commands:
  setup                  get libtorch 2.11.0 into .libtorch/ (reuses what is there)
  test                   setup, then rustfmt, clippy and all tests
  demo [--seed N]        setup, then the whole job on drawn images, into demo/
  examples               setup, then reports of three data sets into target/examples/,
                         their pictures (Chromium) into docs/images/
  bench [OPTIONS]        setup, then measure every stage from photos to batches, in target/bench/
    --peers              beside other loaders, which pip fetches (gigabytes)
    --step               a step of training and of evaluation instead, beside PyTorch on this CPU
    --quick              few short rounds of the programs as `cargo build` makes them
    --json FILE          write the result as JSON too
  gpu-bundle [--out DIR] setup, then a folder to check a machine with a GPU with, into
                         target/gpu-bundle/; `bash gpu-check.sh` in it does
  wheels [--quick]       setup, then the Python wheels lift-data and lift-longtail, into
                         target/wheels/; --quick: of programs as `cargo build` makes them
  dist [--quick]         wheels, and a tarball of the programs with a script that installs them,
                         with checksums, into target/dist/
  pretrain-demo [ARGS]   setup, then train models/shapes-clip anew; ARGS go to the trainer

Environment:
  LIBTORCH               a folder with libtorch 2.11.0 to use instead of .libtorch/torch
  LIBTORCH_USE_PYTORCH   use the libtorch of the PyTorch 2.11 that python3 imports

Exit codes: 0 all went well, 1 a step failed, 2 wrong usage
";

/// What the user asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Print [`HELP`].
    Help,
    /// Get libtorch.
    Setup,
    /// Set up and run every check.
    Test,
    /// Set up and run the main job on the embedded dataset.
    Demo {
        /// Seed of the drawings and of training.
        seed: u64,
    },
    /// Set up and make the example reports and their pictures.
    Examples,
    /// Set up and measure the stages.
    Bench(BenchOptions),
    /// Set up and make the folder that a GPU is checked with.
    GpuBundle {
        /// Where; `None`: `target/gpu-bundle`.
        out: Option<PathBuf>,
    },
    /// Set up and build the Python wheels.
    Wheels {
        /// Of programs that are not optimised.
        is_quick: bool,
    },
    /// Set up and make what a release has.
    Dist {
        /// Of programs that are not optimised.
        is_quick: bool,
    },
    /// Set up and make the demo's CLIP anew.
    PretrainDemo {
        /// Passed on to the trainer as they are.
        rest: Vec<String>,
    },
}

/// The request in `args` (without the program's name), or what is wrong with them.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Request> {
    let mut args = args.into_iter();
    let Some(command) = args.next() else {
        bail!("no command given");
    };
    let rest: Vec<String> = args.collect();
    if command == "pretrain-demo" {
        return Ok(Request::PretrainDemo { rest });
    }
    if ["-h", "--help", "help"].contains(&command.as_str())
        || rest.iter().any(|arg| arg == "-h" || arg == "--help")
    {
        return Ok(Request::Help);
    }
    match (command.as_str(), rest.as_slice()) {
        ("setup", []) => Ok(Request::Setup),
        ("test", []) => Ok(Request::Test),
        ("examples", []) => Ok(Request::Examples),
        ("wheels", rest) => Ok(Request::Wheels {
            is_quick: is_quick(&command, rest)?,
        }),
        ("dist", rest) => Ok(Request::Dist {
            is_quick: is_quick(&command, rest)?,
        }),
        ("demo", rest) => Ok(Request::Demo { seed: seed(rest)? }),
        ("bench", rest) => Ok(Request::Bench(bench(rest)?)),
        ("gpu-bundle", rest) => Ok(Request::GpuBundle { out: out(rest)? }),
        ("setup" | "test" | "examples", [extra, ..]) => {
            bail!("`{command}` takes no argument `{extra}`")
        }
        _ => bail!("there is no command `{command}`"),
    }
}

fn is_quick(command: &str, rest: &[String]) -> Result<bool> {
    match rest {
        [] => Ok(false),
        [flag] if flag == "--quick" => Ok(true),
        [extra, ..] => bail!("`{command}` takes `--quick` only, not `{extra}`"),
    }
}

fn bench(rest: &[String]) -> Result<BenchOptions> {
    let mut options = BenchOptions::default();
    let mut rest = rest.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--peers" => options.peers = true,
            "--quick" => options.quick = true,
            "--step" => options.step = true,
            "--json" => options.json = Some(rest.next().context("`--json` needs a file")?.into()),
            other => bail!("`bench` takes no argument `{other}`"),
        }
    }
    if options.peers && options.step {
        bail!("`bench` takes `--peers` or `--step`, which is beside PyTorch alone");
    }
    Ok(options)
}

fn out(rest: &[String]) -> Result<Option<PathBuf>> {
    match rest {
        [] => Ok(None),
        [flag, value] if flag == "--out" => Ok(Some(value.into())),
        [one] if one.starts_with("--out=") => Ok(Some(one["--out=".len()..].into())),
        [flag] if flag == "--out" => bail!("`--out` needs a folder"),
        [first, ..] => bail!("`gpu-bundle` takes `--out DIR` only, not `{first}`"),
    }
}

fn seed(rest: &[String]) -> Result<u64> {
    let text = match rest {
        [] => return Ok(0),
        [flag, value] if flag == "--seed" => value,
        [one] if one.starts_with("--seed=") => &one["--seed=".len()..],
        [flag] if flag == "--seed" => bail!("`--seed` needs a number"),
        [first, ..] => bail!("`demo` takes `--seed N` only, not `{first}`"),
    };
    text.parse()
        .with_context(|| format!("`--seed {text}` is not a whole number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Request> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn commands_are_recognised() {
        assert_eq!(parse_words("setup").unwrap(), Request::Setup);
        assert_eq!(parse_words("test").unwrap(), Request::Test);
        let wheels = |is_quick| Request::Wheels { is_quick };
        assert_eq!(parse_words("wheels").unwrap(), wheels(false));
        assert_eq!(parse_words("wheels --quick").unwrap(), wheels(true));
        assert!(parse_words("wheels --fast").is_err());
        let dist = |is_quick| Request::Dist { is_quick };
        assert_eq!(parse_words("dist").unwrap(), dist(false));
        assert_eq!(parse_words("dist --quick").unwrap(), dist(true));
        assert!(parse_words("dist now").is_err());
        assert_eq!(parse_words("examples").unwrap(), Request::Examples);
        assert_eq!(parse_words("demo").unwrap(), Request::Demo { seed: 0 });
        let seven = Request::Demo { seed: 7 };
        assert_eq!(parse_words("demo --seed 7").unwrap(), seven);
        assert_eq!(parse_words("demo --seed=7").unwrap(), seven);
        for line in ["-h", "--help", "help", "demo -h", "setup --help"] {
            assert_eq!(parse_words(line).unwrap(), Request::Help, "{line}");
        }
    }

    #[test]
    fn a_bench_is_told_how() {
        assert_eq!(
            parse_words("bench").unwrap(),
            Request::Bench(BenchOptions::default())
        );
        let all = BenchOptions {
            json: Some("out.json".into()),
            quick: true,
            peers: true,
            step: false,
        };
        assert_eq!(
            parse_words("bench --peers --json out.json --quick").unwrap(),
            Request::Bench(all)
        );
        assert!(parse_words("bench --peers --step").is_err());
    }

    #[test]
    fn a_bundle_may_be_told_where() {
        for (line, out) in [
            ("gpu-bundle", None),
            ("gpu-bundle --out b", Some("b".into())),
            ("gpu-bundle --out=b", Some("b".into())),
        ] {
            assert_eq!(parse_words(line).unwrap(), Request::GpuBundle { out });
        }
    }

    #[test]
    fn the_trainer_gets_its_arguments_untouched() {
        let rest = vec!["--epochs".to_owned(), "3".to_owned(), "-h".to_owned()];
        let request = parse_words("pretrain-demo --epochs 3 -h").unwrap();
        assert_eq!(request, Request::PretrainDemo { rest });
    }

    #[test]
    fn wrong_usage_names_what_is_wrong() {
        for (line, wanted) in [
            ("", "no command"),
            ("tset", "`tset`"),
            ("test --all", "`--all`"),
            ("demo --seed", "needs a number"),
            ("demo --seed x", "`--seed x`"),
            ("demo --sead 1", "`--sead`"),
            ("bench --json", "needs a file"),
            ("bench --fast", "`--fast`"),
            ("gpu-bundle --out", "needs a folder"),
            ("gpu-bundle --into x", "`--into`"),
        ] {
            let message = parse_words(line).unwrap_err().to_string();
            assert!(message.contains(wanted), "{line}: {message}");
        }
    }
}
