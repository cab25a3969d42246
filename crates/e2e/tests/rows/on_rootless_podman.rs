//! On the Podman of a user who is not root.

use drowse_e2e::{DEADLINE, Dockerd, Site};

use super::on_podman::is_served;

/// As row 42: its containers' addresses may be strangers' here, and are never dialled.
#[tokio::test]
async fn row_42_what_it_publishes_is_served_and_nothing_else() {
    let site = Site::on(Dockerd::rootless_podman()).await;
    let app = site.container("published").publish(80).label("drowse.enable", "true");
    let app = app.label("drowse.host", "published.test").label("drowse.idle", "1s").create().await;
    let inside = site.container("inside").label("drowse.enable", "true");
    let inside = inside.label("drowse.host", "inside.test").create().await;
    let drowse = site.drowse_by_labels().start().await;
    for _ in 1..=2 {
        is_served(&drowse, "published.test").await;
        app.wait_for("exited", DEADLINE).await;
    }
    let why = "rootless";
    drowse.logs().wait_for(&["ERROR not managed", inside.name(), why], DEADLINE).await;
    assert_eq!(drowse.get("inside.test", "/").send().await.status, 404);
}
