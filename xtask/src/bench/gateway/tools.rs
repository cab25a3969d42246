//! The programs that drowse is measured beside, and with.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

/// Where Debian's nginx has what passes TCP on.
pub(super) const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// Each program, or file, with Debian's package of it.
pub(super) const ALL: &[(&str, &str)] = &[
    ("nginx", "nginx"),
    (NGINX_STREAM, "libnginx-mod-stream"),
    ("haproxy", "haproxy"),
    ("caddy", "caddy"),
    ("wrk", "wrk"),
    ("h2load", "nghttp2-client"),
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("taskset", "util-linux"),
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
];

/// A line that tells their versions.
pub(super) fn versions() -> anyhow::Result<String> {
    let words = [
        first_line(Command::new("nginx").arg("-v"))?,
        first_line(Command::new("haproxy").arg("-v"))?,
        format!("Caddy {}", first_line(Command::new("caddy").arg("version"))?),
        first_line(Command::new("wrk").arg("-v"))?,
        first_line(Command::new("h2load").arg("--version"))?,
    ];
    Ok(format!("- beside and with it: {}\n", words.join("; ")))
}

/// Some of them tell it on standard error, and some with a failure.
fn first_line(command: &mut Command) -> anyhow::Result<String> {
    let program = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().context(program)?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    let line = line.strip_prefix("nginx version: ").unwrap_or(line);
    let end = ["Copyright", " - https"].iter().filter_map(|word| line.find(word)).min();
    Ok(line[..end.unwrap_or(line.len())].trim().to_owned())
}
