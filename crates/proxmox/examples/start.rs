//! Starts a container wherever it is, and waits until it runs:
//!
//! ```sh
//! PVE_SECRET=… cargo run -p drowse-proxmox --example start -- \
//!     https://pve1:8006 'drowse@pve!main' 59:BA:7A:… 201
//! ```
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::{env, time::Duration};

use drowse_provider::Deadline;
use drowse_proxmox::{Cause, Client, ClientOptions, Credentials, Secret, TaskOutcome, Trust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, token, fingerprint, vmid] = &arguments[..] else {
        return Err("give a node's URL, a token's name, a fingerprint and a VMID".into());
    };
    let vmid: u32 = vmid.parse()?;
    let credentials = Credentials::Token {
        id: token.parse()?,
        secret: Secret::Environment("PVE_SECRET".to_owned()),
    };
    let trust = Trust::Fingerprints(vec![fingerprint.parse()?]);
    let client = Client::new(ClientOptions::new(vec![url.parse()?], credentials, trust))?;

    let deadline = Deadline::after(Duration::from_mins(1));
    let containers = client.resources(deadline).await?;
    let Some(found) = containers.into_iter().find(|container| container.vmid == vmid) else {
        return Err(format!("no container {vmid} that this token may see (`VM.Audit`)").into());
    };
    // An order is answered at once, with the task that carries it out.
    match client.start(&found.node, vmid, deadline).await {
        Ok(task) => match client.finished(&task, deadline).await? {
            TaskOutcome::Warnings(number) => println!("{vmid} is started, with {number} warnings"),
            _ => println!("{vmid} is started"),
        },
        Err(error) if error.cause() == Some(Cause::AlreadyRunning) => println!("{vmid} runs"),
        Err(error) => return Err(error.into()),
    }
    for interface in client.interfaces(&found.node, vmid, deadline).await? {
        println!("{}: {:?}", interface.name, interface.addresses);
    }
    client.close().await;
    Ok(())
}
