//! Gets libtorch 2.11.0 into `.libtorch/`, or says which other one the build will take.
//!
//! Does not build anything, and asks no server itself: pip downloads, and checks the hashes.
//! Invariant: `.libtorch/` is put in place by one rename, so it is whole or not there.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::checkout::Checkout;
use crate::steps::{Steps, succeed};
use crate::tools::{self, remove_any};

/// The version that tch 0.24 is made for.
const VERSION: &str = "2.11.0";
const REQUIREMENTS: &str = include_str!("../requirements-libtorch.txt");
const UNPACK: &str = include_str!("unpack.py");
const DOWNLOAD_ATTEMPTS: u32 = 3;
/// Without these the folder is not what [`set_up`] made.
const PROOF: [&str; 6] = [
    "torch/lib/libtorch_cpu.so",
    "torch/lib/libtorch.so",
    "torch/lib/libc10.so",
    "torch/include/torch/csrc/api/include/torch/torch.h",
    "nvidia/cu13/lib/libcudart.so.13",
    "nvidia/cu13/lib/libcupti.so.13",
];

/// After this `cargo build` finds a libtorch. The set-up's lock is held.
pub fn set_up(checkout: &Checkout, steps: &mut Steps) -> Result<()> {
    // torch-sys takes any value of the variable, even an empty one, for a yes; so does this.
    if checkout.user_env("LIBTORCH_USE_PYTORCH").is_some() {
        return check_pytorch();
    }
    if let Some(given) = checkout.user_env("LIBTORCH") {
        let any_version = checkout.user_env("LIBTORCH_BYPASS_VERSION_CHECK").is_some();
        return check_given(&given, any_version);
    }
    let own = checkout.root.join(".libtorch");
    if is_whole(&own) {
        eprintln!("libtorch {VERSION} is there: .libtorch/torch");
        return Ok(());
    }
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        bail!(
            "this platform has no pinned libtorch: only Linux on x86-64 has\n\
             hint: set LIBTORCH to a folder with libtorch {VERSION}"
        );
    }
    tools::need_pip()?;
    fetch(checkout, &own, steps)?;
    steps.print_times();
    Ok(())
}

/// A requirement of the pinned list.
#[derive(Debug, PartialEq, Eq)]
struct Pin<'a> {
    name: &'a str,
    version: &'a str,
    sha256: &'a str,
}

/// The pins of a requirements file in which each has exactly one hash.
fn parse_pins(text: &str) -> Result<Vec<Pin<'_>>> {
    let mut words = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(str::split_whitespace)
        .filter(|word| *word != "\\");
    let mut pins = Vec::new();
    while let Some(requirement) = words.next() {
        let (name, version) = requirement
            .split_once("==")
            .with_context(|| format!("`{requirement}` has no `==`"))?;
        let sha256 = words
            .next()
            .and_then(|word| word.strip_prefix("--hash=sha256:"))
            .with_context(|| format!("`{requirement}` is not followed by its sha256"))?;
        ensure!(
            sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()),
            "`{requirement}` has a sha256 that is not 64 hexadecimal digits"
        );
        pins.push(Pin {
            name,
            version,
            sha256,
        });
    }
    Ok(pins)
}

fn is_whole(own: &Path) -> bool {
    is_version(&own.join("torch")) && PROOF.iter().all(|file| own.join(file).is_file())
}

fn is_version(torch: &Path) -> bool {
    fs::read_to_string(torch.join("build-version")).is_ok_and(|text| text.trim() == VERSION)
}

/// Refuses a folder that holds no libtorch, or another version than [`VERSION`] unless `any_version`.
fn check_given(given: &Path, any_version: bool) -> Result<()> {
    let library = given.join("lib/libtorch_cpu.so");
    if !library.is_file() {
        bail!(
            "{}: not found, though LIBTORCH says that libtorch is there\n\
             hint: unset LIBTORCH, or let it name the folder that has lib/ and include/",
            library.display()
        );
    }
    let version = version_of(
        fs::read_to_string(given.join("build-version")).ok(),
        fs::read_to_string(given.join("version.py")).ok(),
    );
    match version {
        Some(version) if !version.starts_with(VERSION) && !any_version => bail!(
            "{}: is libtorch {version}, though {VERSION} is needed\n\
             hint: unset LIBTORCH to have {VERSION} fetched, or set LIBTORCH_BYPASS_VERSION_CHECK=1 to try this one",
            given.display()
        ),
        Some(version) => eprintln!("libtorch {version} as LIBTORCH says: {}", given.display()),
        None => eprintln!(
            "libtorch as LIBTORCH says: {}; it does not tell its version, {VERSION} is needed",
            given.display()
        ),
    }
    Ok(())
}

