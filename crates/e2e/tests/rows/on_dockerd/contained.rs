//! drowse in a container: which address each route uses.

use drowse_e2e::{ContainerSpec, DEADLINE, Site, eventually};
use serde_json::Value;

/// Enabled, under `NAME.test`.
fn labelled(site: &Site, name: &str) -> ContainerSpec {
    site.container(name).label("drowse.enable", "true").label("drowse.host", format!("{name}.test"))
}

/// Where `check`, in a container on these networks, says that the only route leads, and why.
async fn checked(site: &Site, networks: &[&drowse_e2e::TestNetwork]) -> (i64, Value) {
    let spec = site.contained().await.arguments(["check", "--json"]);
    let own = networks[0].name().to_owned();
    let spec = spec.with(|container| container.network(&own));
    let ended = spec.run_to_end(&networks[1..]).await;
    match serde_json::from_str(&ended.stdout) {
        Ok(report) => (ended.code, report),
        Err(error) => {
            panic!("no JSON: {error}: {}\nof all that it wrote: {}", ended.stdout, ended.log)
        }
    }
}

#[tokio::test]
async fn on_the_workloads_network_it_is_the_address_there() {
    let site = Site::new().await;
    let network = site.network("shared").await;
    let app = labelled(&site, "shared").network(network.name()).create().await;
    let spec = site.contained().await.with(|container| container.network(network.name()));
    let drowse = spec.start(&[]).await;
    drowse.answers(network.name(), "shared.test", 200).await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
    let (code, report) = checked(&site, &[&network]).await;
    assert_eq!(code, 0, "{report}");
    let ip = app.ip_on(network.name()).await;
    assert_eq!(report["workloads"][0]["routes"][0]["upstream"], format!("{ip}:80"), "{report}");
}

#[tokio::test]
async fn on_another_network_it_is_the_published_port_at_the_gateway() {
    let site = Site::new().await;
    let (its, ours) = (site.network("its").await, site.network("ours").await);
    let everywhere = "0.0.0.0:0".parse().unwrap();
    let app = labelled(&site, "gatewayed").network(its.name()).publish_at(80, everywhere);
    let app = app.create().await;
    let drowse = site.contained().await.with(|container| container.network(ours.name()));
    let drowse = drowse.start(&[]).await;
    drowse.answers(ours.name(), "gatewayed.test", 200).await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
    let (_, report) = checked(&site, &[&ours]).await;
    let why = report["workloads"][0]["routes"][0]["why"].as_str().unwrap();
    assert!(why.contains(&format!("at the gateway of `{}`", ours.name())), "{report}");
}

