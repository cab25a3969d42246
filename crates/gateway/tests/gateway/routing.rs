//! Which requests find a route, and what the others are told.

use drowse_gateway::{Route, RouteTable};
use drowse_watcher::PhaseName;

use crate::{client::Raw, site::Site};

#[tokio::test]
async fn hosts_are_found_without_regard_to_case_port_and_trailing_dot() {
    let site = Site::ready().await;
    for host in ["app.test", "APP.test:8080", "app.test.", "a.below.test", "a.b.below.test"] {
        let mut client = Raw::connect(site.address).await;
        client.write(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        let answer = client.read_all().await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        let (_, headers) = site.application.last_seen();
        assert_eq!(headers["host"], host, "passed on as it was sent");
    }
}

#[tokio::test]
async fn an_unknown_host_wakes_nothing_and_is_404() {
    let site = Site::asleep().await;
    for host in ["other.test", "below.test", "xapp.test"] {
        let mut client = Raw::connect(site.address).await;
        client.write(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        let answer = client.read_all().await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains("\"reason\":\"no-route\""), "{answer}");
    }
    assert_eq!(site.starts(), 0);
    assert_eq!(site.workload.snapshot().phase, PhaseName::Asleep);
}

#[tokio::test]
async fn while_discovering_an_unknown_host_is_503_with_retry_after() {
    let site = Site::ready().await;
    site.gateway.set_discovering(true);
    let ask = || async {
        let mut client = Raw::connect(site.address).await;
        client.write("GET / HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n").await;
        client.read_all().await.to_ascii_lowercase()
    };
    let answer = ask().await;
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after:") && answer.contains("\"discovering\""), "{answer}");
    assert_eq!(site.get("/").await.status, 200, "what is known is served");

    site.gateway.set_discovering(false);
    assert!(ask().await.starts_with("http/1.1 404"));
}

#[tokio::test]
async fn a_path_that_no_route_has_is_404() {
    let site = Site::with_route(|route| route.path = "/app".parse().unwrap()).await;
    site.wake().await;
    assert_eq!(site.get("/app/x?q=1").await.status, 200);
    assert_eq!(site.application.last_seen().0, "GET /app/x?q=1");
    site.get("/apple").await.is_problem(404, "no-route");
}

#[tokio::test]
async fn a_request_for_no_host_or_several_is_400() {
    let site = Site::asleep().await;
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "GET / HTTP/1.1\r\nHost: app.test\r\nHost: app.test\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n",
        "GET / HTTP/1.1\r\nHost: user@app.test\r\n",
        "GET / HTTP/1.1\r\nHost: app.test/x\r\n",
        "GET / HTTP/1.1\r\nHost: app.test, other.test\r\n",
        "CONNECT app.test:80 HTTP/1.1\r\nHost: app.test:80\r\n",
    ] {
        let mut client = Raw::connect(site.address).await;
        client.write(&format!("{head}Connection: close\r\n\r\n")).await;
        let answer = client.read_all().await;
        assert!(
            answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"),
            "{head}{answer}"
        );
    }
    assert_eq!(site.starts(), 0);
}

#[tokio::test]
async fn the_host_of_an_absolute_target_counts_and_is_passed_on() {
    let site = Site::ready().await;
    let mut client = Raw::connect(site.address).await;
    client
        .write("GET http://app.test/x?y HTTP/1.1\r\nHost: other.test\r\nConnection: close\r\n\r\n")
        .await;
    assert!(client.read_all().await.starts_with("HTTP/1.1 200"));
    let (target, headers) = site.application.last_seen();
    assert_eq!(target, "GET /x?y");
    assert_eq!(headers["host"], "app.test");
}

#[tokio::test]
async fn drowses_own_paths_are_never_forwarded() {
    let site = Site::ready().await;
    let state = site.get("/.well-known/drowse/ready").await;
    assert_eq!(state.status, 200);
    assert!(state.body.contains("\"ready\":true"), "{state:?}");
    site.get("/.well-known/drowse/other").await.is_problem(404, "no-route");
    assert_eq!(site.application.requests(), 0);
    assert_eq!(site.get("/.well-known/acme").await.status, 200);
}

#[tokio::test]
async fn a_new_table_counts_from_the_next_request_on() {
    let site = Site::ready().await;
    let mut connection = crate::client::connect(site.address).await;
    let ask = || crate::client::request("/", &[]);
    assert_eq!(crate::client::send(&mut connection, ask()).await.status, 200);
    site.gateway.replace_routes(RouteTable::default());
    crate::client::send(&mut connection, ask()).await.is_problem(404, "no-route");
}

#[tokio::test]
async fn two_routes_cannot_claim_the_same() {
    let site = Site::asleep().await;
    let table = site.gateway.routes();
    let spec = table.routes()[0].spec().clone();
    let mut other = spec.clone();
    other.name = "other".into();
    let conflict =
        RouteTable::build([Route::new(spec.clone()), Route::new(other.clone())]).unwrap_err();
    assert_eq!((conflict.first.as_str(), conflict.second.as_str()), ("app", "other"));

    other.path = "/other".parse().unwrap();
    assert!(RouteTable::build([Route::new(spec), Route::new(other)]).is_ok());
}

#[tokio::test]
async fn the_most_specific_route_wins() {
    let site = Site::ready().await;
    let spec = site.gateway.routes().routes()[0].spec().clone();

    let route = |name: &str, host: &str, path: &str| {
        let mut spec = spec.clone();
        spec.name = name.into();
        spec.hosts = vec![host.parse().unwrap()];
        spec.path = path.parse().unwrap();
        Route::new(spec)
    };
    let routes = [
        route("root", "app.test", "/"),
        route("deep", "app.test", "/a/b"),
        route("shallow", "app.test", "/a"),
        route("wild", "*.test", "/"),
        route("wilder", "*.sub.test", "/"),
        route("only-path", "x.sub.test", "/only"),
    ];
    site.gateway.replace_routes(RouteTable::build(routes).unwrap());
    for (host, path, expected) in [
        ("app.test", "/", "root"),
        ("app.test", "/ab", "root"),
        ("app.test", "/a", "shallow"),
        ("app.test", "/a/c", "shallow"),
        ("app.test", "/a/b/c", "deep"),
        ("b.test", "/", "wild"),
        ("y.sub.test", "/", "wilder"),
        ("x.sub.test", "/only/this", "only-path"),
        ("x.sub.test", "/", "wilder"),
    ] {
        let found =
            site.gateway.routes().route_for(host, path).map(|route| route.spec().name.clone());
        assert_eq!(found.as_deref(), Some(expected), "{host}{path}");
    }
    assert!(site.gateway.routes().route_for("test", "/").is_none());
}
