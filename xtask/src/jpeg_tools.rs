//! What libjpeg-turbo is built with: CMake and, on x86, an assembler. The machine's own are taken; what it lacks goes into
//! `.tools/`, without root and without a question. Where that fails, the programs are built with the decoder in plain Rust.
//!
//! Builds nothing itself. Invariant: each tool is put in place by one rename, so it is whole or not there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::checkout::Checkout;
use crate::steps::succeed;
use crate::tools::{pip_install, remove_any, runs};

const REQUIREMENTS: &str = "xtask/requirements-cmake.txt";
/// libjpeg-turbo takes either; in the order in which CMake looks for them.
const ASSEMBLERS: [&str; 2] = ["nasm", "yasm"];

/// What reads and writes JPEG in the programs that this checkout builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JpegLibrary {
    /// libjpeg-turbo, compiled from source.
    Turbo,
    /// zune-jpeg and jpeg-encoder.
    PlainRust,
}

impl JpegLibrary {
    /// The arguments that cargo needs for it.
    pub fn cargo_args(self) -> &'static [&'static str] {
        match self {
            JpegLibrary::Turbo => &[],
            JpegLibrary::PlainRust => &["--no-default-features"],
        }
    }
}

/// Finds or gets the tools; what could not be had is said, with what it costs and how to get it.
pub fn set_up(checkout: &Checkout) -> JpegLibrary {
    let tools = Tools {
        checkout,
        folder: checkout.root.join(".tools"),
    };
    let result = tools.need_cmake().and_then(|()| tools.need_assembler());
    match result {
        Ok(()) => JpegLibrary::Turbo,
        Err(reason) => {
            eprintln!("{}", without_turbo(&format!("{reason:#}")));
            JpegLibrary::PlainRust
        }
    }
}

/// The figures are those of `docs/decoding.md`.
fn without_turbo(reason: &str) -> String {
    format!(
        "libjpeg-turbo is left out: {reason}\n\
         JPEG is decoded in plain Rust instead: photos of 500x375 take 1.2 times as long, of 1600x1200 twice as long, and \
         pixels differ by a grey level here and there.\n\
         hint: install cmake and nasm (Debian, Ubuntu: apt-get install cmake nasm; Fedora: dnf install cmake nasm) and run \
         this again; plain cargo commands need `--no-default-features` until then"
    )
}

struct Tools<'a> {
    checkout: &'a Checkout,
    /// `.tools/`: programs in `bin/`, and beside it what they belong to.
    folder: PathBuf,
}

