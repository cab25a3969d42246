//! TLS from clients that are not ours.

use std::path::Path;

use drowse_e2e::{
    DEADLINE, Drowse, DrowseSpec, Site, TestContainer, Workload, eventually, free_port,
};

use super::{NEVER, tools};

/// A drowse that listens in clear and with TLS, whose certificates this says, and its TLS port.
async fn secured(site: &Site, app: &TestContainer, tls: &str) -> (Drowse, u16) {
    let workload = Workload::of(app).idle(NEVER);
    let (spec, port) = spec(site, &workload, tls);
    let drowse = spec.start().await;
    drowse.wait_until_read(app.name()).await;
    (drowse, port)
}

fn spec(site: &Site, workload: &Workload, tls: &str) -> (DrowseSpec, u16) {
    let port = free_port();
    let spec = DrowseSpec::default().listening_by_file();
    let listen = format!(
        "listen: [\"{}\", {{ address: \"127.0.0.1:{port}\", tls: true }}]\ntls: {tls}\n",
        spec.address()
    );
    let config = listen + &site.config(std::slice::from_ref(workload));
    (spec.config(&config), port)
}

/// Makes a certificate for a host, in the folder that drowse is given, as an administrator would.
async fn make_certificate(folder: &Path, host: &str) {
    let (certificate, key) = (folder.join("new.crt"), folder.join("new.key"));
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let (subject, names) = (format!("/CN={host}"), format!("subjectAltName=DNS:{host}"));
    let kind =
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let rest =
        ["-days", "90", "-subj", &subject, "-addext", &names, "-out", certificate, "-keyout", key];
    tools::ask("openssl", &[&kind[..], &rest].concat()).await;
    std::fs::rename(key, folder.join("app.key")).unwrap();
    std::fs::rename(certificate, folder.join("app.crt")).unwrap();
}

/// A request by curl that believes no certificate but this one.
async fn curl(certificate: &Path, host: &str, port: u16, further: &[&str]) -> tools::Said {
    let (resolve, url) =
        (format!("{host}:{port}:127.0.0.1"), format!("https://{host}:{port}/headers"));
    let trust = ["-sS", "--cacert", certificate.to_str().unwrap(), "--resolve", &resolve];
    let told = ["-w", "\n%{http_version} %{http_code}", &url];
    tools::run("curl", &[&trust[..], further, &told].concat()).await
}

