//! The real docker-compose replaces a service that is in use.

use std::{process::Stdio, time::Duration};

use ::http::Method;
use drowse_e2e::{DEADLINE, Drowse, Site, eventually, scratch_folder, within};
use tempfile::TempDir;
use tokio::process::Command;

use super::{NEVER, updates::none_fails_during};

/// An update takes as long as its application takes to start, and docker-compose itself a second or
/// two.
const COMMAND_DEADLINE: Duration = Duration::from_mins(2);

/// A compose project of one service, `app`, whose containers belong to a site. Taken down on drop.
struct Project {
    folder: TempDir,
    name: String,
    engine: String,
}

impl Project {
    fn of(site: &Site, name: &str) -> Self {
        let folder = scratch_folder();
        let (key, id) = site.label();
        let yaml = format!(
            r#"
services:
  app:
    image: {name}:latest
    expose: ["80"]
    environment: {{ READY_DELAY_MS: "500" }}
    labels:
      {key}: "{id}"
      drowse.enable: "true"
      drowse.host: {name}.test
      drowse.idle: {NEVER}
"#
        );
        std::fs::write(folder.path().join("docker-compose.yml"), yaml).unwrap();
        Self { folder, name: format!("{name}-{}", std::process::id()), engine: site.engine.url() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("docker-compose");
        command
            .args(["--project-name", &self.name, "--ansi", "never"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("DOCKER_HOST", &self.engine)
            .stdin(Stdio::null());
        command
    }

    /// Runs `docker-compose ARGUMENTS` to its successful end.
    async fn compose(&self, arguments: &[&str]) {
        let what = format!("docker-compose {}", arguments.join(" "));
        let output = self.command(arguments).output();
        let output = within(COMMAND_DEADLINE, &what, output).await.unwrap();
        assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let mut down = self.command(&["down", "--timeout", "0"]);
        // What is left dies with the engine.
        down.as_std_mut().output().ok();
    }
}

/// Gives the test application's image this name as well.
async fn tag(site: &Site, name: &str) {
    let path = format!("/images/drowse-testapp:1/tag?repo={name}&tag=latest");
    site.engine.call(Method::POST, &path, None).await;
}

/// Another image under this name, as a pull brings it.
async fn pull_another(site: &Site, name: &str) {
    let base = site.container("another").create().await;
    let path = format!(
        "/commit?container={}&repo={name}&tag=latest&changes=ENV%20NAME%3Danother",
        base.id()
    );
    site.engine.call(Method::POST, &path, None).await;
}

/// A project whose service is up and served.
async fn served(name: &str) -> (Site, Project, Drowse) {
    let site = Site::new().await;
    tag(&site, name).await;
    let project = Project::of(&site, name);
    project.compose(&["up", "-d"]).await;
    let drowse = site.drowse_by_labels().start().await;
    let host = format!("{name}.test");
    eventually(DEADLINE, "the service to be served", || async {
        (drowse.get(&host, "/").send().await.status == 200).then_some(())
    })
    .await;
    (site, project, drowse)
}

#[tokio::test]
async fn row_38_docker_compose_recreates_a_service_under_traffic() {
    let (site, project, drowse) = served("forced").await;
    let update = Box::pin(project.compose(&["up", "-d", "--force-recreate"]));
    none_fails_during(&drowse, "forced.test", update).await;
    assert_eq!(site.relay.count(|request| request.is_order("start")), 0, "drowse started one");
}

#[tokio::test]
async fn row_38_docker_compose_brings_a_new_image_under_traffic() {
    let (site, project, drowse) = served("pulled").await;
    pull_another(&site, "pulled").await;
    let update = Box::pin(project.compose(&["up", "-d"]));
    none_fails_during(&drowse, "pulled.test", update).await;
    assert_eq!(site.relay.count(|request| request.is_order("start")), 0, "drowse started one");
    let answer = drowse.get("pulled.test", "/").send().await;
    answer.assert_served();
    assert!(answer.text().contains("another"), "{}", answer.text());
}
