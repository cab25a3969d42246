//! Panics of drowse's tasks, which the watcher outlives: here they are failures.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
    static IS_WATCHED: RefCell<bool> = const { RefCell::new(false) };
}

/// From here on, panics of worlds on this thread are remembered, not printed. Those of other threads
/// are told as before.
pub(crate) fn forget() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if IS_WATCHED.with(|is_watched| *is_watched.borrow()) {
                LAST.with(|last| {
                    last.borrow_mut().get_or_insert_with(|| panic.to_string());
                });
            } else {
                before(panic);
            }
        }));
    });
    LAST.with(|last| last.borrow_mut().take());
    IS_WATCHED.with(|is_watched| *is_watched.borrow_mut() = true);
}

/// Whether there was one.
pub(crate) fn happened() -> bool {
    LAST.with(|last| last.borrow().is_some())
}

/// The first one. From here on they are told again.
pub(crate) fn take() -> Option<String> {
    IS_WATCHED.with(|is_watched| *is_watched.borrow_mut() = false);
    LAST.with(|last| last.borrow_mut().take())
}