impl Tools<'_> {
    fn need_cmake(&self) -> Result<()> {
        let given = self.checkout.user_env("CMAKE");
        if let Some(program) = given {
            ensure!(
                answers(&program),
                "{}: does not run, though CMAKE says that it is CMake",
                program.display()
            );
            return Ok(());
        }
        if answers("cmake") || self.has("cmake") {
            return Ok(());
        }
        eprintln!("no cmake here: its wheel goes into .tools/");
        let work = self.fresh("cmake.tmp")?;
        let mut pip = pip_install(self.checkout, REQUIREMENTS, &work);
        pip.arg("--require-hashes");
        succeed(&mut pip).context("there is no cmake, and pip cannot get it")?;
        self.keep("cmake", &work, "cmake/data/bin/cmake")
    }

    fn need_assembler(&self) -> Result<()> {
        let needs_one = cfg!(any(target_arch = "x86_64", target_arch = "x86"));
        if !needs_one || ASSEMBLERS.into_iter().any(answers) || self.has("nasm") {
            return Ok(());
        }
        let package_tools = ["apt-get", "dpkg-deb"];
        if !package_tools.into_iter().all(answers) {
            bail!(
                "there is no assembler (nasm or yasm), and it cannot be fetched without root here"
            );
        }
        eprintln!("no assembler here: nasm's package is unpacked into .tools/, not installed");
        let work = self.fresh("nasm.tmp")?;
        self.unpack_nasm(&work)
            .context("there is no assembler (nasm or yasm), and apt-get cannot fetch one")?;
        self.keep("nasm", &work, "usr/bin/nasm")
    }

    /// With the machine's package lists; where they are missing or old, with lists fetched into `work`.
    fn unpack_nasm(&self, work: &Path) -> Result<()> {
        let download = |own_lists: &[String]| {
            let mut apt = Command::new("apt-get");
            apt.args(own_lists).args(["download", "-qq", "nasm"]);
            // What fails with the machine's lists is tried again: its message would only alarm.
            quietly(apt.current_dir(work))
        };
        if download(&[]).is_err() {
            let lists = work.join("apt");
            for folder in ["lists/partial", "cache/archives/partial"] {
                let folder = lists.join(folder);
                fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            }
            let options = [
                format!("-oDir::State::Lists={}", lists.join("lists").display()),
                format!("-oDir::Cache={}", lists.join("cache").display()),
                "-oDebug::NoLocking=1".to_owned(),
                "-oAPT::Sandbox::User=".to_owned(),
            ];
            let mut update = Command::new("apt-get");
            quietly(
                update
                    .args(&options)
                    .args(["update", "-qq"])
                    .current_dir(work),
            )?;
            download(&options)?;
            remove_any(&lists)?;
        }
        let package = fs::read_dir(work)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .context("apt-get downloaded no package")?;
        let mut unpack = Command::new("dpkg-deb");
        quietly(unpack.arg("--extract").arg(&package).arg(work))?;
        remove_any(&package)
    }

    fn has(&self, program: &str) -> bool {
        answers(self.folder.join("bin").join(program))
    }

    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let work = self.folder.join(name);
        remove_any(&work)?; // what a killed run left
        fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
        Ok(work)
    }

    /// Puts `work` to `.tools/NAME` and its `program` into `.tools/bin`, if it runs.
    fn keep(&self, name: &str, work: &Path, program: &str) -> Result<()> {
        ensure!(
            answers(work.join(program)),
            "the {name} that was fetched does not run here"
        );
        let own = self.folder.join(name);
        remove_any(&own)?;
        fs::rename(work, &own).with_context(|| own.display().to_string())?;
        let bin = self.folder.join("bin");
        fs::create_dir_all(&bin).with_context(|| bin.display().to_string())?;
        let link = bin.join(name);
        remove_any(&link)?;
        symlink(Path::new("..").join(name).join(program), &link)
            .with_context(|| link.display().to_string())
    }
}

fn answers(program: impl AsRef<std::ffi::OsStr>) -> bool {
    runs(Command::new(program).arg("--version"))
}

/// Runs `command`; what it wrote to stderr is part of the error.
fn quietly(command: &mut Command) -> Result<()> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program}: cannot be started"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().last().unwrap_or_default();
        bail!("{program}: {}: {last}", output.status);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decoder_decides_what_cargo_is_told() {
        assert!(JpegLibrary::Turbo.cargo_args().is_empty());
        assert_eq!(
            JpegLibrary::PlainRust.cargo_args(),
            ["--no-default-features"]
        );
        let said = without_turbo("there is no cmake");
        assert!(said.starts_with("libjpeg-turbo is left out: there is no cmake\n"));
    }

    #[test]
    fn a_tool_is_kept_only_if_it_runs() {
        let root = std::env::temp_dir().join(format!("lift-xtask-tools-{}", std::process::id()));
        let checkout = Checkout { root: root.clone() };
        let tools = Tools {
            checkout: &checkout,
            folder: root.join(".tools"),
        };
        let work = tools.fresh("true.tmp").unwrap();
        assert!(tools.keep("true", &work, "true").is_err());
        assert!(!tools.has("true"));
        fs::copy("/bin/true", work.join("true")).unwrap();
        tools.keep("true", &work, "true").unwrap();
        assert!(tools.has("true"));
        assert!(!work.exists());
        fs::remove_dir_all(&root).unwrap();
    }
}
