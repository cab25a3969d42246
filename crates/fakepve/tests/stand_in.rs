//! What the tests of other crates take for granted about the stand-in.
#![allow(clippy::unwrap_used, reason = "a test that meets one has failed")]

mod on_fakepve {
    use std::{env, path::Path, process::Stdio, time::Duration};

    use drowse_fakepve::{App, Ct, FakePve, Options, Power};
    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    #[tokio::test]
    async fn a_task_of_another_client_moves_a_container() {
        let pve = FakePve::start(Options::default()).await;
        pve.add_container(Ct::new(101)).await;
        assert_eq!(pve.power(101, Power::Start).await, "OK");
        let running = pve.state(101).await;
        assert!(running.is_running());
        assert_eq!(pve.power(101, Power::Shutdown).await, "OK");
        assert!(!pve.state(101).await.is_running());
        pve.power(101, Power::Start).await;
        assert_ne!(pve.state(101).await.pid, running.pid);
        let kinds: Vec<_> = pve.tasks().await.into_iter().map(|task| task.kind).collect();
        assert_eq!(kinds, ["vzstart", "vzshutdown", "vzstart"]);
    }

    #[tokio::test]
    async fn clusters_have_addresses_and_certificates_of_their_own() {
        let (one, other) = (FakePve::start(Options::default()), FakePve::start(Options::default()));
        let (one, other) = tokio::join!(one, other);
        assert_ne!(one.url(), other.url());
        assert_ne!(one.fingerprint(), other.fingerprint());
        one.add_container(Ct::new(101)).await;
        other.add_container(Ct::new(101)).await;
        drop(one);
        assert!(!other.state(101).await.is_running());
    }

    #[tokio::test]
    async fn an_endpoint_refuses_and_answers_again() {
        let pve = FakePve::start(Options::default()).await;
        let address = pve.url().trim_start_matches("https://").to_owned();
        tokio::net::TcpStream::connect(&address).await.unwrap();
        pve.reachable(0, false).await;
        tokio::net::TcpStream::connect(&address).await.unwrap_err();
        pve.reachable(0, true).await;
        tokio::net::TcpStream::connect(&address).await.unwrap();
    }

    /// A program that writes its process id there, and goes on.
    fn app(file: &Path) -> App {
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", file.display());
        App::new(["sh", "-c", &script])
    }

    async fn written(file: &Path) -> String {
        let written = async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), written).await.unwrap();
        std::fs::read_to_string(file).unwrap()
    }

    #[tokio::test]
    async fn an_app_runs_while_its_container_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let pve = FakePve::start(Options::default()).await;
        pve.add_container(Ct::new(101).app(app(&file))).await;
        pve.power(101, Power::Start).await;
        let process = Path::new("/proc").join(written(&file).await.trim());
        assert!(process.exists());
        pve.power(101, Power::Stop).await;
        assert!(!process.exists(), "it is buried when the container has stopped");
        assert_eq!(pve.state(101).await.app_starts, 1);
    }

    /// What was ordered before is still under way then: management has been asked, or the task waits
    /// for the container's lock.
    #[tokio::test]
    async fn no_app_starts_after_its_cluster_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let managed = |name| Ct::new(101).ha("stopped").app(app(&file(name)));
        let pve = FakePve::start(Options::default()).await;
        pve.add_container(managed("managed")).await;
        pve.add_container(Ct::new(102).app(app(&file("locked")))).await;
        pve.hold_config_lock(102).await;
        let locked = async {
            tokio::time::timeout(Duration::from_millis(1), pve.power(102, Power::Start)).await.ok();
        };
        tokio::join!(pve.power(101, Power::Start), locked);
        let after = FakePve::start(Options::default()).await;
        after.add_container(managed("after")).await;
        drop(pve);
        // Asked for later than that of the one that is gone.
        after.power(101, Power::Start).await;
        written(&file("after")).await;
        assert!(!file("managed").exists());
        assert!(!file("locked").exists());
    }

    /// Whatever becomes of a test binary, its pipe closes.
    #[tokio::test]
    async fn the_process_ends_with_its_input_whatever_is_under_way() {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("driver/main.py");
        let mut child = tokio::process::Command::new(env::var_os("DROWSE_TEST_FAKEPVE").unwrap())
            .arg("-B")
            .arg(driver)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(said.next_line().await.unwrap().unwrap(), "{\"ready\": true}");
        let options = json!({
            "time_scale": 1, "nodes": ["pve1"], "version": "9.0.10", "endpoints": 1,
            "user": "drowse@pve", "password": "secret", "token_id": "drowse@pve!main",
            "token_secret": "secret",
        });
        let ct = json!({ "ct": { "vmid": 101, "name": "ct101", "node": "pve1" } });
        let endless = json!({ "vmid": 101, "action": "start" });
        let mut id = 0;
        let mut command = |cluster: u64, name: &str, with: &Value| {
            id += 1;
            format!("{}\n", json!({ "id": id, "cluster": cluster, "do": name, "with": with }))
        };
        for cluster in 1..=4 {
            input.write_all(command(cluster, "open", &options).as_bytes()).await.unwrap();
            let answer = said.next_line().await.unwrap().unwrap();
            assert!(answer.contains("ok"), "{answer}");
        }
        let last = [
            command(1, "add", &ct),
            command(1, "hold_config_lock", &json!({ "vmid": 101, "is_held": true })),
            command(1, "power", &endless),
            command(2, "close", &json!({})),
            command(3, "close", &json!({})),
            command(5, "open", &options),
        ];
        input.write_all(last.concat().as_bytes()).await.unwrap();
        drop(input);
        let ended = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output());
        let ended = ended.await.unwrap().unwrap();
        assert!(ended.status.success());
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    }
}
