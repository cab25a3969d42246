//! The scripted Proxmox cluster, as a process of its own: see `xtask/examples/pve`.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use anyhow::{Context, bail};

use super::clock::Moment;
use super::relay::{Call, Calls};

/// The name of the program.
pub(super) const EXAMPLE: &str = "pve";

/// A running cluster. It ends with its input, at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Pve {
    process: Child,
    orders: Option<ChildStdin>,
    address: String,
    ca_file: PathBuf,
    pub(super) calls: Calls,
}

impl Pve {
    /// A cluster with so many containers. Its certificate is put into `folder`.
    pub(super) fn start(program: &Path, folder: &Path, containers: usize) -> anyhow::Result<Self> {
        let mut process = Command::new(program)
            .arg(folder)
            .arg(containers.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let orders = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().context("it has no output")?);
        let mut address = String::new();
        output.read_line(&mut address)?;
        if address.is_empty() {
            bail!("{} ended: {}", program.display(), process.wait()?);
        }
        let calls = Calls::default();
        let noted = calls.clone();
        thread::spawn(move || {
            for call in output.lines().map_while(Result::ok).filter_map(|line| parse(&line)) {
                noted.note(call);
            }
        });
        let (address, ca_file) = (address.trim().to_owned(), folder.join("ca.pem"));
        Ok(Self { process, orders, address, ca_file, calls })
    }

    /// A configuration that discovers its containers.
    pub(super) fn config(&self) -> String {
        format!(
            "engines:\n  scripted:\n    proxmox:\n      url: \"https://{}\"\n      \
             token: \"drowse@pve!main\"\n      secret: \"00000000-0000-0000-0000-000000000000\"\n      \
             ca_file: \"{}\"\n      discover_hosts: [\"*.example.com\"]\n",
            self.address,
            self.ca_file.display()
        )
    }

    /// A container is powered off from inside.
    pub(super) fn end(&mut self, vmid: usize) -> anyhow::Result<()> {
        let orders = self.orders.as_mut().context("it has no input")?;
        writeln!(orders, "end {vmid}").context("the scripted cluster has ended")
    }
}

impl Drop for Pve {
    fn drop(&mut self) {
        self.orders = None;
        // An error means that it has ended already.
        self.process.wait().ok();
    }
}

fn parse(line: &str) -> Option<Call> {
    let (nanoseconds, line) = line.split_once(' ')?;
    let at = Moment::from_nanoseconds(nanoseconds.parse().ok()?);
    Some(Call { at, line: line.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_call() {
        let call = parse("1000000000 GET /cluster/resources?type=vm").unwrap();
        assert_eq!(call.line, "GET /cluster/resources?type=vm");
        assert_eq!(call.at.since(Moment::from_nanoseconds(0)).as_secs(), 1);
        assert!(parse("GET /version").is_none());
    }
}
