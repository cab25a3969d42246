//! Networks of the tests.

use http::Method;
use serde_json::json;

use crate::container::TestContainer;
use crate::dockerd::Dockerd;

/// A bridge network of one test, removed on drop: make it before the containers on it, so that they
/// are gone by then.
#[derive(Debug)]
pub struct TestNetwork {
    engine: Dockerd,
    name: String,
}

impl TestNetwork {
    /// `number`: with the addresses `10.215.NUMBER.0/24`, instead of the engine's choice.
    pub(crate) async fn create(engine: Dockerd, name: String, number: Option<u8>) -> Self {
        let mut body = json!({ "Name": name, "Driver": "bridge" });
        if let Some(number) = number {
            let subnet = format!("10.215.{number}.0/24");
            body["IPAM"] = json!({ "Config": [{ "Subnet": subnet }] });
        }
        engine.call(Method::POST, "/networks/create", Some(&body)).await;
        Self { engine, name }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Attaches a container to it, whether that runs or not.
    pub async fn connect(&self, container: &TestContainer) {
        let path = format!("/networks/{}/connect", self.name);
        let body = json!({ "Container": container.id() });
        self.engine.call(Method::POST, &path, Some(&body)).await;
    }
}

impl Drop for TestNetwork {
    fn drop(&mut self) {
        let removed = self.engine.delete_blocking(&format!("/networks/{}", self.name));
        if let Err(error) = removed
            && !std::thread::panicking()
        {
            panic!("removing {}: {error}", self.name);
        }
    }
}
