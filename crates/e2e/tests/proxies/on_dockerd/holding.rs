//! Requests that are held for longer than proxies wait by themselves.

use std::time::Duration;

use drowse_e2e::{Site, http};

use super::{Front, HOST, Kind, TRUSTING, drowse};

/// nginx waits for 60 s unless it is told otherwise; on a busy machine it may notice late.
const READY_DELAY_MS: u64 = 70_000;

const CADDY_WITHOUT_SETTINGS: &str = "
(drowse) {
	reverse_proxy 127.0.0.1:8080
}
wiki.example.com, notes.example.com {
	import drowse
}
";

const PATIENCE: Duration = Duration::from_secs(150);

#[tokio::test]
async fn a_request_is_held_for_longer_than_proxies_wait_by_themselves() {
    let site = Site::new().await;
    let app = site.container("wiki").env("READY_DELAY_MS", READY_DELAY_MS).create().await;
    let drowse = drowse(&site, &app, TRUSTING).await;
    let (nginx, caddy) = (Kind::nginx(), Kind::caddy());
    let impatient = nginx.clone().with("proxy_read_timeout 1h;", "");
    let plain = Kind::Caddy(CADDY_WITHOUT_SETTINGS.to_owned());
    let (nginx, impatient, caddy, plain) = tokio::join!(
        nginx.before(drowse.address()),
        impatient.before(drowse.address()),
        caddy.before(drowse.address()),
        plain.before(drowse.address()),
    );
    let ask = |front: &Front| http::get(front.http, "/").host(HOST).deadline(PATIENCE).send();
    let (nginx, impatient, caddy, plain) =
        tokio::join!(ask(&nginx), ask(&impatient), ask(&caddy), ask(&plain));

    assert_eq!(impatient.status, 504, "{}", impatient.text());
    assert!(impatient.text().contains("nginx"), "it is nginx that answers");
    for answer in [nginx, caddy, plain] {
        answer.assert_served();
    }
    assert_eq!(site.starts(&app).await, 1);
}