/// The version that a libtorch folder tells in `build-version`, else in PyTorch's `version.py`.
fn version_of(build_version: Option<String>, version_py: Option<String>) -> Option<String> {
    let told = build_version.map(|text| text.trim().to_owned());
    told.filter(|version| !version.is_empty()).or_else(|| {
        let text = version_py?;
        let value = text.lines().find_map(|line| {
            let (_, value) = line.strip_prefix("__version__")?.split_once('=')?;
            Some(value.trim().trim_matches(['\'', '"']).to_owned())
        });
        value.filter(|version| !version.is_empty())
    })
}

fn check_pytorch() -> Result<()> {
    // The same choice of interpreter as torch-sys makes.
    let python = match std::env::var_os("VIRTUAL_ENV") {
        Some(_) => "python",
        None => "python3",
    };
    let output = Command::new(python)
        .args(["-c", "import torch; print(torch.__version__)"])
        .output()
        .with_context(|| format!("{python}: cannot be started"))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // `2.11.0` or `2.11.0+cu130`
    if !output.status.success() || version.split('+').next() != Some(VERSION) {
        let found = match version.as_str() {
            "" => "no PyTorch".to_owned(),
            version => format!("PyTorch {version}"),
        };
        bail!(
            "LIBTORCH_USE_PYTORCH is set, but `{python}` imports {found}; {VERSION} is needed\n\
             hint: unset LIBTORCH_USE_PYTORCH, or pip install torch=={VERSION}"
        );
    }
    eprintln!("libtorch as LIBTORCH_USE_PYTORCH says: PyTorch {version} of `{python}`");
    Ok(())
}

/// Downloads and unpacks beside `own`, then puts the result in its place.
fn fetch(checkout: &Checkout, own: &Path, steps: &mut Steps) -> Result<()> {
    let work = checkout.root.join(".libtorch.tmp");
    remove_any(&work)?; // what a killed run left
    let result = fetch_into(checkout, own, &work, steps);
    let cleaned = remove_any(&work);
    result.and(cleaned)
}

fn fetch_into(checkout: &Checkout, own: &Path, work: &Path, steps: &mut Steps) -> Result<()> {
    let wheels = work.join("wheels");
    let tree = work.join("tree");
    let pip_temporary = work.join("pip");
    for folder in [&wheels, &tree, &pip_temporary] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let names: Vec<String> = parse_pins(REQUIREMENTS)?
        .iter()
        .map(|pin| format!("{} {}", pin.name, pin.version))
        .collect();
    steps.run("download libtorch", || {
        eprintln!("544 MB by pip: {}", names.join(", "));
        for attempt in 1.. {
            let mut pip = pip_download(checkout, &wheels, &pip_temporary);
            if attempt == DOWNLOAD_ATTEMPTS {
                pip.arg("--no-cache-dir"); // in case it is the cache that is broken
            }
            match succeed(&mut pip) {
                Ok(()) => break,
                Err(error) if attempt == DOWNLOAD_ATTEMPTS => bail!(
                    "pip cannot download it: {error:#}\n\
                     hint: see pip's message above; PIP_INDEX_URL sets a mirror, and LIBTORCH \
                     names a libtorch {VERSION} that you already have"
                ),
                Err(error) => eprintln!("attempt {attempt} of {DOWNLOAD_ATTEMPTS}: {error:#}"),
            }
            thread::sleep(Duration::from_secs(2 * u64::from(attempt)));
        }
        Ok(())
    })?;
    steps.run("unpack libtorch", || {
        eprintln!("499 MB: libraries and headers");
        let mut unpack = checkout.command("python3");
        succeed(unpack.args(["-c", UNPACK]).args([&wheels, &tree]))?;
        let version = tree.join("torch/build-version");
        fs::write(&version, format!("{VERSION}\n"))
            .with_context(|| version.display().to_string())?;
        ensure!(is_whole(&tree), "the wheels do not hold what was expected");
        remove_any(own)?; // of another version, or not whole
        fs::rename(&tree, own).with_context(|| own.display().to_string())?;
        File::open(&checkout.root)
            .and_then(|folder| folder.sync_all())
            .with_context(|| checkout.root.display().to_string())
    })
}

