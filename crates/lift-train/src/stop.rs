//! When training stops before its end: a signal, or a step that was asked for.
//!
//! SIGINT and SIGTERM only set a flag; the loop looks at it between two steps, saves and leaves. A second signal ends
//! the program at once, and after training a signal ends it as it would any program.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use crate::error::{Error, Result};

/// Says whether to stop.
#[derive(Debug, Default)]
pub struct Stop {
    asked: Arc<AtomicBool>,
    trained: Arc<AtomicBool>,
    after_step: Option<usize>,
}

impl Stop {
    /// After this many steps of the whole run.
    pub fn after(step: usize) -> Self {
        Self {
            after_step: Some(step),
            ..Self::default()
        }
    }

    /// When the process gets SIGINT or SIGTERM.
    ///
    /// # Errors
    /// When the system refuses to have signals handled.
    pub fn on_signals() -> Result<Self> {
        let stop = Self::default();
        for signal in [SIGINT, SIGTERM] {
            // They run in this order: what ends the program looks before the flag is set for the first time.
            flag::register_conditional_default(signal, stop.trained.clone())
                .and_then(|_| flag::register_conditional_shutdown(signal, 1, stop.asked.clone()))
                .and_then(|_| flag::register(signal, stop.asked.clone()))
                .map_err(Error::io("signals"))?;
        }
        Ok(stop)
    }

    /// Whether to stop now that `step` steps are done.
    pub fn is_wanted(&self, step: usize) -> bool {
        self.asked.load(Ordering::Relaxed) || self.after_step.is_some_and(|last| step >= last)
    }

    /// Gives signals their usual meaning back: nothing looks at the flag any more.
    pub fn training_is_over(&self) {
        self.trained.store(true, Ordering::Relaxed);
    }
}