#[tokio::test]
async fn a_sleeping_container_is_woken_through_tls() {
    let site = Site::new().await;
    let app = site.container("tls").create().await;
    let folder = drowse_e2e::scratch_folder();
    make_certificate(folder.path(), &app.host()).await;
    let (certificate, key) = (folder.path().join("app.crt"), folder.path().join("app.key"));
    let tls = format!(
        "{{ certificates: [{{ certificate: \"{}\", key: \"{}\" }}] }}",
        certificate.display(),
        key.display()
    );
    let (drowse, port) = secured(&site, &app, &tls).await;
    let host = app.host();
    for (version, protocol) in [("2", "--http2"), ("1.1", "--http1.1")] {
        let said = curl(&certificate, &host, port, &[protocol]).await;
        assert!(said.text.ends_with(&format!("\n{version} 200")), "{}", said.text);
        let (body, _) = said.text.rsplit_once('\n').unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        let told = body.to_string();
        assert!(told.contains("https") && told.contains(&port.to_string()), "{told}");
    }
    assert_eq!(site.starts(&app).await, 1);

    for version in ["-tls1_2", "-tls1_3"] {
        let connect = format!("127.0.0.1:{port}");
        let arguments =
            ["s_client", "-connect", &connect, "-servername", &host, version, "-alpn", "h2"];
        let trust = ["-CAfile", certificate.to_str().unwrap(), "-verify_return_error"];
        let said = tools::ask("openssl", &[&arguments[..], &trust].concat()).await;
        assert!(said.contains("ALPN protocol: h2") && said.contains("Verification: OK"), "{said}");
    }
    let old = format!("127.0.0.1:{port}");
    let old = tools::run("openssl", &["s_client", "-connect", &old, "-tls1_1"]).await;
    assert!(!old.is_success, "{}", old.text);

    // Python's client, with a line too many and bytes that are no HTTP.
    let script = format!(
        "import http.client, ssl\n\
         context = ssl.create_default_context(cafile='{}')\n\
         raw = __import__('socket').create_connection(('127.0.0.1', {port}))\n\
         stream = context.wrap_socket(raw, server_hostname='{host}')\n\
         connection = http.client.HTTPSConnection('{host}', {port}, context=context)\n\
         connection.sock = stream\n\
         connection.request('POST', '/echo', body=iter([b'a' * 70000, b'b']), \
             headers={{'Transfer-Encoding': 'chunked'}}, encode_chunked=True)\n\
         print(len(connection.getresponse().read()))\n\
         connection.request('GET', '/headers', headers={{'X-Odd': 'a\\u00fc', 'x_y': '1'}})\n\
         print(connection.getresponse().status)\n\
         stream.sendall(b'nothing like HTTP\\r\\n\\r\\n')\n\
         print(stream.recv(12))\n",
        certificate.display()
    );
    let said = tools::ask("python3", &["-c", &script]).await;
    assert_eq!(said, "70001\n200\nb'HTTP/1.1 400'\n");
    drop(drowse);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_under_traffic() {
    let site = Site::new().await;
    let app = site.container("renewed").create().await;
    let folder = drowse_e2e::scratch_folder();
    let host = app.host();
    make_certificate(folder.path(), &host).await;
    let (certificate, key) = (folder.path().join("app.crt"), folder.path().join("app.key"));
    let old = folder.path().join("old.crt");
    std::fs::copy(&certificate, &old).unwrap();
    let tls = format!(
        "{{ certificates: [{{ certificate: \"{}\", key: \"{}\" }}] }}",
        certificate.display(),
        key.display()
    );
    let (drowse, port) = secured(&site, &app, &tls).await;
    assert!(curl(&old, &host, port, &[]).await.text.ends_with(" 200"));

    // Requests all the time, over connections that were made before and after.
    let url = format!("https://{host}:{port}/status/200");
    let connect = format!("--connect-to={host}:{port}");
    let load = ["-D", "10", "-c", "4", "-m", "4", "-t", "1", &connect, &url];
    let connect_to = format!("--connect-to=127.0.0.1:{port}");
    let load: Vec<&str> =
        load.iter().map(|it| if *it == connect { connect_to.as_str() } else { it }).collect();
    let renewing = async {
        make_certificate(folder.path(), &host).await;
        eventually(DEADLINE, "the new certificate", || async {
            let said = curl(&certificate, &host, port, &[]).await;
            said.text.ends_with(" 200").then_some(())
        })
        .await;
    };
    let (said, ()) = tokio::join!(tools::ask("h2load", &load), renewing);
    assert!(said.contains(" 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(!curl(&old, &host, port, &[]).await.is_success, "the old one is shown on");
    drop(drowse);
}

#[tokio::test]
async fn a_self_signed_certificate_is_made_once_and_told_of() {
    let site = Site::new().await;
    let app = site.container("self-signed").create().await;
    let workload = Workload::of(&app).idle(NEVER);
    let (spec, port) = spec(&site, &workload, "{ self_signed: true }");
    let config = spec.config_path().display().to_string();
    let check = || async {
        let output = spec.command_output(["check", "--config", &config]).await;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    };
    assert!(check().await.contains("made at the first start"));
    let mut drowse = spec.clone().start().await;
    drowse.wait_until_read(app.name()).await;
    let kept = spec.folder().join("data/self-signed.pem");
    let host = app.host();
    let said = curl(&kept, &host, port, &[]).await;
    assert!(said.text.ends_with("\n2 200"), "{}", said.text);

    let fingerprint = ["x509", "-noout", "-fingerprint", "-sha256", "-in", kept.to_str().unwrap()];
    let fingerprint = tools::ask("openssl", &fingerprint).await;
    let fingerprint = fingerprint.trim().rsplit('=').next().unwrap().to_owned();
    assert!(check().await.contains(&fingerprint));
    assert!(drowse.logs().lines().iter().any(|line| line.contains(&fingerprint)));
    drowse.terminate(DEADLINE).await;
    drowse.start_again().await;
    drowse.wait_until_read(app.name()).await;
    assert!(curl(&kept, &host, port, &[]).await.text.ends_with("\n2 200"));
    assert!(check().await.contains(&fingerprint));
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused_when_the_file_is_read() {
    let site = Site::new().await;
    let app = site.container("mismatch").create().await;
    let folder = drowse_e2e::scratch_folder();
    make_certificate(folder.path(), "one.test").await;
    std::fs::rename(folder.path().join("app.crt"), folder.path().join("one.crt")).unwrap();
    make_certificate(folder.path(), "one.test").await;
    let tls = format!(
        "{{ certificates: [{{ certificate: \"{0}/one.crt\", key: \"{0}/app.key\" }}] }}",
        folder.path().display()
    );
    let (spec, _) = spec(&site, &Workload::of(&app), &tls);
    let config = spec.config_path().display().to_string();
    for command in ["check", "run"] {
        let output = spec.command_output([command, "--config", &config]).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{command}: {said}");
        assert!(said.contains("the private key does not belong to the certificate"), "{said}");
        assert!(said.contains("drowse.yaml:2"), "{command}: {said}");
    }
}
