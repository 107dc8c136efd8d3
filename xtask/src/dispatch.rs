//! From what was asked for to the function that does it.

use anyhow::Result;

use crate::args::{HELP, Request};
use crate::checkout::Checkout;
use crate::steps::Steps;
use crate::{bench, demo, dist, examples, gpu_bundle, setup, suite, wheels};

/// Does what `request` says in the checkout that cargo started this program in.
pub fn run(request: Request) -> Result<()> {
    let checkout = Checkout::find()?;
    let mut steps = Steps::default();
    match request {
        Request::Help => print!("{HELP}"),
        Request::Setup => {
            setup::run(&checkout, &mut steps)?;
        }
        Request::Test => suite::run(&checkout, &mut steps)?,
        Request::Bench(options) => bench::run(&checkout, &mut steps, &options)?,
        Request::Demo { seed } => demo::run(&checkout, &mut steps, seed)?,
        Request::Examples => examples::run(&checkout, &mut steps)?,
        Request::GpuBundle { out } => gpu_bundle::run(&checkout, &mut steps, out.as_deref())?,
        Request::Wheels { is_quick } => wheels::run(&checkout, &mut steps, is_quick)?,
        Request::Dist { is_quick } => dist::run(&checkout, &mut steps, is_quick)?,
        Request::PretrainDemo { rest } => demo::pretrain(&checkout, &mut steps, &rest)?,
    }
    Ok(())
}
