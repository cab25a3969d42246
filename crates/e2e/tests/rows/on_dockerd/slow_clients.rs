//! Clients that are as slow as they can be: slowhttptest, in each of its ways.

use drowse_e2e::{DEADLINE, Site, Workload, eventually};

use super::{NEVER, tools};

/// Descriptors that come and go by themselves: to the engine, to the application.
const MARGIN: usize = 16;

/// 150 clients for six seconds, as slow as this says.
async fn slow(how: &str, url: String) -> String {
    let common = ["-c", "150", "-r", "150", "-l", "6", "-p", "5", "-u", &url];
    let arguments: Vec<_> = how.split(' ').chain(common).collect();
    tools::run("slowhttptest", &arguments).await.text
}

#[tokio::test]
async fn slow_clients_take_nothing_from_others_and_leave_nothing() {
    let site = Site::new().await;
    let app = site.container("slow").create().await;
    // Its requests are for the address that it connects to.
    let drowse = site.start(&[Workload::named(app.name(), &["127.0.0.1"]).idle(NEVER)]).await;
    let before = drowse.descriptors();
    drowse.get("127.0.0.1", "/").deadline(DEADLINE).send().await.assert_served();

    let address = drowse.address();
    let attacks = tokio::spawn(async move {
        let download = format!("http://{address}/stream?bytes=4000000&ms=0");
        let upload = format!("http://{address}/upload");
        tokio::join!(
            slow("-H -i 2", upload.clone()),
            slow("-B -i 2 -s 8192", upload),
            slow("-X -w 1 -y 16 -n 1 -z 8", download),
        )
    });
    let mut served = 0;
    while !attacks.is_finished() {
        let answer = drowse.get("127.0.0.1", "/status/200").deadline(DEADLINE).send().await;
        assert_eq!(answer.status, 200);
        served += 1;
    }
    let (heads, bodies, reads) = attacks.await.unwrap();
    for said in [heads, bodies, reads] {
        assert!(said.contains("Exit status"), "{said}");
    }
    assert!(served > 0);
    assert_eq!(site.starts(&app).await, 1);

    eventually(DEADLINE, "nothing to be left of them", || async {
        let row = drowse.row(app.name()).await;
        let is_unused = row["leases"] == 0 && row["waiting"] == 0;
        (is_unused && drowse.descriptors() <= before + MARGIN).then_some(())
    })
    .await;
}
