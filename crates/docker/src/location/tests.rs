use std::{collections::BTreeMap, fs};

use tempfile::TempDir;

use super::*;

/// A home folder with Docker's settings in it.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join(".docker")
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn with_variables(&self, variables: &[(&str, &str)]) -> Environment {
        let variables: BTreeMap<String, OsString> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        Environment {
            variable: Box::new(move |name| variables.get(name).cloned()),
            home: Some(self.0.path().to_owned()),
        }
    }

    fn read(&self, variables: &[(&str, &str)]) -> Result<Location, LocationError> {
        Location::by(&self.with_variables(variables))
    }

    fn context(&self, name: &str) -> Result<Location, LocationError> {
        Location::by_context(name, &self.with_variables(&[]))
    }

    fn refusal(&self, refused: Result<Location, LocationError>) -> String {
        let error = refused.unwrap_err();
        let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
        let text = format!("{error}{}", source.unwrap_or_default());
        text.replace(&self.path().display().to_string(), "~/.docker")
    }
}

/// `printf nas | sha256sum`
const NAS: &str = "047de0f543c7e3596bb6dbd0e65f2c30357720a63eca423f08c52fae314f6806";

fn meta(endpoints: &str) -> String {
    format!(r#"{{"Name":"nas","Metadata":{{}},"Endpoints":{endpoints}}}"#)
}

#[test]
fn the_environment_is_read_as_dockers_own_client_does() {
    let home = Home::new();
    let url = |variables: &[(&str, &str)]| home.read(variables).unwrap().url;
    assert_eq!(url(&[]), DEFAULT_URL);
    assert_eq!(url(&[("DOCKER_HOST", ""), ("DOCKER_CONTEXT", "")]), DEFAULT_URL);
    assert_eq!(url(&[("DOCKER_HOST", "ssh://nas")]), "ssh://nas");
    assert_eq!(url(&[("DOCKER_HOST", "ssh://a"), ("DOCKER_CONTEXT", "nowhere")]), "ssh://a");
    assert_eq!(url(&[("DOCKER_CONTEXT", "default")]), DEFAULT_URL);
    home.write(
        &format!("contexts/meta/{NAS}/meta.json"),
        &meta(r#"{"docker":{"Host":"ssh://n"}}"#),
    );
    assert_eq!(url(&[("DOCKER_CONTEXT", "nas")]), "ssh://n");
    let elsewhere = home.path().display().to_string();
    let variables = [("DOCKER_CONTEXT", "nas"), ("DOCKER_CONFIG", elsewhere.as_str())];
    assert_eq!(url(&variables), "ssh://n");
    assert!(home.read(&[("DOCKER_CONTEXT", "nas"), ("DOCKER_CONFIG", "/nowhere")]).is_err());
}

#[test]
fn certificates_come_from_the_folder_that_the_environment_names() {
    let home = Home::new();
    let verify = [("DOCKER_HOST", "tcp://nas"), ("DOCKER_TLS_VERIFY", "1")];
    let ca = home.write("ca.pem", "");
    assert_eq!(home.read(&verify).unwrap().tls, Some(TlsFiles::new(&ca)));
    let cert = home.write("cert.pem", "");
    insta::assert_snapshot!(home.refusal(home.read(&verify)), @"`~/.docker/key.pem` is missing: TLS needs the key of `cert.pem`");
    let key = home.write("key.pem", "");
    let whole = TlsFiles::new(&ca).with_client(cert, key);
    assert_eq!(home.read(&verify).unwrap().tls, Some(whole));

    let path = home.path().join("elsewhere").display().to_string();
    let [host, verify] = verify;
    insta::assert_snapshot!(home.refusal(home.read(&[host, verify, ("DOCKER_CERT_PATH", &path)])), @"`~/.docker/elsewhere/ca.pem` is missing: TLS needs the certificate of the CA that signed the engine's");
    assert_eq!(home.read(&[host, ("DOCKER_CERT_PATH", &path)]).unwrap().tls, None);
    assert_eq!(home.read(&[("DOCKER_HOST", "ssh://nas"), verify]).unwrap().tls, None);
    insta::assert_snapshot!(home.refusal(home.read(&[host, ("DOCKER_TLS", "1")])), @"`DOCKER_TLS` without `DOCKER_TLS_VERIFY` leaves the engine's certificate unchecked, and whoever answers in its place would be given orders and believed: set `DOCKER_TLS_VERIFY=1`");
}

#[test]
fn a_context_has_its_url_and_its_certificates() {
    let home = Home::new();
    let path = format!("contexts/meta/{NAS}/meta.json");
    home.write(&path, &meta(r#"{"docker":{"Host":"tcp://nas:2376","SkipTLSVerify":false}}"#));
    assert_eq!(home.context("nas").unwrap(), Location::new("tcp://nas:2376"));
    let file = |name| home.write(&format!("contexts/tls/{NAS}/docker/{name}"), "");
    let (ca, cert, key) = (file("ca.pem"), file("cert.pem"), file("key.pem"));
    let files = TlsFiles::new(&ca).with_client(cert, key);
    assert_eq!(home.context("nas").unwrap(), Location::new("tcp://nas:2376").with_tls(files));
    fs::remove_file(ca).unwrap();
    insta::assert_snapshot!(home.refusal(home.context("nas")).replace(NAS, "HASH"), @"`~/.docker/contexts/tls/HASH/docker/ca.pem` is missing: TLS needs the certificate of the CA that signed the engine's");
}

#[test]
fn a_context_that_cannot_be_used_says_why() {
    let home = Home::new();
    insta::assert_snapshot!(home.refusal(home.context("nas")), @"there is no Docker context `nas` in `~/.docker`, nor any other");
    let path = format!("contexts/meta/{NAS}/meta.json");
    home.write(&path, &meta(r#"{"docker":{"Host":"tcp://nas:2376","SkipTLSVerify":true}}"#));
    insta::assert_snapshot!(home.refusal(home.context("nas")), @"the Docker context `nas` says `SkipTLSVerify`, which leaves the engine's certificate unchecked, and whoever answers in its place would be given orders and believed: give it the CA's certificate, with `docker context update nas --docker host=tcp://nas:2376,ca=FILE,cert=FILE,key=FILE`");
    insta::assert_snapshot!(home.refusal(home.context("nsa")), @"there is no Docker context `nsa` in `~/.docker`: there is nas");
    home.write(&path, &meta(r#"{"kubernetes":{"Host":"https://nas"}}"#));
    insta::assert_snapshot!(home.refusal(home.context("nas")), @"the Docker context `nas` names no Docker engine");
    home.write(&path, "{");
    insta::assert_snapshot!(home.refusal(home.context("nas")).replace(NAS, "HASH"), @"`~/.docker/contexts/meta/HASH/meta.json` is no Docker context's file: EOF while parsing an object at line 1 column 1");
}
