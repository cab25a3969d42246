//! A client of a stand-in, and how tests wait.

use std::time::Duration;

use drowse_fakepve::FakePve;
use drowse_provider::Deadline;
use drowse_proxmox::{Client, ClientOptions, Credentials, Secret, Trust};

/// Far longer than anything takes, even on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

pub(crate) fn token() -> Credentials {
    let (id, secret) = (FakePve::TOKEN_ID, FakePve::TOKEN_SECRET);
    Credentials::Token { id: id.parse().unwrap(), secret: Secret::Given(secret.into()) }
}

pub(crate) fn password() -> Credentials {
    let secret = Secret::Given(FakePve::PASSWORD.into());
    Credentials::Password { user: FakePve::USER.into(), secret }
}

pub(crate) fn pinned(pve: &FakePve) -> Trust {
    Trust::Fingerprints(vec![pve.fingerprint().parse().unwrap()])
}

/// With its token, its certificate pinned, at all its endpoints.
pub(crate) fn client(pve: &FakePve) -> Client {
    client_with(pve, token(), pinned(pve))
}

pub(crate) fn client_with(pve: &FakePve, credentials: Credentials, trust: Trust) -> Client {
    let endpoints = pve.urls().iter().map(|url| url.parse().unwrap()).collect();
    Client::new(ClientOptions::new(endpoints, credentials, trust)).unwrap()
}

/// What `look` finds, sooner or later.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let Ok(found) = tokio::time::timeout(PATIENCE, found).await else {
        panic!("waited {PATIENCE:?} until {what}");
    };
    found
}
