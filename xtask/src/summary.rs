//! Adds up what the test binaries report.

use std::fmt;

/// The sum over all test binaries, doctests included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Summary {
    /// Takes a line of output; counts it if it is the result of a test binary.
    pub(crate) fn add_line(&mut self, line: &str) {
        let Some(counts) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.strip_prefix("ok. ").or_else(|| rest.strip_prefix("FAILED. ")))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                // What a filter left out was not asked for.
                _ => {}
            }
        }
    }

    /// A run that failed although no test said so: one that was killed, or that took its whole
    /// binary down with it, reports nothing.
    pub(crate) fn note_failed_run(&mut self) {
        self.failed = self.failed.max(1);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        for line in lines {
            summary.add_line(line);
        }
        summary
    }

    #[test]
    fn results_of_several_binaries_are_added_up() {
        let sum = summary(&[
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; \
             finished in 0.00s",
            "test result: FAILED. 2 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out; \
             finished in 1.20s",
        ]);
        assert_eq!(sum.to_string(), "5 passed, 4 failed, 1 skipped");
    }

    #[test]
    fn what_a_test_prints_is_no_result() {
        let sum = summary(&["  test result: ok. 3 passed", "the test result: ok. 1 passed;"]);
        assert_eq!(sum, Summary::default());
    }

    #[test]
    fn a_run_that_died_without_a_word_counts_as_one_failure() {
        let mut sum = summary(&["test result: ok. 3 passed; 0 failed; 0 ignored"]);
        sum.note_failed_run();
        assert_eq!((sum.passed, sum.failed), (3, 1));
    }
}
