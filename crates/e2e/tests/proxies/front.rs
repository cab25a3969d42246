//! A reverse proxy in front of drowse, as a process of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use drowse_e2e::{DEADLINE, eventually, free_port, http, scratch_folder, within};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// The names of the documented configurations, under which the tests ask.
pub(crate) const HOST: &str = "wiki.example.com";

const NGINX: &str = include_str!("../../../../examples/nginx/drowse.conf");
const CADDY: &str = include_str!("../../../../examples/caddy/Caddyfile");

/// In the proxy's folder. Shown with a failed test.
const LOG: &str = "proxy.log";

/// What is around the documented file, in Debian's nginx.conf: all files in a folder of the test's
/// own, and one process, which dies when it is killed.
const NGINX_AROUND: &str = "
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    include FOLDER/drowse.conf;
    # A client that speaks TLS, for the tests.
    server {
        listen 127.0.0.1:TLSCLIENT;
        location / {
            proxy_pass https://127.0.0.1:HTTPS;
            proxy_set_header Host $http_host;
            proxy_ssl_server_name on;
            proxy_ssl_name $host;
        }
    }
}
";

/// A running proxy. Killed on drop.
pub(crate) struct Front {
    /// Where it takes HTTP.
    pub(crate) http: SocketAddr,
    /// Where it takes HTTP and asks the one that is tested by HTTPS.
    pub(crate) by_https: SocketAddr,
    _processes: Vec<Child>,
    folder: TempDir,
}

/// Which proxy, and its configuration.
#[derive(Clone)]
pub(crate) enum Kind {
    Nginx(String),
    Caddy(String),
}

impl Kind {
    /// As documented.
    pub(crate) fn nginx() -> Self {
        Self::Nginx(NGINX.to_owned())
    }

    /// As documented.
    pub(crate) fn caddy() -> Self {
        Self::Caddy(CADDY.to_owned())
    }

    /// With one part of it replaced.
    pub(crate) fn with(self, documented: &str, instead: &str) -> Self {
        match self {
            Self::Nginx(text) => Self::Nginx(replace(&text, documented, instead)),
            Self::Caddy(text) => Self::Caddy(replace(&text, documented, instead)),
        }
    }

    /// Starts it before this drowse, and returns once it serves.
    pub(crate) async fn before(self, drowse: SocketAddr) -> Front {
        let folder = scratch_folder();
        let https = free_port();
        let http = address(free_port());
        let by_https = address(free_port());
        let path = folder.path();
        let tls_client = |text: &str| {
            let text = replace(text, "TLSCLIENT", &by_https.port().to_string());
            replace(&replace(&text, "HTTPS", &https.to_string()), "FOLDER", &shown(path))
        };
        let drowse = drowse.to_string();
        let processes = match self {
            Self::Nginx(text) => {
                let text = replace(&text, "127.0.0.1:8080", &drowse);
                let text = replace(&text, "listen 80;", &format!("listen {http};"));
                let text = replace(&text, "listen 443", &format!("listen 127.0.0.1:{https}"));
                let text = replace(&text, "/etc/ssl", &shown(path));
                make_certificate(path).await;
                fs::write(path.join("drowse.conf"), text).unwrap();
                fs::write(path.join("nginx.conf"), tls_client(NGINX_AROUND)).unwrap();
                vec![nginx(path)]
            }
            Self::Caddy(text) => {
                let text = replace(&text, "127.0.0.1:8080", &drowse);
                let sites = format!("http://:{}, https://{HOST}:{https}", http.port());
                let text = replace(&text, "wiki.example.com, notes.example.com", &sites);
                let text =
                    replace(&text, "\timport drowse\n}", "\timport drowse\n\ttls internal\n}");
                let global =
                    "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n";
                fs::write(path.join("Caddyfile"), format!("{global}{text}")).unwrap();
                fs::write(path.join("drowse.conf"), "").unwrap();
                fs::write(path.join("nginx.conf"), tls_client(NGINX_AROUND)).unwrap();
                vec![caddy(path), nginx(path)]
            }
        };
        let front = Front { http, by_https, _processes: processes, folder };
        front.wait_until_it_serves().await;
        front
    }
}

impl Front {
    /// An answer of drowse's own, which wakes nothing, comes through on both ways.
    async fn wait_until_it_serves(&self) {
        for address in [self.http, self.by_https] {
            eventually(DEADLINE, "the proxy to serve", || async move {
                TcpStream::connect(address).await.ok()?;
                let asked = http::get(address, "/.well-known/drowse/nothing").host(HOST);
                let answer = asked.try_send().await.ok()?;
                (answer.header("content-type") == Some("application/problem+json")).then_some(())
            })
            .await;
        }
    }
}

impl Drop for Front {
    #[expect(clippy::print_stderr, reason = "shown with the failed test")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join(LOG)).unwrap_or_default();
            eprintln!("--- the proxy's log:\n{log}\n---");
        }
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What is not there cannot be replaced: the documentation has changed.
fn replace(text: &str, documented: &str, instead: &str) -> String {
    assert!(text.contains(documented), "no {documented:?} in:\n{text}");
    text.replace(documented, instead)
}

fn nginx(folder: &Path) -> Child {
    let mut command = Command::new("nginx");
    command.args(["-e", "stderr", "-c"]).arg(folder.join("nginx.conf"));
    start(&mut command, folder)
}

fn caddy(folder: &Path) -> Child {
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    for home in ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
        command.env(home, folder);
    }
    start(&mut command, folder)
}

fn start(command: &mut Command, folder: &Path) -> Child {
    let log = File::options().append(true).create(true).open(folder.join(LOG)).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.kill_on_drop(true).spawn().unwrap()
}

async fn make_certificate(folder: &Path) {
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=example.com", "-keyout"])
        .arg(folder.join("example.com.key"))
        .arg("-out")
        .arg(folder.join("example.com.pem"))
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let made = within(DEADLINE, "a certificate to be made", command.status()).await;
    assert!(made.as_ref().is_ok_and(ExitStatus::success), "openssl: {made:?}");
}
