//! The compose files to copy, as compose itself reads them. What they say to drowse, and whether the
//! files beside them agree, the program's own tests look at.

use std::path::Path;

use drowse_e2e::{DEADLINE, within};
use tokio::process::Command;

async fn compose(folder: &str, group: Option<&str>) -> std::process::Output {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/compose");
    let mut command = Command::new("docker-compose");
    command.args(["config", "--quiet"]).current_dir(examples.join(folder));
    command.env_remove("DOCKER_GID").envs(group.map(|group| ("DOCKER_GID", group)));
    within(DEADLINE * 3, "compose to read a file", command.output()).await.unwrap()
}

#[tokio::test]
async fn the_files_to_copy_are_what_compose_expects() {
    for folder in ["alone", "traefik", "caddy", "nginx"] {
        let read = compose(folder, Some("999")).await;
        assert!(read.status.success(), "{folder}: {}", String::from_utf8_lossy(&read.stderr));
    }
    let refused = compose("alone", None).await;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && words.contains("as in the first lines"), "{words}");
}
