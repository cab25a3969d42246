//! The proxies' configurations. Whatever has no bearing on the work is left as it comes.

use std::path::Path;

use super::super::application::{PORT as APPLICATION, WEBSOCKET_PATH, WEBSOCKET_PORT};
use super::super::tools::NGINX_STREAM;
use super::{ASLEEP_HOST, H2C_PORT, PORT, Place, TCP_PORT, TLS_PORT};

/// A process that is always awake, as the application is not drowse's own.
pub(super) fn drowse(place: &Place) -> String {
    let certificates = place.certificates.display();
    format!(
        "listen:\n\
         \x20 - 127.0.0.1:{PORT}\n\
         \x20 - 127.0.0.1:{H2C_PORT}\n\
         \x20 - {{ address: 127.0.0.1:{TLS_PORT}, tls: true }}\n\
         tls:\n\
         \x20 certificates:\n\
         \x20   - {{ certificate: {certificates}/server-cert.pem, key: {certificates}/server-key.pem }}\n\
         engines: {{}}\n\
         workloads:\n\
         \x20 application:\n\
         \x20   container: {{ process: {{ command: [sleep, infinity] }} }}\n\
         \x20   idle: 1d\n\
         \x20   routes:\n\
         \x20     - {{ host: localhost, address: 127.0.0.1, port: {APPLICATION} }}\n\
         \x20     - {{ host: localhost, path: {WEBSOCKET_PATH}, address: 127.0.0.1, port: {WEBSOCKET_PORT} }}\n\
         \x20     - {{ tcp: {TCP_PORT}, address: 127.0.0.1, port: {APPLICATION} }}\n\
         \x20 asleep:\n\
         \x20   container: {{ process: {{ command: [sleep, infinity] }} }}\n\
         \x20   wake_timeout: 1h\n\
         \x20   routes: [{{ host: {ASLEEP_HOST}, port: 9 }}]\n"
    )
}

pub(super) fn nginx(place: &Place, folder: &Path) -> String {
    let (folder, certificates) = (folder.display(), place.certificates.display());
    // Where one is set for a location, those of the server do not count there.
    let headers = "proxy_set_header Host $http_host; \
                   proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
                   proxy_set_header X-Forwarded-Proto $scheme; \
                   proxy_set_header X-Forwarded-Host $http_host;";
    format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;\n\
         load_module {NGINX_STREAM};\n\
         events {{ worker_connections 32768; }}\n\
         http {{\n\
         access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;\n\
         ssl_certificate {certificates}/server-cert.pem;\n\
         ssl_certificate_key {certificates}/server-key.pem;\n\
         upstream application {{\n\
         server 127.0.0.1:{APPLICATION}; keepalive 256; keepalive_requests 1000000000;\n\
         }}\n\
         server {{\n\
         listen 127.0.0.1:{PORT} backlog=16384; listen 127.0.0.1:{H2C_PORT} http2;\n\
         listen 127.0.0.1:{TLS_PORT} ssl http2;\n\
         proxy_http_version 1.1;\n\
         location / {{\n\
         proxy_pass http://application; proxy_set_header Connection \"\"; {headers}\n\
         }}\n\
         location {WEBSOCKET_PATH} {{\n\
         proxy_pass http://127.0.0.1:{WEBSOCKET_PORT}; {headers}\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;\n\
         }}\n\
         }}\n\
         }}\n\
         stream {{\n\
         server {{ listen 127.0.0.1:{TCP_PORT}; proxy_pass 127.0.0.1:{APPLICATION}; }}\n\
         }}\n"
    )
}

pub(super) fn haproxy(certificate: &Path) -> String {
    let certificate = certificate.display();
    format!(
        "global\n\
         \x20 nbthread 1\n\
         defaults\n\
         \x20 mode http\n\
         \x20 timeout connect 5s\n\
         \x20 timeout client 1h\n\
         \x20 timeout server 1h\n\
         \x20 timeout tunnel 1h\n\
         \x20 http-reuse always\n\
         frontend doors\n\
         \x20 bind 127.0.0.1:{PORT} backlog 16384\n\
         \x20 bind 127.0.0.1:{H2C_PORT} proto h2\n\
         \x20 bind 127.0.0.1:{TLS_PORT} ssl crt {certificate} alpn h2,http/1.1\n\
         \x20 option forwardfor\n\
         \x20 http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}\n\
         \x20 http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}\n\
         \x20 http-request set-header X-Forwarded-Host %[req.hdr(host)]\n\
         \x20 use_backend websocket if {{ path {WEBSOCKET_PATH} }}\n\
         \x20 default_backend application\n\
         backend application\n\
         \x20 server application 127.0.0.1:{APPLICATION}\n\
         backend websocket\n\
         \x20 server websocket 127.0.0.1:{WEBSOCKET_PORT}\n\
         listen raw\n\
         \x20 mode tcp\n\
         \x20 bind 127.0.0.1:{TCP_PORT}\n\
         \x20 server application 127.0.0.1:{APPLICATION}\n"
    )
}

pub(super) fn caddy(place: &Place) -> String {
    let certificates = place.certificates.display();
    format!(
        "{{\n\
         \tadmin off\n\
         \tauto_https off\n\
         \tlog {{\n\t\tlevel ERROR\n\t}}\n\
         \tservers {{\n\t\tprotocols h1 h2 h2c\n\t}}\n\
         }}\n\
         (application) {{\n\
         \treverse_proxy {WEBSOCKET_PATH} 127.0.0.1:{WEBSOCKET_PORT}\n\
         \treverse_proxy 127.0.0.1:{APPLICATION} {{\n\
         \t\ttransport http {{\n\t\t\tkeepalive_idle_conns_per_host 256\n\t\t}}\n\
         \t}}\n\
         }}\n\
         http://localhost:{PORT}, http://localhost:{H2C_PORT} {{\n\
         \tbind 127.0.0.1\n\
         \timport application\n\
         }}\n\
         https://localhost:{TLS_PORT} {{\n\
         \tbind 127.0.0.1\n\
         \ttls {certificates}/server-cert.pem {certificates}/server-key.pem\n\
         \timport application\n\
         }}\n"
    )
}
