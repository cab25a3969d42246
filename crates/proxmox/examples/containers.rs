//! Lists the containers of a cluster:
//!
//! ```sh
//! PVE_SECRET=… cargo run -p drowse-proxmox --example containers -- \
//!     https://pve1:8006 'drowse@pve!main' 59:BA:7A:…
//! ```
#![allow(clippy::print_stdout, reason = "an example talks")]

use std::{env, time::Duration};

use drowse_provider::Deadline;
use drowse_proxmox::{Client, ClientOptions, Credentials, Secret, Trust};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, token, fingerprint] = &arguments[..] else {
        return Err("give the URL of a node, the name of a token and a fingerprint".into());
    };
    let credentials = Credentials::Token {
        id: token.parse()?,
        secret: Secret::Environment("PVE_SECRET".to_owned()),
    };
    let trust = Trust::Fingerprints(vec![fingerprint.parse()?]);
    let client = Client::new(ClientOptions::new(vec![url.parse()?], credentials, trust))?;

    let deadline = Deadline::after(Duration::from_secs(20));
    let version = client.version(deadline).await?;
    println!("Proxmox VE {}", version.text);
    for container in client.resources(deadline).await? {
        let name = container.name.unwrap_or_default();
        println!("{:>6}  {:<8} {:<12} {name}", container.vmid, container.status, container.node);
    }
    client.close().await;
    Ok(())
}
