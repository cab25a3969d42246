//! Nothing outlives a runner, however it ends.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]
#![expect(clippy::disallowed_methods, reason = "there is no runtime here, and no event to wait on")]

/// Inside the runner's own sandbox another one is opened, with an engine of its own.
mod on_dockerd {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::thread;
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    const DEADLINE: Duration = Duration::from_mins(2);
    const POLL: Duration = Duration::from_millis(50);

    #[test]
    fn the_exit_code_is_the_commands_and_nothing_stays() {
        let mut runner = Runner::start("exit 7");
        assert_eq!(runner.process.wait().unwrap().code(), Some(7));
        runner.assert_nothing_runs();
        assert!(!runner.scratch.exists());
    }

    #[test]
    fn a_runner_that_is_asked_to_end_cleans_up() {
        let mut runner = Runner::start("sleep 600");
        runner.signal(Signal::TERM);
        assert_eq!(runner.process.wait().unwrap().code(), Some(128 + 15));
        runner.assert_nothing_runs();
        assert!(!runner.scratch.exists());
    }

    #[test]
    fn a_runner_that_is_killed_takes_everything_with_it_and_the_next_one_sweeps_up() {
        let mut runner = Runner::start("sleep 600");
        runner.signal(Signal::KILL);
        runner.process.wait().unwrap();
        runner.assert_nothing_runs();

        // Any next one: another test's may be faster than this.
        Runner::start("true").process.wait().unwrap();
        wait_until("the folder to be gone", || !runner.scratch.exists());
    }

    /// `cargo xtask with-engines`, with its engine up and the command under way.
    struct Runner {
        process: Child,
        scratch: PathBuf,
        _folder: tempfile::TempDir,
    }

    impl Runner {
        fn start(command: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let told = folder.path().join("told");
            let script = format!(
                "echo $DROWSE_TEST_TMP > {0}.part && mv {0}.part {0}; {command}",
                told.display(),
            );
            let process = Command::new(env!("CARGO_BIN_EXE_xtask"))
                .args(["with-engines", "--", "sh", "-c", &script])
                .stdin(Stdio::null())
                .spawn()
                .unwrap();
            wait_until("the command to run", || told.exists());
            let tmp = fs::read_to_string(&told).unwrap();
            let scratch = Path::new(tmp.trim()).parent().unwrap().to_owned();
            Self { process, scratch, _folder: folder }
        }

        fn signal(&self, signal: Signal) {
            kill_process(Pid::from_child(&self.process), signal).unwrap();
        }

        /// The engine has the folder's name among its arguments, and so have its containerd and
        /// the sandbox's own processes.
        fn assert_nothing_runs(&self) {
            let name = self.scratch.file_name().unwrap().to_str().unwrap();
            wait_until("every process to be gone", || {
                let processes = fs::read_dir("/proc").unwrap().flatten();
                let mut words = processes.filter_map(|process| {
                    let line = fs::read(process.path().join("cmdline")).ok()?;
                    Some(String::from_utf8_lossy(&line).into_owned())
                });
                !words.any(|words| words.contains(name))
            });
        }
    }

    impl Drop for Runner {
        fn drop(&mut self) {
            // It has ended already, unless the test failed.
            self.process.kill().ok();
            self.process.wait().ok();
        }
    }

    fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
        let attempts = DEADLINE.as_millis() / POLL.as_millis();
        for _ in 0..attempts {
            if holds() {
                return;
            }
            thread::sleep(POLL);
        }
        panic!("not within {DEADLINE:?}: {what}");
    }
}
