//! Bodies over HTTP/2 that nobody reads yet, by nghttp, which is not ours.

use std::process::Stdio;

use drowse_e2e::http::get;
use drowse_e2e::{DEADLINE, Site, Workload, within};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::NEVER;

/// Uploads of this many bytes: each more than a stream may send before it is read.
const BODY: usize = 1 << 20;

/// How many of each are sent on the one connection.
const STREAMS: usize = 20;

#[tokio::test]
async fn row_52_bodies_for_who_sleeps_stall_no_other_on_the_connection() {
    let site = Site::new().await;
    // It never is ready, so whatever is for it is held until its client goes.
    let asleep = site.container("unready").env("READY_DELAY_MS", 3_600_000).create().await;
    let awake = site.container("ready").create().await;
    let route = |path| [format!("host: 127.0.0.1, path: {path}, port: 80")];
    let workloads = [
        Workload::by_routes(&asleep, &route("/asleep")).idle(NEVER),
        Workload::by_routes(&awake, &route("/upload")).idle(NEVER),
    ];
    let drowse = site.start(&workloads).await;
    let upload = get(drowse.address(), "/upload").host("127.0.0.1").deadline(DEADLINE);
    assert_eq!(upload.send().await.status, 200);

    let file = drowse.spec().folder().join("body");
    std::fs::write(&file, vec![b'x'; BODY]).unwrap();
    let (file, streams) = (file.display().to_string(), STREAMS.to_string());
    let [to_asleep, to_awake] =
        ["/asleep", "/upload"].map(|path| format!("http://{}{path}", drowse.address()));
    let mut client = Command::new("nghttp")
        .args(["-v", "-n", "--no-dep", "-m", &streams, "-d", &file, &to_asleep, &to_awake])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut answered = 0;
    let all = async {
        while answered < STREAMS {
            let line = said.next_line().await.unwrap().expect("it to go on");
            assert!(!line.contains("RST_STREAM") && !line.contains("GOAWAY"), "{line}");
            answered += usize::from(line.contains(":status: 200"));
        }
    };
    within(DEADLINE, "all for the one that is awake", all).await;
    let row = drowse.row(asleep.name()).await;
    assert_eq!(row["waiting"], STREAMS, "{row}");
    client.kill().await.unwrap();
    drowse_e2e::eventually(DEADLINE, "nobody to wait any more", || async {
        (drowse.row(asleep.name()).await["waiting"] == 0).then_some(())
    })
    .await;
}
