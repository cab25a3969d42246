//! The page about Proxmox. Its configurations and commands are read by the program's own tests; here it
//! is compared with what `drowse check` says of such a cluster.

use drowse_e2e::DrowseSpec;
use drowse_fakepve::{Ct, FakePve, Options};

use crate::page::Expected;

const PROXMOX: &str = include_str!("../../../../docs/proxmox.md");

/// The text of the box of this kind which has this in it.
fn only_box(kind: &str, with: &str) -> String {
    let boxes = PROXMOX.split("\n```").skip(1).step_by(2);
    let mut texts = boxes.filter_map(|each| each.strip_prefix(kind)?.strip_prefix('\n'));
    texts.find(|text| text.contains(with)).unwrap().to_owned()
}

#[tokio::test]
async fn check_says_of_the_clusters_container_what_stands_in_the_guide() {
    let pve = FakePve::start(Options::default().version("9.2.11")).await;
    let wiki = Ct::new(201).name("wiki").tag("drowse").notes(&only_box("text", "drowse.host"));
    pve.add_container(wiki.running().fixed_address("10.0.0.201/24")).await;

    let ours = |line: &str| {
        let (key, _) = line.split_once(':').unwrap();
        match key.trim() {
            "url" => format!("{key}: {}", pve.url()),
            "secret_file" => "      secret_env: PVE_SECRET".to_owned(),
            "fingerprints" => format!("{key}: [\"{}\"]", pve.fingerprint()),
            _ => line.to_owned(),
        }
    };
    let page = only_box("yaml", "discover_hosts");
    let config = page.lines().map(ours).collect::<Vec<_>>().join("\n");
    let spec = DrowseSpec::default().env("PVE_SECRET", FakePve::TOKEN_SECRET).config(&config);
    let file = spec.config_path();
    let output = spec.command_output(["check", "--config", &file.display().to_string()]).await;
    let printed = String::from_utf8_lossy(&output.stdout);
    let shown = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{printed}{shown}");
    let endpoint = page.lines().find_map(|line| line.trim().strip_prefix("url: ")).unwrap();
    let expected = only_box("text", "CLUSTER").replace(endpoint, pve.url());
    assert!(
        Expected(expected.clone()).is_met_by(&printed),
        "expected:\n{expected}\nprinted:\n{printed}{shown}"
    );
}