/// The platform and Python of the pinned wheels, whatever Python runs pip.
fn pip_download(checkout: &Checkout, wheels: &Path, temporary: &Path) -> Command {
    let mut pip = checkout.command("python3");
    pip.args(["-m", "pip", "download", "--disable-pip-version-check"]);
    if !std::io::stdout().is_terminal() {
        pip.arg("--quiet"); // on a terminal it shows a progress bar
    }
    pip.args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
        .args([
            "--implementation",
            "cp",
            "--python-version",
            "3.11",
            "--abi",
            "cp311",
        ])
        .args(["--platform", "manylinux_2_28_x86_64"])
        .args(["--platform", "manylinux_2_25_x86_64"])
        .args(["--platform", "manylinux_2_17_x86_64"])
        .args(["--platform", "manylinux2014_x86_64"])
        .args(["--requirement", "xtask/requirements-libtorch.txt", "--dest"])
        .arg(wheels)
        // A wheel passes through here; the system's own folder may be small.
        .env("TMPDIR", temporary);
    pip
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pins_are_what_tch_needs() {
        let pins = parse_pins(REQUIREMENTS).unwrap();
        let names: Vec<&str> = pins.iter().map(|pin| pin.name).collect();
        assert_eq!(names, ["torch", "nvidia-cuda-runtime", "nvidia-cuda-cupti"]);
        assert_eq!(pins[0].version, VERSION);
    }

    #[test]
    fn a_pin_needs_a_version_and_one_hash() {
        let hash = "a".repeat(64);
        let good = format!("# c\na==1 \\\n  --hash=sha256:{hash}\n");
        let wanted = Pin {
            name: "a",
            version: "1",
            sha256: &hash,
        };
        assert_eq!(parse_pins(&good).unwrap(), [wanted]);
        assert_eq!(parse_pins("# nothing\n").unwrap(), []);
        for bad in [
            "a",
            "a==1",
            "a==1 --hash=md5:00",
            "a==1 --hash=sha256:00",
            "a==1 b==2",
        ] {
            assert!(parse_pins(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_libtorch_tells_its_version_in_one_of_two_files() {
        let version = |build: Option<&str>, python: Option<&str>| {
            version_of(build.map(str::to_owned), python.map(str::to_owned))
        };
        let python = "from typing import Optional\n\n__all__ = ['__version__', 'debug']\n\
                      __version__ = '2.11.0+cpu'\ndebug = False\n";
        assert_eq!(version(None, Some(python)).unwrap(), "2.11.0+cpu");
        assert_eq!(
            version(Some("2.10.0+cpu\n"), Some(python)).unwrap(),
            "2.10.0+cpu"
        );
        assert_eq!(version(Some("\n"), Some(python)).unwrap(), "2.11.0+cpu");
        let typed = "__version__: str = \"2.11.0\"\n";
        assert_eq!(version(None, Some(typed)).unwrap(), "2.11.0");
        assert_eq!(version(None, Some("debug = False\n")), None);
        assert_eq!(version(None, None), None);
    }

    #[test]
    fn a_given_libtorch_of_another_version_is_refused() {
        let given = std::env::temp_dir().join(format!("lift-xtask-given-{}", std::process::id()));
        fs::create_dir_all(given.join("lib")).unwrap();
        fs::write(given.join("lib/libtorch_cpu.so"), "").unwrap();
        assert!(check_given(&given, false).is_ok(), "it tells no version");
        fs::write(given.join("build-version"), "2.11.0+cpu\n").unwrap();
        assert!(check_given(&given, false).is_ok());
        fs::write(given.join("build-version"), "2.10.0+cpu\n").unwrap();
        let message = check_given(&given, false).unwrap_err().to_string();
        assert!(
            message.contains(": is libtorch 2.10.0+cpu, though 2.11.0 is needed\nhint: "),
            "{message}"
        );
        assert!(check_given(&given, true).is_ok());
        remove_any(&given).unwrap();
    }

    #[test]
    fn a_folder_without_its_proof_is_not_whole() {
        let own = std::env::temp_dir().join(format!("lift-xtask-{}", std::process::id()));
        for file in PROOF {
            let path = own.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert!(!is_whole(&own), "no build-version");
        fs::write(own.join("torch/build-version"), "2.10.0\n").unwrap();
        assert!(!is_whole(&own), "another version");
        fs::write(own.join("torch/build-version"), "2.11.0\n").unwrap();
        assert!(is_whole(&own));
        fs::remove_file(own.join(PROOF[0])).unwrap();
        assert!(!is_whole(&own), "a library is gone");
        remove_any(&own).unwrap();
        assert!(!own.exists());
    }
}
