//! A Proxmox cluster that is none, for `cargo xtask bench`: it lists any number of containers, which
//! do nothing until they are told to.
//!
//! Called with a folder and a number of containers. Puts the certificate of its CA into the folder
//! (`ca.pem`) and writes its address as the first line; then a line for each request: the moment on
//! the clock that counts from boot, in nanoseconds, the method, the path. From its input it takes
//! `end VMID`, at which that container is powered off from inside. Ends with its input.
//!
//! A program of its own, and an example: `cargo xtask` itself must not need TLS to be compiled.
#![allow(clippy::print_stdout, reason = "what it has to say is for its caller")]

mod clock;
mod cluster;
mod http;
mod tls;

use std::{
    io::{BufRead as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
};

use anyhow::Context as _;

use cluster::Cluster;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let folder = PathBuf::from(arguments.next().context("which folder?")?);
    let containers = arguments.next().context("how many containers?")?;
    let containers = containers.to_string_lossy().parse().context("how many containers?")?;

    let config = tls::config(&folder.join("ca.pem"))?;
    let cluster = Arc::new(Cluster::of(containers));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    say(&listener.local_addr()?.to_string());
    let served = Arc::clone(&cluster);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (config, cluster) = (Arc::clone(&config), Arc::clone(&served));
            // A client may go away at any time.
            thread::spawn(move || http::serve(client, config, &cluster).ok());
        }
    });
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let vmid = line.strip_prefix("end ").and_then(|vmid| vmid.parse().ok());
        cluster.end(vmid.with_context(|| format!("`{line}`: expected `end VMID`"))?)?;
    }
    Ok(())
}

/// A line for the caller; whoever has gone away ends us soon.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).ok();
}
