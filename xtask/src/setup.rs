//! What each command does first: a C++ compiler, the tools of libjpeg-turbo, libtorch. Nothing is installed outside the
//! checkout.

use std::fs::{File, TryLockError};
use std::path::Path;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::jpeg_tools::{self, JpegLibrary};
use crate::steps::Steps;
use crate::{libtorch, tools};

/// After this cargo builds the workspace, with the arguments of the library that is returned.
pub fn run(checkout: &Checkout, steps: &mut Steps) -> Result<JpegLibrary> {
    tools::need_cxx()?;
    let _lock = lock(&checkout.root)?;
    let library = jpeg_tools::set_up(checkout);
    libtorch::set_up(checkout, steps)?;
    Ok(library)
}

/// Held while one process sets up. The lock goes with the process, however that ends.
fn lock(root: &Path) -> Result<File> {
    let path = root.join(".setup.lock.tmp");
    let file = File::create(&path).with_context(|| path.display().to_string())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            eprintln!("another set-up is running in this checkout: waiting for it");
            file.lock().with_context(|| path.display().to_string())?;
        }
        Err(TryLockError::Error(error)) => {
            return Err(error).with_context(|| path.display().to_string());
        }
    }
    Ok(file)
}
