//! Are the programs of other makers there? One line and one hint for each that is not. And how a path is taken away.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;

/// Fails unless a C++ compiler runs: torch-sys compiles its bindings with it.
pub fn need_cxx() -> Result<()> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    // CXX may hold a launcher and flags: `ccache g++`.
    let mut words = compiler.split_whitespace();
    let program = words.next().unwrap_or("c++");
    if !runs(Command::new(program).args(words).arg("--version")) {
        bail!("no C++ compiler: `{compiler}` does not run\nhint: apt-get install g++");
    }
    Ok(())
}

/// Fails unless `python3` runs and has pip.
pub fn need_pip() -> Result<()> {
    if !runs(Command::new("python3").arg("--version")) {
        bail!("no Python: `python3` does not run\nhint: apt-get install python3 python3-pip");
    }
    if !runs(Command::new("python3").args(["-m", "pip", "--version"])) {
        bail!("no pip: `python3 -m pip` does not run\nhint: apt-get install python3-pip");
    }
    Ok(())
}

/// `pip install` of the wheels that the file `requirements` lists into the folder `target`, which spares pip's refusal to
/// touch the system's Python (PEP 668).
pub fn pip_install(checkout: &Checkout, requirements: &str, target: impl AsRef<OsStr>) -> Command {
    let mut pip = checkout.command("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(["--disable-pip-version-check", "--only-binary=:all:"])
        .args(["--requirement", requirements, "--target"])
        .arg(target)
        // The option of that name is an error for pip before 22.1, which Ubuntu 22.04 has; the variable is not.
        .env("PIP_ROOT_USER_ACTION", "ignore");
    pip
}

/// Fails unless cargo knows the subcommand that a rustup component brings.
pub fn need_component(cargo: &mut Command, subcommand: &str, component: &str) -> Result<()> {
    if !runs(cargo.args([subcommand, "--version"])) {
        bail!("`cargo {subcommand}` does not run\nhint: rustup component add {component}");
    }
    Ok(())
}

/// The Chromium to look at pages with. Where there is none, and this is root on Debian, it is installed;
/// else the reason is printed.
pub fn chromium() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let find = || {
        names
            .into_iter()
            .find(|name| runs(Command::new(name).arg("--version")))
    };
    if let Some(found) = find() {
        return Some(found);
    }
    if nix::unistd::Uid::effective().is_root() && runs(Command::new("apt-get").arg("--version")) {
        eprintln!("installing Debian's chromium");
        let install = [
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "chromium",
        ];
        for arguments in [&["update", "-qq"][..], &install] {
            runs(
                Command::new("apt-get")
                    .args(arguments)
                    .env("DEBIAN_FRONTEND", "noninteractive"),
            );
        }
    }
    let found = find();
    if found.is_none() {
        eprintln!("skipped: pages are not looked at: no Chromium\nhint: apt-get install chromium");
    }
    found
}

/// Whether `command` can be started and ends with 0; nothing of it is shown.
pub fn runs(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Removes the file, link or folder `path`, if it is there.
pub fn remove_any(path: &Path) -> Result<()> {
    let removed = match path.symlink_metadata() {
        Err(_) => return Ok(()),
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.with_context(|| format!("{}: cannot be removed", path.display()))
}
