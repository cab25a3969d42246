use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use rcgen::{CertificateParams, KeyPair};

use super::{source::CertificateSource, *};

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("drowse-tls-{name}-{}", std::process::id()));
        _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// A pair for these hosts, which ends in so many days.
    fn pair(&self, name: &str, hosts: &[&str], days: i64) -> CertificateFiles {
        let (certificate, key) = pair(hosts, days);
        let certificate = self.write(&format!("{name}.crt"), &certificate);
        let key = self.write(&format!("{name}.key"), &key);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        CertificateFiles { certificate, key }
    }

    /// What went wrong, with its cause, and without the folder.
    fn words(&self, error: &dyn std::error::Error) -> String {
        let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("{error}{cause}").replace(&*self.0.to_string_lossy(), "/etc/tls")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

fn pair(hosts: &[&str], days: i64) -> (String, String) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).unwrap();
    params.not_after = time::OffsetDateTime::now_utc() + time::Duration::hours(days * 24 + 1);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn tls(files: &[&CertificateFiles]) -> Tls {
    let sources = files.iter().map(|files| CertificateSource::Files((*files).clone())).collect();
    Tls::load(TlsOptions::new(sources)).unwrap()
}

/// The certificate that whoever names this host is shown: its first name.
fn shown(tls: &Tls, host: Option<&str>) -> String {
    tls.0.present.0.load().of(host).all_names()[0].clone()
}

#[test]
fn an_exact_name_counts_before_a_wildcard_and_the_first_is_for_all_others() {
    let folder = Folder::new("choice");
    let first = folder.pair("first", &["first.test"], 90);
    let wild = folder.pair("wild", &["*.example.com"], 90);
    let exact = folder.pair("exact", &["a.example.com"], 90);
    let tls = tls(&[&first, &wild, &exact]);
    assert_eq!(shown(&tls, Some("a.example.com")), "a.example.com");
    assert_eq!(shown(&tls, Some("b.example.com")), "*.example.com");
    for other in [Some("a.b.example.com"), Some("example.com"), Some("other.test"), None] {
        assert_eq!(shown(&tls, other), "first.test", "{other:?}");
    }
}

#[test]
fn a_connection_is_for_what_its_certificate_is_for() {
    let folder = Folder::new("covers");
    let files = folder.pair("one", &["a.test", "*.b.test", "192.0.2.1"], 90);
    let tls = tls(&[&files]);
    let secured = |name: Option<&str>| Secured {
        server_name: name.map(Into::into),
        identity: Arc::clone(tls.0.present.0.load().of(name)),
    };
    let named = secured(Some("a.test"));
    for host in ["A.test", "a.test:8443", "x.b.test", "192.0.2.1:443"] {
        assert!(named.is_for(host), "{host}");
    }
    for host in ["c.test", "x.y.b.test", "b.test", "192.0.2.2", "[::1]:443"] {
        assert!(!named.is_for(host), "{host}");
    }
    // Whoever has accepted a certificate that is for somebody else has done so for this name.
    assert!(secured(Some("c.test")).is_for("c.test"));
    assert!(secured(None).is_for("c.test"));
}

