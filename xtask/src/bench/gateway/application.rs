//! What stands behind all proxies: an nginx with two static answers, and the test application, which
//! gives back what it gets on a WebSocket.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context;

use super::super::clock::Moment;
use super::super::exchange;
use super::proxy::DEADLINE;
use super::written;
use crate::sandbox::pause;

/// Where nginx listens.
pub(super) const PORT: u16 = 9000;
/// Where the test application listens.
pub(super) const WEBSOCKET_PORT: u16 = 9001;

/// The path of the WebSocket.
pub(super) const WEBSOCKET_PATH: &str = "/ws";
/// The path of a body of 1 MiB. `/` has one of 64 bytes.
pub(super) const BODY_PATH: &str = "/1m";

/// Both of them. Killed on drop.
#[derive(Debug)]
pub(super) struct Application(Vec<Child>);

impl Application {
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join("application");
        fs::create_dir_all(&folder)?;
        // Read by whoever nginx's worker runs as.
        let files = folder.join("files");
        fs::create_dir_all(&files)?;
        fs::write(files.join(BODY_PATH.trim_start_matches('/')), vec![b'x'; 1 << 20])?;
        let config = written(&folder, "nginx.conf", &config(&folder))?;
        let testapp = std::env::var_os("DROWSE_TESTAPP").context("DROWSE_TESTAPP")?;
        let mut echo = Command::new(testapp);
        echo.env("PORT", WEBSOCKET_PORT.to_string()).env("BIND", "127.0.0.1");
        let mut application = Self(Vec::new());
        for mut command in [nginx(&config), echo] {
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let child = command.spawn().with_context(|| format!("{command:?}"))?;
            application.0.push(child);
        }
        for port in [PORT, WEBSOCKET_PORT] {
            until_open(port)?;
        }
        Ok(application)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // An error means that it has ended already.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// An nginx with this configuration.
pub(super) fn nginx(config: &Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-c").arg(config).args(["-e", "stderr"]);
    command
}

/// Waits until something listens on this port of this machine.
pub(super) fn until_open(port: u16) -> anyhow::Result<()> {
    let began = Moment::now();
    loop {
        match exchange::connect(([127, 0, 0, 1], port).into(), DEADLINE) {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > DEADLINE => {
                return Err(error).with_context(|| format!("nothing listens on port {port}"));
            }
            Err(_) => pause(std::time::Duration::from_millis(5)),
        }
    }
}

/// One process, which is killed as one.
fn config(folder: &Path) -> String {
    let answer = "x".repeat(64);
    let (folder, files) = (folder.display(), folder.join("files"));
    let files = files.display();
    format!(
        "daemon off; master_process off; pid {folder}/pid; error_log stderr crit;\n\
         events {{ worker_connections 16384; }}\n\
         http {{\n\
         access_log off; sendfile on; tcp_nopush on;\n\
         keepalive_requests 1000000000; keepalive_timeout 1h;\n\
         open_file_cache max=16; default_type text/plain;\n\
         server {{\n\
         listen 127.0.0.1:{PORT} backlog=16384;\n\
         location = / {{ return 200 \"{answer}\"; }}\n\
         location / {{ root {files}; }}\n\
         }}\n\
         }}\n"
    )
}
