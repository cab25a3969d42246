//! Why a route leads nowhere, and what to add.

/// Why there is no upstream, and what to add. `Display` is a lower-case fragment for people; what it
/// asks for is written as it stands in a compose file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoUpstream {
    /// No port was given and the container exposes none.
    #[error("it exposes no TCP port: add `port`")]
    NoPort,
    /// No port was given and the container exposes several.
    #[error("it exposes several TCP ports ({}): add `port` with one of them", numbers(.0))]
    SeveralPorts(Vec<u16>),
    /// It has no network.
    #[error("it has no network: attach it to one, or add `address`")]
    NoNetwork,
    /// It was given none on purpose (`network_mode: none`).
    #[error("it has no network (mode `none`): attach it to one, or add `address`")]
    NetworkModeNone,
    /// It is dialled at its own address only; that one is not fixed, and its engine tells no others.
    #[error(
        "port {port} cannot be reached: its address on `{network}` is not known ({why}); add \
         `address`, or fix one in its configuration"
    )]
    NoFixedAddress {
        /// The container's port.
        port: u16,
        /// The network on which it is dialled.
        network: String,
        /// Why its engine does not tell.
        why: String,
    },
    /// It lives in the network of another container, which cannot be read.
    #[error(
        "it lives in the network of container `{0}`, which cannot be read: is it gone? Add \
         `address` with where that one is reached"
    )]
    OthersNetwork(String),
    /// It is not on the network that was chosen for it.
    #[error("it is not on the network `{network}` that `network` names, only on {}", names(.its))]
    NotOnNetwork {
        /// The name that was given.
        network: String,
        /// The networks that it is on.
        its: Vec<String>,
    },
    /// It is on no network that can be dialled from here, and its port is not published.
    #[error(
        "port {port} cannot be reached ({why}): publish it (`ports: [\"{port}\"]`), attach the \
         container to a `bridge` network, or add `address`"
    )]
    Unreachable {
        /// The container's port.
        port: u16,
        /// What stands in the way.
        why: String,
    },
    /// Its port is published on the other machine's loopback address only.
    #[error(
        "port {0} is published on the loopback address of another machine: publish it on one that \
         can be reached"
    )]
    PublishedOnRemoteLoopback(u16),
    /// drowse's own container shares no network with it, and its port is not published so that it
    /// could be reached from there.
    #[error("port {port} cannot be reached from drowse's own container: {why}; {}", join(.network.as_deref(), .publish.as_deref()))]
    NotShared {
        /// The container's port.
        port: u16,
        /// What stands in the way.
        why: String,
        /// A network that drowse could join.
        network: Option<String>,
        /// What to publish instead, where that would help.
        publish: Option<String>,
    },
    /// drowse runs in a container that this engine does not know.
    #[error(
        "port {0} cannot be reached: drowse runs in a container that is none of this engine's, and \
         what the engine tells of addresses means nothing there; run drowse on the engine's host \
         or in a container of the engine, or add `address`"
    )]
    Apart(u16),
}

fn numbers(ports: &[u16]) -> String {
    ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ")
}

fn names(networks: &[String]) -> String {
    match networks {
        [] => "none".to_owned(),
        networks => networks.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The lines to add, as they stand in a compose file.
fn join(network: Option<&str>, publish: Option<&str>) -> String {
    let join = network.map(|network| match network {
        // Compose cannot name it otherwise.
        "bridge" => "give both a network of their own (`networks: [proxy]` for each)".to_owned(),
        network => format!(
            "let drowse join its network (`networks: [default, {network}]` for drowse, and below \
             the services `networks: {{ {network}: {{ external: true }} }}`)"
        ),
    });
    let publish =
        publish.map(|port| format!("publish the port on all addresses (`ports: [\"{port}\"]`)"));
    let ways: Vec<_> =
        join.into_iter().chain(publish).chain(["add `address`".to_owned()]).collect();
    ways.join(", or ")
}
