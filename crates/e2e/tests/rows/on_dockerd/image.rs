//! The image that the Dockerfile makes, as it is meant to be run: without root, on a file system that
//! cannot be written to.

use std::os::unix::fs::{PermissionsExt as _, chown};

use drowse_e2e::Site;
use serde_json::json;

/// Nobody has it on this machine.
const SOCKETS_GROUP: u32 = 61_234;

#[tokio::test]
async fn without_root_and_on_a_read_only_file_system_it_wakes_and_puts_to_sleep() {
    let site = Site::new().await;
    let network = site.network("image").await;
    let app = site.container("plain").label("drowse.enable", "true");
    let app = app.label("drowse.host", "plain.test").label("drowse.idle", "1s");
    let app = app.network(network.name()).create().await;
    let socket = site.relay.socket();
    chown(socket, Some(0), Some(SOCKETS_GROUP)).unwrap();
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660)).unwrap();

    let spec = site.contained().await.with(|container| {
        // The image's own user.
        container
            .config("User", json!(""))
            .network(network.name())
            .host_config("GroupAdd", json!([SOCKETS_GROUP.to_string()]))
            .host_config("ReadonlyRootfs", json!(true))
            .host_config("Tmpfs", json!({ "/run": "" }))
            .host_config("CapDrop", json!(["ALL"]))
            .host_config("SecurityOpt", json!(["no-new-privileges"]))
    });
    let drowse = spec.start(&[]).await;
    drowse.answers(network.name(), "plain.test", 200).await.assert_served();
    site.wait_until_stopped(&app, 1).await;
    // It ends by itself when it is asked to.
    drowse.container().stop().await;
    assert_eq!(drowse.container().state().await.exit_code, 0, "{}", drowse.log().await);
    assert!(drowse.log().await.contains("ended"));
}

#[tokio::test]
async fn a_socket_that_it_may_not_open_is_told_with_the_group() {
    let site = Site::new().await;
    let socket = site.relay.socket();
    chown(socket, Some(0), Some(SOCKETS_GROUP)).unwrap();
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660)).unwrap();
    let spec = site.contained().await.arguments(["check"]);
    let ended = spec.with(|spec| spec.config("User", json!(""))).run_to_end(&[]).await;
    assert_eq!(ended.code, 69, "{}", ended.log);
    let group = format!("the group that owns the socket (`{SOCKETS_GROUP}`)");
    assert!(ended.log.contains(&group), "{}", ended.log);
}