#[tokio::test]
async fn published_on_loopback_only_it_is_an_error_with_the_lines_to_add() {
    let site = Site::new().await;
    let (its, ours) = (site.network("its").await, site.network("ours").await);
    let app = labelled(&site, "local").network(its.name());
    let app = app.publish_at(80, "127.0.0.1:28080".parse().unwrap()).create().await;
    let (code, report) = checked(&site, &[&ours]).await;
    assert_eq!(code, 1, "{report}");
    let message = report["problems"][0]["message"].as_str().unwrap();
    let message = message.replace(app.name(), "APP").replace(its.name(), "ITS");
    insta::assert_snapshot!(message, @r#"container `APP` on engine `docker`: route `default`: port 80 cannot be reached from drowse's own container: the two share no network, and it is published on the host's loopback address 127.0.0.1 only; let drowse join its network (`networks: [default, ITS]` for drowse, and below the services `networks: { ITS: { external: true } }`), or publish the port on all addresses (`ports: ["28080:80"]`), or add `address`"#);

    // What it says helps: with its network joined, it is served.
    let drowse = site.contained().await.with(|container| container.network(ours.name()));
    let drowse = drowse.start(&[]).await;
    drowse.logged(&["not managed", app.name(), "own container", its.name()]).await;
    its.connect(drowse.container()).await;
    // What a site shows of the engine's events has none of networks in it: see the scripted tests.
    drowse.container().restart().await;
    drowse.answers(ours.name(), "local.test", 200).await.assert_served();
}

#[tokio::test]
async fn on_several_networks_the_label_chooses() {
    let site = Site::new().await;
    let (a, b) = (site.network("a").await, site.network("b").await);
    // The application answers at one of its addresses only.
    let label = |spec: ContainerSpec| spec.network(a.name()).label("drowse.network", b.name());
    let app = label(labelled(&site, "several")).create().await;
    b.connect(&app).await;
    let drowse = site.contained().await.with(|container| container.network(a.name()));
    let drowse = drowse.start(&[&b]).await;
    drowse.answers(a.name(), "several.test", 200).await.assert_served();
    let ip = app.ip_on(b.name()).await;
    let (_, report) = checked(&site, &[&a, &b]).await;
    assert_eq!(report["workloads"][0]["routes"][0]["upstream"], format!("{ip}:80"), "{report}");

    let undecided = labelled(&site, "undecided").network(a.name()).create().await;
    b.connect(&undecided).await;
    let (_, report) = checked(&site, &[&a, &b]).await;
    let workloads = report["workloads"].as_array().unwrap();
    let line = workloads.iter().find(|line| line["workload"] == undecided.name()).unwrap();
    let why = line["routes"][0]["why"].as_str().unwrap();
    assert!(why.contains("`network` chooses"), "{why}");
}

#[tokio::test]
async fn on_the_hosts_network_it_is_as_on_the_host() {
    let site = Site::new().await;
    let network = site.network("hosts").await;
    let app = labelled(&site, "hosts").network(network.name()).create().await;
    let port = drowse_e2e::free_port();
    let listen = format!("127.0.0.1:{port}");
    let drowse = site.contained().await.arguments(["run", "--listen", &listen]);
    let drowse = drowse.with(|container| container.network("host")).start(&[]).await;
    drowse.logged(&["listening", &listen]).await;
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    eventually(DEADLINE, "the application to be served", || async {
        let request = drowse_e2e::http::get(address, "/").host("hosts.test");
        let answer = request.try_send().await.ok()?;
        (answer.status == 200).then(|| answer.assert_served())
    })
    .await;
    assert_eq!(site.starts(&app).await, 1);
}

#[tokio::test]
async fn row_34_drowse_never_stops_itself() {
    let site = Site::new().await;
    let network = site.network("self").await;
    let app = labelled(&site, "other").network(network.name()).create().await;
    // By its labels, and by the file under another name; and what it lives beside it manages.
    let drowse = site.contained().await;
    let drowse = drowse.with(|container| {
        let container = container.network(network.name()).exact_name(&format!("{}-d", app.name()));
        container.label("drowse.enable", "true").label("drowse.idle", "1s")
    });
    let own = format!("{}-d", app.name());
    let file = format!(
        "workloads: {{ me: {{ container: {{ name: \"{own}\" }}, idle: 1s, routes: [{{ host: me.test, port: 8080 }}] }} }}"
    );
    let drowse = drowse.config(&file).start(&[]).await;
    drowse.logged(&["not managed", "`me`", "drowse itself runs in it"]).await;
    drowse.answers(network.name(), "other.test", 200).await.assert_served();
    drowse.answers(network.name(), "me.test", 404).await;
    super::let_pass(std::time::Duration::from_secs(2)).await;
    assert_eq!(drowse.container().state().await.status, "running");
    assert_eq!(site.events.heard(drowse.container(), "kill"), 0);
}

#[tokio::test]
async fn row_34_nor_the_container_whose_network_it_lives_in() {
    let site = Site::new().await;
    let network = site.network("vpn").await;
    let vpn = labelled(&site, "vpn").label("drowse.idle", "1s").network(network.name()).run().await;
    let app = labelled(&site, "beside").network(network.name()).create().await;
    let mode = format!("container:{}", vpn.id());
    let drowse = site.contained().await.with(|container| container.network(&mode)).start(&[]).await;
    drowse.logged(&["not managed", vpn.name(), "drowse itself lives in its network"]).await;
    // It is reached where that container is, and reaches the network that it lives in.
    let address = vpn.ip_on(network.name()).await;
    let answer = drowse.get_at(address, "beside.test", "/").deadline(DEADLINE).send().await;
    answer.assert_served();
    assert_eq!(site.starts(&app).await, 1);
    super::let_pass(std::time::Duration::from_secs(2)).await;
    assert_eq!(vpn.state().await.status, "running");
}
