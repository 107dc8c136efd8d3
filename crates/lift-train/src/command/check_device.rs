//! `lift-train check-device`: whether batches come to a device as the CPU makes them.

use lift_models::device_name;
use serde::Serialize;
use tch::Device;

use super::{Form, print_json, print_text};
use crate::{
    error::{Error, Result},
    transfer::{Checked, check},
};

/// What came out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    /// `lift-check-device/1`.
    pub format: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Batches that were compared in all checks.
    pub batches: usize,
    /// Batches of them with a wrong bit.
    pub wrong: usize,
    /// A kind and size each.
    pub checks: Vec<Checked>,
}

/// Checks a device and prints a line a check while it goes on, or one JSON document.
///
/// # Errors
/// When the device cannot be used, or a batch came with a wrong bit.
pub fn check_device(device: Device, form: Form) -> Result<CheckReport> {
    let print = |checked: &Checked| match form {
        Form::Table => print_text(&line(checked)),
        Form::Json => Ok(()),
    };
    let checks = check(device, print)?;
    let report = CheckReport {
        format: "lift-check-device/1".into(),
        device: device_name(device),
        batches: checks.iter().map(|checked| checked.batches).sum(),
        wrong: checks.iter().map(|checked| checked.wrong).sum(),
        checks,
    };
    if form == Form::Json {
        print_json(&report)?;
    }
    let failed = report.checks.iter().filter(|checked| checked.wrong > 0);
    match failed.count() {
        0 => Ok(report),
        failed => Err(Error::DeviceDiffers {
            device: report.device,
            failed,
            checks: report.checks.len(),
        }),
    }
}

fn line(checked: &Checked) -> String {
    let verdict = match checked.wrong {
        0 => "equal".to_owned(),
        wrong => format!("{wrong} WRONG"),
    };
    let (kind, side, patch) = (&checked.kind, checked.side, checked.patch);
    format!(
        "{kind}  crops of {side:>3}  patches of {patch:>2}  {:>3} batches  {verdict}\n",
        checked.batches
    )
}
