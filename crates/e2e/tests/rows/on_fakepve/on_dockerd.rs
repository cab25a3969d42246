//! A cluster and a Docker engine, managed by one drowse.

use drowse_e2e::{DEADLINE, ProxmoxSite, Site};

#[tokio::test]
async fn an_app_in_docker_and_its_database_in_a_container_of_proxmox_go_round_together() {
    let (site, cluster) = (Site::new().await, ProxmoxSite::new().await);
    let db = cluster.guest(201, |ct| ct).await;
    let app = site.container("app").create().await;
    let rest = format!(
        "  home: {{ docker: \"{}\" }}\nworkloads:\n  app:\n    container: {{ engine: home, name: {} }}\n    \
         routes: [{{ host: app.test, port: 80 }}]\n    idle: 1s\n    needs: [db]\n  \
         db:\n    container: {{ engine: pve, vmid: 201 }}\n",
        site.relay.url(),
        app.name(),
    );
    let drowse = cluster.drowse(&rest).start().await;
    for name in ["app", "db"] {
        drowse.wait_until_read(name).await;
    }
    // Its database cannot start for a while: nothing is started before it.
    cluster.pve.lock(201, "backup").await;
    let request = drowse.get("app.test", "/").deadline(DEADLINE).send();
    let unlock = async {
        drowse.logs().wait_for(&["cannot be woken yet", "workload=db"], DEADLINE).await;
        assert_eq!(drowse.row("app").await["state"], "starting");
        assert_eq!(site.starts(&app).await, 0);
        cluster.pve.unlock(201).await;
    };
    let (answer, ()) = tokio::join!(request, unlock);
    answer.assert_served();
    assert!(cluster.pve.state(201).await.is_running());

    // The last that is awake is what was needed.
    cluster.wait_until(&db, false, DEADLINE).await;
    assert_eq!(app.state().await.status, "exited");
    assert_eq!((cluster.taken("vzstart").await, cluster.taken("vzshutdown").await), (1, 1));

    drowse.get("app.test", "/").deadline(DEADLINE).send().await.assert_served();
    cluster.wait_until(&db, false, DEADLINE).await;
    assert_eq!((app.state().await.status.as_str(), site.starts(&app).await), ("exited", 2));
}
