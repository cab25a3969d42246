//! Fuzz targets: properties of what parses input from the network, each beside its parser as a test that
//! calls [`target`].
//!
//! An ordinary `cargo test` tries the inputs that are kept in `corpus/`. `cargo xtask fuzz` builds the same
//! tests with counters in our own crates, and lets libFuzzer look for inputs that get further.

mod corpus;
#[cfg(fuzzing)]
mod engine;
mod input;

pub use corpus::Corpus;
pub use input::Input;

/// The variable that names the target which libFuzzer is to try.
pub const TARGET: &str = "DROWSE_FUZZ_TARGET";

/// The variable with libFuzzer's arguments, one a line.
pub const ARGUMENTS: &str = "DROWSE_FUZZ_ARGUMENTS";

/// Tries what is kept of this target, or, in a build that is made for it, lets libFuzzer try.
///
/// `property` panics if something does not hold of an input.
///
/// # Panics
/// If it does, with the input; and if nothing is kept.
pub fn target(name: &str, property: fn(&[u8])) {
    #[cfg(fuzzing)]
    if std::env::var(TARGET).is_ok_and(|wanted| wanted == name) {
        engine::run(property);
    }
    let kept = match Corpus::read(name) {
        Ok(kept) => kept,
        Err(why) => panic!("{why}"),
    };
    let inputs: Vec<_> = kept.inputs().collect();
    assert!(!inputs.is_empty(), "nothing is kept in {}", Corpus::path(name).display());
    for input in inputs {
        if let Err(cause) = std::panic::catch_unwind(|| property(input)) {
            let why = cause.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            panic!("{name}: it does not hold of b\"{}\": {why}", input.escape_ascii());
        }
    }
}
