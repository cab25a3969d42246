//! `drowse-testapp health`: what a container's HEALTHCHECK runs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use crate::settings::Settings;

const DEADLINE: Duration = Duration::from_secs(2);

pub(crate) fn check(settings: &Settings) -> ExitCode {
    match ask(settings) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            crate::eprint(&format!("not healthy: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn ask(settings: &Settings) -> std::io::Result<bool> {
    let address = if settings.bind.is_unspecified() {
        IpAddr::from(Ipv4Addr::LOCALHOST)
    } else {
        settings.bind
    };
    let mut stream = TcpStream::connect_timeout(&(address, settings.port).into(), DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut status_line = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut status_line)?;
    Ok(status_line == *b"HTTP/1.1 200")
}
