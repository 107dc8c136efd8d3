//! Where the checkout lies, and commands that run in it as the user's own shell would run them.
//!
//! Invariant: a child sees the environment that a plain `cargo build` would see. `cargo xtask`
//! runs under cargo, which has already set the variables of `.cargo/config.toml`; were they
//! passed on, cargo would take them for a change and build torch-sys twice.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A checkout of this repository.
#[derive(Debug)]
pub struct Checkout {
    /// The folder of the workspace's `Cargo.toml`.
    pub root: PathBuf,
}

impl Checkout {
    /// The checkout this program was started in by cargo.
    pub fn find() -> Result<Self> {
        // Cargo sets the variable at run time too. A target folder shared by two checkouts
        // holds one xtask, so the path known at compile time may be the other's.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| OsStr::new(env!("CARGO_MANIFEST_DIR")).to_owned());
        let root = Path::new(&package)
            .parent()
            .context("the xtask package has no parent folder")?;
        if !root.join("Cargo.toml").is_file() {
            bail!("{}: holds no Cargo.toml", root.display());
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    /// The libtorch folder of this checkout, whether it is there or not.
    pub fn own_libtorch(&self) -> PathBuf {
        self.root.join(".libtorch").join("torch")
    }

    /// The value of `name` if the user set it; what `.cargo/config.toml` sets does not count.
    pub fn user_env(&self, name: &str) -> Option<PathBuf> {
        let value = PathBuf::from(env::var_os(name)?);
        let set_by_cargo = match name {
            "LIBTORCH" => self.own_libtorch(),
            "CPLUS_INCLUDE_PATH" => self.root.join("xtask/missing-libtorch"),
            "CMAKE" => self.root.join("xtask/tools/cmake"),
            _ => return Some(value),
        };
        (value != set_by_cargo).then_some(value)
    }

    /// `program`, to be run in the root.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for name in ["LIBTORCH", "CPLUS_INCLUDE_PATH", "CMAKE"] {
            if self.user_env(name).is_none() {
                command.env_remove(name);
            }
        }
        command
    }

    /// The cargo that runs this program.
    pub fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }
}
