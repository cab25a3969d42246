//! A picture of each state, for people: `cargo xtask pictures` keeps them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use drowse_gateway::RouteSpec;
use drowse_provider::{Action, ErrorKind, testing::Step};
use serde_json::{Value, json};

use super::{
    browser::Tab,
    cases::{silent, step},
};
use crate::site::{Plan, Site};

const GOING: &str = "/starting|answering/.test(document.documentElement.dataset.step)";
const CLOCK: &str = "document.querySelector('[data-drowse=clock]').textContent";

/// Where they go: if nobody wants them, it is only seen that they can be made.
enum Folder {
    Wanted(PathBuf),
    Passing(tempfile::TempDir),
}

impl Folder {
    fn new() -> Self {
        match std::env::var_os("DROWSE_PICTURES") {
            Some(folder) => Self::Wanted(folder.into()),
            None => Self::Passing(tempfile::tempdir().unwrap()),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Wanted(folder) => folder,
            Self::Passing(folder) => folder.path(),
        }
    }
}

fn screen(scheme: &str, language: &str) -> Value {
    json!({
        "viewport": { "width": 640, "height": 480 },
        "colorScheme": scheme,
        "locale": language,
    })
}

async fn take(site: &Site, name: &str, options: Value, until: &str) {
    let folder = Folder::new();
    let tab = Tab::open(site, options).await;
    tab.go("/").await;
    tab.until(until).await;
    if let Folder::Wanted(_) = folder {
        // The bar and the clock are at the same place in each picture.
        tab.until(&format!("{until} && (!{GOING} || /^[67] /.test({CLOCK}))")).await;
    }
    let path = folder.path().join(format!("{name}.png"));
    tab.picture(&path).await;
    assert!(std::fs::read(&path).unwrap().starts_with(b"\x89PNG"));
    tab.close().await;
}

fn usual() -> Plan {
    Plan { name: "Nextcloud", wakes: vec![Duration::from_secs(12)], ..Plan::default() }
}

#[tokio::test]
async fn of_each_state() {
    for scheme in ["light", "dark"] {
        let shot = |state: &str| format!("waiting-{state}-{scheme}");
        let site = silent(Plan { needs: Some("postgres"), ..usual() }).await;
        take(&site, &shot("dependencies"), screen(scheme, "en-GB"), &step("dependencies")).await;

        let site = silent(usual()).await;
        site.container.always(Action::Start, Step::hang());
        take(&site, &shot("starting"), screen(scheme, "en-GB"), &step("starting")).await;

        let site = silent(usual()).await;
        take(&site, &shot("answering"), screen(scheme, "en-GB"), &step("answering")).await;

        let route = Box::new(|route: &mut RouteSpec| route.page_details = true);
        let site = Site::new(Plan { route, ..usual() }).await;
        let message = "exec: \"/app/serve\": stat /app/serve: no such file or directory".to_owned();
        let refusal = Step::refuse(ErrorKind::Failed { exit: Some(127), message });
        site.container.always(Action::Start, refusal);
        take(&site, &shot("failed"), screen(scheme, "en-GB"), &step("failed")).await;
    }
    let site = silent(usual()).await;
    let mut phone = screen("dark", "de-DE");
    phone["viewport"] = json!({ "width": 360, "height": 640 });
    phone["deviceScaleFactor"] = json!(1.5);
    take(&site, "waiting-phone-german-dark", phone, &step("answering")).await;
}
