//! Containers that are dialled at their own addresses, which come late and change.

use std::net::{IpAddr, SocketAddr};

use drowse_gateway::RouteSpec;
use drowse_provider::{Network, Port, Reach};
use drowse_watcher::{PhaseName, Policy};

use crate::{
    application::Application,
    client::{self, soon},
    site::{Plan, Site},
};

/// Its container sleeps, and will have this address on `net0` once it runs.
async fn site_at(address: Option<IpAddr>) -> Site {
    let site = Site::new(Plan { reach: Reach::Routed, ..Plan::default() }).await;
    moves(&site, address);
    site
}

fn moves(site: &Site, address: Option<IpAddr>) {
    let network = Network::new("net0", None, address.into_iter().collect());
    site.container.set_details(|details| details.networks = vec![network]);
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn an_address_that_comes_late_is_waited_for() {
    let site = site_at(None).await;
    let request = tokio::spawn(client::get(site.address, "/"));
    site.has_met("no address yet (its address on `net0`, once it has one").await;
    assert_eq!(site.workload.snapshot().phase, PhaseName::Probing);
    moves(&site, Some(ip("127.0.0.1")));
    assert_eq!(soon(request).await.unwrap().body, "hello");
    assert_eq!(site.starts(), 1);
}

#[tokio::test]
async fn who_waits_too_long_for_an_address_is_told_so_where_that_is_shown() {
    let policy = Policy::new(Plan::default().policy.idle)
        .with_wake_timeout(std::time::Duration::from_millis(1));
    let route = Box::new(|route: &mut RouteSpec| route.page_details = true);
    let site = Site::new(Plan { reach: Reach::Routed, policy, route, ..Plan::default() }).await;
    moves(&site, None);
    site.get("/").await.is_problem(504, "timeout");
    site.has_met("no address yet").await;
    let answer = site.get("/").await;
    assert!(answer.body.contains("no address yet (its address on `net0`"), "{}", answer.body);
}

#[tokio::test]
async fn a_changed_address_is_found_by_the_request_that_the_old_one_refuses() {
    let mut site = site_at(Some(ip("127.0.0.1"))).await;
    assert_eq!(site.get("/").await.status, 200);
    let old = site.application.address;
    let elsewhere = Application::start_at(SocketAddr::new(ip("127.0.0.2"), 0));
    let port = elsewhere.address.port();
    std::mem::replace(&mut site.application, elsewhere).stop().await;
    site.container.set_details(|details| details.exposed = vec![Port::tcp(port)]);
    moves(&site, Some(ip("127.0.0.2")));

    assert_eq!(site.get("/").await.body, "hello");
    assert_eq!(site.starts(), 1, "it ran all the time, and {old} was no more its own");
    assert_eq!(site.application.requests(), 1);
}

#[tokio::test]
async fn ipv6_is_dialled_where_there_is_no_other() {
    let mut site = site_at(Some(ip("::1"))).await;
    site.application = Application::start_at(SocketAddr::new(ip("::1"), 0));
    let port = site.application.address.port();
    site.container.set_details(|details| details.exposed = vec![Port::tcp(port)]);
    assert_eq!(site.get("/").await.body, "hello");
    assert_eq!(site.application.requests(), 1);
}
