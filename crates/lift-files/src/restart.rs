//! Variables that libraries read before `main`, set for them.

/// Starts this program anew, in its own place, with these variables besides its own. Comes back only where that cannot be done:
/// then it goes on as it is.
pub fn restart_with<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) {
    #[cfg(target_os = "linux")]
    {
        use std::{env, os::unix::process::CommandExt, process::Command};
        let mut words = env::args_os();
        let mut again = Command::new("/proc/self/exe");
        if let Some(name) = words.next() {
            again.arg0(name);
        }
        let _error = again.envs(variables).args(words).exec();
    }
    #[cfg(not(target_os = "linux"))]
    drop(variables.into_iter());
}
