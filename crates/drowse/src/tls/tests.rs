use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;
use crate::config::from_text;

fn folder(path: &Path) -> OwnFolder {
    OwnFolder::new(path, "data folder", "--data-dir")
}

const SELF_SIGNED: &str = r#"
listen: [{ address: 127.0.0.1:8443, tls: true }]
tls: { self_signed: true }
engines: {}
workloads:
  app:
    container: { process: { command: [app] } }
    routes: [{ host: [app.test, "*.app.test"], port: 80 }]
"#;

#[test]
fn check_makes_no_certificate_and_tells_of_the_one_that_is_kept() {
    let temporary = tempfile::tempdir().unwrap();
    let data = folder(&temporary.path().join("data"));
    let config = from_text(SELF_SIGNED).unwrap();
    let (lines, problems) = examine(&config, Some(&data));
    assert_eq!(problems, []);
    assert!(render(&lines).contains("made at the first start"), "{}", render(&lines));
    assert!(!data.path().exists());

    let tls = set_up(&config, Some(&data), None).unwrap().unwrap();
    let made = tls.certificates().remove(0);
    let (lines, _) = examine(&config, Some(&data));
    assert_eq!(lines[0].fingerprint.as_ref(), Some(&made.fingerprint));
    let names = ["*.app.test", "app.test", "localhost", "127.0.0.1", "::1"];
    assert_eq!(lines[0].names, names);
    let kept = data.path().join(SELF_SIGNED_FILE);
    assert_eq!(fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    // It is the same after the next start.
    assert_eq!(set_up(&config, Some(&data), None).unwrap().unwrap().certificates(), [made]);
}

#[test]
fn a_certificate_that_cannot_be_used_is_shown_where_it_is_named() {
    let text = "listen: [{ address: 127.0.0.1:8443, tls: true }]\n\
                tls:\n  certificates:\n    - { certificate: /nowhere/a.crt, key: /nowhere/a.key }\n";
    let config = from_text(text).unwrap();
    let source = Source::new("drowse.yaml".into(), text.to_owned());
    let error = set_up(&config, None, Some(&source)).unwrap_err().to_string();
    assert!(error.contains("cannot read `/nowhere/a.crt`"), "{error}");
    assert!(error.contains("drowse.yaml:4"), "{error}");
}
