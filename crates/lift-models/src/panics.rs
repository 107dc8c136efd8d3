//! Panics that are caught and become errors: of libtorch where memory does not suffice, of other libraries on input that they did
//! not expect.
//!
//! A library leaves the process as it is: without [`silence`] what is caught is printed as well, by whatever prints panics there.
//! Invariant: of what is caught nothing is printed by a program that silenced it; any other panic goes its way.

use std::{
    cell::Cell,
    panic::{self, AssertUnwindSafe},
};

use crate::out_of_memory::{is_refusal, words};

thread_local! {
    static IS_CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// For a program's `main`, before it does anything: panics that become errors are not printed as panics too.
pub fn silence() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !IS_CONTAINED.get() && !is_refusal(info.payload()) {
            usual(info);
        }
    }));
}

/// Does `work`, or gives the words that it panicked with. What `work` changes must not be used again after that. It holds for the
/// thread that calls.
///
/// # Errors
/// When it panicked.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = IS_CONTAINED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    IS_CONTAINED.set(before);
    done.map_err(|payload| words(&*payload).unwrap_or("it gave no reason").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_words_and_work_its_result() {
        assert_eq!(contained(|| 7), Ok(7));
        let index = std::hint::black_box(3);
        let refused = contained(|| [0u8; 2][index]).unwrap_err();
        assert!(
            refused.contains("the len is 2 but the index is 3"),
            "{refused}"
        );
        let inner = contained(|| contained(|| panic!("inner")).unwrap_err());
        assert_eq!(inner, Ok("inner".into()));
        assert!(!IS_CONTAINED.get());
    }
}
