//! What is said where a signal ends a command that can be gone on with.
//!
//! The signal ends the program as it would without this, wherever it is, also while it waits for a file: what is
//! unfinished is left as a kill leaves it. Invariant: nothing is said where no signal came.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::thread;

use lift_data::Error;
use lift_page::terminal;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, pipe};

/// From now on Ctrl-C and SIGTERM say this before they end the program.
///
/// # Errors
/// When the system has signals not handled.
pub(super) fn say_how_to_go_on(hint: &'static str) -> Result<(), Error> {
    for signal in [SIGINT, SIGTERM] {
        listen(signal, hint).map_err(|err| Error::Setting {
            reason: format!("signals cannot be handled: {err}"),
            hint: "look at the limits of open files and threads (ulimit -n, -u)".to_owned(),
        })?;
    }
    Ok(())
}

fn listen(signal: i32, hint: &'static str) -> io::Result<()> {
    let (mut came, sender) = UnixStream::pair()?;
    pipe::register(signal, sender)?;
    let wait = move || {
        if came.read_exact(&mut [0]).is_ok() {
            terminal::say(format_args!("stopped\nhint: {hint}"));
            // Where it comes back, it could not end the program.
            let _ = emulate_default_handler(signal);
            std::process::exit(1);
        }
    };
    thread::Builder::new()
        .name("signal".to_owned())
        .spawn(wait)?;
    Ok(())
}
