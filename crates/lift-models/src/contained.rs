//! Panics of other libraries on input that they did not expect become errors.
//!
//! It holds for the thread that calls. Invariant: of a panic that is contained nothing is printed; any other goes its way.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, or gives the words that it panicked with. What `work` changes must not be used again after that.
///
/// # Errors
/// When it panicked.
pub(crate) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                usual(info);
            }
        }));
    });
    let before = QUIET.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    done.map_err(|payload| words(&*payload))
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("it gave no reason").to_owned()
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
        assert!(!QUIET.get());
    }
}
