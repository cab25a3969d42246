//! By what goes through.

mod clients;
mod compose;
mod holding;
mod passing;

use drowse_e2e::{Drowse, DrowseSpec, Site, TestContainer, Workload};

use crate::front::{Front, HOST, Kind};

/// An application, drowse, and a proxy in front of it.
struct Stack {
    app: TestContainer,
    drowse: Drowse,
    front: Front,
    _site: Site,
}

/// What a drowse that trusts the proxy in front says.
const TRUSTING: &str = "trusted_proxies: [127.0.0.1]\n";

impl Stack {
    /// With an application that needs this long to be ready, and these lines in drowse's
    /// configuration.
    async fn new(kind: Kind, ready_delay_ms: u64, lines: &str) -> Self {
        let site = Site::new().await;
        let app = site.container("wiki").env("READY_DELAY_MS", ready_delay_ms).create().await;
        let drowse = drowse(&site, &app, lines).await;
        let front = kind.before(drowse.address()).await;
        Self { app, drowse, front, _site: site }
    }

    /// As documented.
    async fn documented(kind: Kind) -> Self {
        Self::new(kind, 0, TRUSTING).await
    }
}

/// A drowse that has read its one workload, as its users run it.
async fn drowse(site: &Site, app: &TestContainer, lines: &str) -> Drowse {
    let workload = Workload::named(app.name(), &[HOST]).idle("1h");
    let config = format!("{lines}{}", site.config(&[workload]));
    let drowse = DrowseSpec::default().config(&config).start().await;
    drowse.wait_until_read(app.name()).await;
    drowse
}
