//! Ways into engines that no label may open to whoever asks. Who writes a container's labels commands
//! that one's engine, and perhaps no other; and neither does anybody who asks a route for something.

use drowse_gateway::Upstream;

use super::Inventory;
use crate::{
    config::{Origin, RouteSettings},
    entrance::Entrance,
};

/// How a route says where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// By the file, as far as it says it at all.
    is_by_file: bool,
    has_address: bool,
}

impl Said {
    pub(super) fn of(route: &RouteSettings) -> Self {
        let address = route.address.as_ref().map(|address| &address.origin);
        let port = route.port.as_ref().map(|port| &port.origin);
        let mut said = address.into_iter().chain(port).peekable();
        let is_said = said.peek().is_some();
        Self {
            is_by_file: is_said && said.all(|origin| matches!(origin, Origin::File(_))),
            has_address: address.is_some(),
        }
    }

    /// Why a route may not lead there, if that is an engine.
    pub(super) fn refuse(self, upstream: &Upstream, inventory: &Inventory) -> Option<String> {
        let target = upstream.target.as_ref().filter(|_| !self.is_by_file)?;
        let entrance = inventory.values().find_map(|view| {
            let leads =
                |it: &&Entrance| it.may_be_led_to(target, self.has_address, &view.own_addresses);
            view.entrances.iter().find(leads)
        })?;
        Some(format!(
            "it would lead to {target}, and engine `{}` is reached at that port ({entrance}): whoever asks \
             the route would command the engine; if it is something else, say `port` and `address` of it \
             in the configuration file",
            entrance.engine()
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use drowse_provider::NetworkMode;

    use super::{
        super::{
            Inventory,
            tests::{config, enabled, engine, lines, make},
        },
        *,
    };

    /// One engine that is reached by a socket proxy, and others.
    fn inventory(containers: impl IntoIterator<Item = drowse_provider::Details>) -> Inventory {
        let mut docker = engine(containers);
        docker.entrances.extend(Entrance::of("docker", "tcp://socket-proxy:2375"));
        let others = [
            ("here", "tcp://127.0.0.1:2376"),
            ("pve", "https://10.0.0.9:8006"),
            ("nas", "ssh://me@10.0.0.7"),
            ("vm", "ssh://me@127.0.0.1:2222"),
        ];
        let others = others.map(|(name, url)| {
            let mut view = engine([]);
            view.own_addresses = Arc::new(["10.0.0.3".parse().unwrap()].into());
            view.entrances.extend(Entrance::of(name, url));
            (name.to_owned(), view)
        });
        others.into_iter().chain([("docker".to_owned(), docker)]).collect()
    }

    fn refused(label: &[(&str, &str)]) -> String {
        let labels: Vec<_> = [("drowse.host", "a.example")].iter().chain(label).copied().collect();
        let plan = make(&config(""), &inventory([enabled("app", 1, &labels)]));
        lines(&plan)
    }

    fn to(address: &str, port: &str) -> String {
        refused(&[("drowse.address", address), ("drowse.port", port)])
    }

    #[test]
    fn no_label_leads_a_route_to_an_engine() {
        insta::assert_snapshot!(to("socket-proxy", "2375"), @"error: container `app` on engine `docker`: route `default`: it would lead to socket-proxy:2375, and engine `docker` is reached at that port (tcp://socket-proxy:2375): whoever asks the route would command the engine; if it is something else, say `port` and `address` of it in the configuration file");
        insta::assert_snapshot!(to("10.0.0.9", "8006"), @"error: container `app` on engine `docker`: route `default`: it would lead to 10.0.0.9:8006, and engine `pve` is reached at that port (https://10.0.0.9:8006): whoever asks the route would command the engine; if it is something else, say `port` and `address` of it in the configuration file");
        // The same by any other name: that is not known to be another one.
        for (address, port) in [
            ("socket-proxy.", "2375"),
            ("localtest.me", "2376"),
            ("192.168.1.5", "2376"),
            ("10.0.0.7", "22"),
            ("10.0.0.3", "2222"),
            ("::ffff:10.0.0.3", "2222"),
        ] {
            assert!(to(address, port).contains("is reached at that port"), "{address}:{port}");
        }
        for (address, port) in [("socket-proxy", "80"), ("10.0.0.8", "22"), ("10.0.0.7", "2222")] {
            assert_eq!(to(address, port), "", "{address}:{port}");
        }
    }

    #[test]
    fn nor_one_of_a_container_that_is_where_the_engine_is() {
        let on_host = |port| {
            let mut app = enabled("app", 1, &[("drowse.host", "a.example"), ("drowse.port", port)]);
            app.network_mode = NetworkMode::Host;
            lines(&make(&config(""), &inventory([app])))
        };
        assert!(on_host("2376").contains("engine `here` is reached at that port"));
        assert_eq!([on_host("2375"), on_host("8006")], ["", ""], "those are elsewhere");
        let by_tcp = refused(&[
            ("drowse.routes.db.tcp", "5432"),
            ("drowse.routes.db.address", "127.0.0.1"),
            ("drowse.routes.db.port", "2376"),
        ]);
        assert!(by_tcp.contains("route `db`: it would lead to 127.0.0.1:2376"), "{by_tcp}");
    }

    #[test]
    fn the_file_may() {
        let config = config(
            "engines: { docker: { docker: \"unix:///var/run/docker.sock\" } }\n\
             workloads: { ui: { container: { engine: docker, name: app }, \
             routes: [{ host: pve.example, address: 10.0.0.9, port: 8006 }] } }",
        );
        let plan = make(&config, &inventory([super::super::tests::container("app", 1, &[])]));
        assert_eq!(lines(&plan), "");
    }
}
