//! A shell beside an engine of its own.

use std::{path::PathBuf, process::Stdio, time::Duration};

use drowse_e2e::{program, runner, scratch_folder, within};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// An engine starts within it, on a machine that does other things as well.
const DEADLINE: Duration = Duration::from_mins(3);

/// Between what a command prints and its exit code.
const MARK: &str = "=== exit code ";

/// What a user has: a path with `drowse` and `docker` on it, an engine at the usual socket, an image, an
/// empty folder, and nothing in the environment that says anything else.
const SET_UP: &str = r#"
ln -s "${DOCKER_HOST#unix://}" /run/docker.sock
unset DOCKER_HOST DROWSE_TEST_DOCKER RUST_LOG DROWSE_STATE_DIR XDG_RUNTIME_DIR
mkdir home && export HOME=$PWD/home DROWSE_DATA_DIR=$PWD/home/data
docker create --name base drowse-testapp:1
docker commit --change 'EXPOSE 80' base traefik/whoami
docker rm base
docker image rm drowse-testapp:1
mkdir work && cd work
"#;

/// `docker compose` is a plugin that Debian 12 does not have; its `docker-compose` does the same.
const DOCKER: &str = r#"#!/bin/sh
PATH=${PATH#*:}
[ "$1" = compose ] || exec docker "$@"
shift
exec docker-compose --ansi never "$@"
"#;

/// Killed on drop, with its engine and whatever runs. The next runner removes what a killed one leaves:
/// [`Terminal::close`] leaves nothing.
pub(crate) struct Terminal {
    folder: TempDir,
    runner: Child,
    keyboard: ChildStdin,
    screen: Lines<BufReader<ChildStdout>>,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Printed {
    pub(crate) text: String,
    pub(crate) exit_code: String,
}

impl Terminal {
    pub(crate) async fn open() -> Self {
        let folder = scratch_folder();
        let bin = folder.path().join("bin");
        std::fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(program(), bin.join("drowse")).unwrap();
        let docker = bin.join("docker");
        std::fs::write(&docker, DOCKER).unwrap();
        std::fs::set_permissions(&docker, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let path = std::iter::once(bin).chain(std::env::split_paths(&path));
        let mut runner = Command::new(runner())
            .args(["with-engines", "--", "bash", "--noprofile", "--norc", "-s"])
            .current_dir(folder.path())
            .env("PATH", std::env::join_paths(path).unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let keyboard = runner.stdin.take().unwrap();
        let screen = BufReader::new(runner.stdout.take().unwrap()).lines();
        let mut terminal = Self { folder, runner, keyboard, screen };
        terminal.carry_out("exec 2>&1").await;
        for line in SET_UP.trim().lines() {
            let printed = terminal.enter(line).await;
            assert_eq!(printed.exit_code, "0", "{line}: {printed:?}");
        }
        terminal
    }

    /// Where the commands are carried out.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("work").join(name)
    }

    /// Types a command, and waits for its end; for that of `drowse run`, until it has
    /// found what there is to manage.
    pub(crate) async fn enter(&mut self, command: &str) -> Printed {
        if command.starts_with("drowse run") {
            let command = format!(
                "{command} > ../drowse.log 2>&1 & until grep -q 'managed workload' ../drowse.log; do sleep 0.1; done"
            );
            return self.carry_out(&command).await;
        }
        // Nothing else may read what is typed.
        self.carry_out(&format!("{command} < /dev/null")).await
    }

    async fn carry_out(&mut self, command: &str) -> Printed {
        let typed = format!("{command}\ncode=$?; echo; echo \"{MARK}$code\"\n");
        self.keyboard.write_all(typed.as_bytes()).await.unwrap();
        let mut lines = Vec::new();
        loop {
            let line = within(DEADLINE, command, self.screen.next_line()).await.unwrap();
            let Some(line) = line else { panic!("{command}: the shell has ended: {lines:#?}") };
            if let Some(code) = line.strip_prefix(MARK) {
                return Printed { text: lines.join("\n"), exit_code: code.to_owned() };
            }
            lines.push(line);
        }
    }

    /// Ends the shell, and waits until its runner has tidied up.
    pub(crate) async fn close(self) {
        let Self { mut runner, keyboard, .. } = self;
        drop(keyboard);
        within(DEADLINE, "the runner to end", runner.wait()).await.unwrap();
    }

    /// What `drowse run` has said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("drowse.log")).unwrap_or_default()
    }
}
