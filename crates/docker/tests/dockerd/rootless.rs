//! The Podman of a user who is not root, whose containers' addresses nobody else can reach.

use drowse_docker::DockerOptions;
use drowse_provider::{ContainerStatus, Engine, Reach, StopOptions, contract::Fixture};
use serde_json::json;
use tokio::net::TcpStream;

use crate::fixture::{RealEngine, Runtime, patience, testapp};

#[tokio::test]
async fn only_what_it_publishes_can_be_reached() {
    let podman = RealEngine::with_options(Runtime::RootlessPodman, DockerOptions::new()).await;
    let mut definition = testapp(&["PORT=80"]);
    definition["ExposedPorts"] = json!({"80/tcp": {}});
    definition["HostConfig"] =
        json!({"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}});
    let name = podman.make(&definition).await;
    let provider = podman.provider(&name);
    provider.start(patience()).await.unwrap();
    podman.written(&name, "ready").await;
    let details = provider.inspect(patience()).await.unwrap();
    // By what it reports: that the socket is not root's would tell as well, but not over TCP.
    assert_eq!(podman.engine.reach(), Reach::LocalPublishedOnly);
    let [published] = details.published.as_slice() else { panic!("{:?}", details.published) };
    let port = published.host_port.expect("it is chosen when the container is made");
    TcpStream::connect((published.host_address, port)).await.expect("it is published");

    provider.stop(&StopOptions::new(), patience()).await.unwrap();
    assert_eq!(provider.status(patience()).await.unwrap(), ContainerStatus::Stopped);
    podman.tear_down().await;
}