#[test]
fn what_cannot_be_used_is_told_with_what_to_do() {
    let folder = Folder::new("errors");
    let (certificate, key) = pair(&["a.test"], 90);
    let (_, other_key) = pair(&["a.test"], 90);
    let good = folder.write("good.crt", &certificate);
    let good_key = folder.write("good.key", &key);
    let text = folder.write("text", "no PEM at all\n");
    let encrypted = folder.write(
        "encrypted.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let broken = folder
        .write("broken.crt", "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n");
    let other = folder.write("other.key", &other_key);
    let large = folder.write("large", &"x".repeat(2 << 20));
    let pairs: [(&Path, &Path); 8] = [
        (&folder.0.join("nowhere.crt"), &good_key),
        (&text, &good_key),
        (&broken, &good_key),
        (&good, &text),
        (&good, &encrypted),
        (&good, &good),
        (&good, &other),
        (&large, &good_key),
    ];
    let sources = pairs.map(|(certificate, key)| {
        CertificateSource::Files(CertificateFiles {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        })
    });
    let errors = Tls::load(TlsOptions::new(sources.to_vec())).unwrap_err();
    let words: Vec<_> =
        errors.iter().map(|(index, error)| format!("{index} {}", folder.words(error))).collect();
    insta::assert_snapshot!(words.join("\n"), @r"
    0 cannot read `/etc/tls/nowhere.crt`: No such file or directory (os error 2)
    1 cannot use `/etc/tls/text`: there is no certificate in it: expected PEM, `-----BEGIN CERTIFICATE-----`
    2 cannot use `/etc/tls/broken.crt`: the certificate cannot be read: Parsing requires 1 bytes/chars
    3 cannot use `/etc/tls/text`: there is no private key in it: expected PEM, `-----BEGIN PRIVATE KEY-----`
    4 cannot use `/etc/tls/encrypted.key`: the private key is encrypted: take its passphrase off, such as with `openssl pkey -in KEY -out KEY-WITHOUT`
    5 cannot use `/etc/tls/good.crt`: there is no private key in it: expected PEM, `-----BEGIN PRIVATE KEY-----`
    6 cannot use `/etc/tls/good.crt`: the private key does not belong to the certificate: name the pair that was made together
    7 cannot read `/etc/tls/large`: it is larger than 1 MiB
    ");
}

#[test]
fn what_changes_is_taken_and_what_cannot_be_used_is_not() {
    let folder = Folder::new("refresh");
    let files = folder.pair("one", &["old.test"], 90);
    let tls = tls(&[&files]);
    let look = || match tls.0.refresh.look(&BTreeSet::new()) {
        Some(identities) => identities.of(None).all_names(),
        None => Vec::new(),
    };
    assert!(look().is_empty());

    // A new certificate without its key.
    let (certificate, key) = pair(&["new.test"], 90);
    folder.write("one.crt", &certificate);
    assert!(look().is_empty());
    assert_eq!(tls.certificates()[0].names, ["old.test"]);
    folder.write("one.key", &key);
    assert_eq!(look(), ["new.test"]);
    assert!(look().is_empty());

    fs::remove_file(&files.certificate).unwrap();
    assert!(look().is_empty());
    assert_eq!(tls.certificates()[0].names, ["new.test"]);
    let again = folder.pair("again", &["again.test"], 90);
    fs::rename(&again.key, &files.key).unwrap();
    fs::rename(&again.certificate, &files.certificate).unwrap();
    assert_eq!(look(), ["again.test"]);
}

#[test]
fn a_mended_chain_is_taken_though_the_certificate_is_the_same() {
    let folder = Folder::new("chain");
    let files = folder.pair("one", &["a.test"], 90);
    let tls = tls(&[&files]);
    let look = || {
        let identities = tls.0.refresh.look(&BTreeSet::new())?;
        Some(identities.of(None).key().cert.len())
    };
    let leaf = fs::read_to_string(&files.certificate).unwrap();
    let (intermediate, _) = pair(&["an intermediate"], 90);
    folder.write("one.crt", &format!("{leaf}{intermediate}"));
    assert_eq!(look(), Some(2));
    // Written again, and the same.
    folder.write("one.crt", &format!("{leaf}\n{intermediate}"));
    assert_eq!(look(), None);
    folder.write("one.crt", &leaf);
    assert_eq!(look(), Some(1));
}

#[test]
fn what_ends_soon_and_what_others_may_read_is_complained_of() {
    let folder = Folder::new("complaints");
    let (soon, over) = (folder.pair("soon", &["a"], 3), folder.pair("over", &["b"], -2));
    let open = folder.pair("open", &["c"], 90);
    fs::set_permissions(&open.key, fs::Permissions::from_mode(0o644)).unwrap();
    let words = tls(&[&soon, &over, &open]).complaints().join("\n");
    insta::assert_snapshot!(words.replace(&*folder.0.to_string_lossy(), "/etc/tls"), @r"
    the certificate `/etc/tls/soon.crt` expires in 3 days; renew it, and it is read again by itself
    the certificate `/etc/tls/over.crt` has expired: clients refuse it; renew it, and it is read again by itself
    everybody on this machine may read the private key `/etc/tls/open.key`: `chmod o= /etc/tls/open.key`
    ");
}

#[test]
fn the_self_signed_one_is_kept_and_made_anew_for_further_hosts() {
    let folder = Folder::new("self-signed");
    let path = folder.0.join("self-signed.pem");
    let load = |hosts: &[&str]| {
        let hosts = hosts.iter().map(|host| (*host).to_owned());
        let own = SelfSigned::new(Some(path.clone()), hosts);
        Tls::load(TlsOptions::new(vec![CertificateSource::SelfSigned(own)])).unwrap()
    };
    let first = load(&["app.test"]).certificates().remove(0);
    assert_eq!(first.names, ["app.test", "localhost", "127.0.0.1", "::1"]);
    assert!(first.is_self_signed);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(load(&["app.test"]).certificates(), std::slice::from_ref(&first));
    assert_eq!(load(&[]).certificates(), std::slice::from_ref(&first));

    let tls = load(&["app.test"]);
    assert!(tls.0.refresh.look(&BTreeSet::from(["app.test".to_owned()])).is_none());
    assert!(tls.0.refresh.look(&BTreeSet::from(["*.more.test".to_owned()])).is_some());
    let second = tls.certificates().remove(0);
    assert_eq!(second.names[..3], ["*.more.test", "app.test", "localhost"]);
    assert_ne!(second.fingerprint, first.fingerprint);
    assert_eq!(load(&["app.test"]).certificates(), [second]);

    // Without a file it is only here.
    let own = SelfSigned::new(None, []);
    let tls = Tls::load(TlsOptions::new(vec![CertificateSource::SelfSigned(own)])).unwrap();
    assert_eq!(tls.certificates()[0].origin, "self-signed");
}

#[test]
fn a_self_signed_one_that_cannot_be_kept_is_tried_again() {
    let folder = Folder::new("not-kept");
    let path = folder.0.join("below").join("self-signed.pem");
    fs::create_dir(path.parent().unwrap()).unwrap();
    let own = SelfSigned::new(Some(path.clone()), []);
    let tls = Tls::load(TlsOptions::new(vec![CertificateSource::SelfSigned(own)])).unwrap();
    let hosts = BTreeSet::from(["more.test".to_owned()]);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
    for _ in 0..2 {
        assert!(tls.0.refresh.look(&hosts).is_none());
    }
    assert_eq!(tls.certificates()[0].names, ["localhost", "127.0.0.1", "::1"]);
    fs::create_dir(path.parent().unwrap()).unwrap();
    assert!(tls.0.refresh.look(&hosts).is_some());
    assert_eq!(tls.certificates()[0].names[..2], ["localhost", "more.test"]);
}
