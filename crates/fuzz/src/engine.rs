//! libFuzzer, which the build has linked.

use std::{
    ffi::{CString, c_char, c_int},
    sync::OnceLock,
};

use crate::ARGUMENTS;

type Callback = extern "C" fn(*const u8, usize) -> c_int;

#[expect(unsafe_code, reason = "libFuzzer is C++")]
// SAFETY: its declaration in `FuzzerInterface.h`.
unsafe extern "C" {
    fn LLVMFuzzerRunDriver(
        argc: *mut c_int,
        argv: *mut *mut *mut c_char,
        callback: Callback,
    ) -> c_int;
}

static PROPERTY: OnceLock<fn(&[u8])> = OnceLock::new();

/// Does not return: libFuzzer ends the process itself as a rule.
pub(crate) fn run(property: fn(&[u8])) -> ! {
    PROPERTY.get_or_init(|| property);
    let told = std::env::var(ARGUMENTS).unwrap_or_default();
    let words = std::iter::once("fuzz").chain(told.lines());
    let mut words: Vec<*mut c_char> = words
        .filter_map(|word| CString::new(word).ok())
        // It keeps them.
        .map(CString::into_raw)
        .chain([std::ptr::null_mut()])
        .collect();
    let mut count = c_int::try_from(words.len() - 1).unwrap_or_default();
    let mut words = words.as_mut_ptr();
    #[expect(unsafe_code, reason = "libFuzzer is C++")]
    // SAFETY: as many words as are counted, with a null behind them, that live as long as the process.
    let code = unsafe { LLVMFuzzerRunDriver(&raw mut count, &raw mut words, once) };
    std::process::exit(code)
}

/// A panic ends the process here, which is how libFuzzer learns of it.
extern "C" fn once(data: *const u8, length: usize) -> c_int {
    #[expect(unsafe_code, reason = "libFuzzer is C++")]
    let input = if length == 0 {
        &[]
    } else {
        // SAFETY: so many bytes that nobody writes to until this returns.
        unsafe { std::slice::from_raw_parts(data, length) }
    };
    if let Some(property) = PROPERTY.get() {
        property(input);
    }
    0
}
