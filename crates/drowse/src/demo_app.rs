//! The application of the demo: slow to start and hungry for memory, as real ones are.

use std::{convert::Infallible, env, net::Ipv4Addr, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, header, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};
use tracing::debug;

/// How long it takes to start, unless `DEMO_START_MS` says otherwise.
const START: Duration = Duration::from_secs(1);
/// How much memory it keeps, unless `DEMO_MEMORY_MB` says otherwise.
const MEMORY_MB: usize = 64;

/// Serves on the loopback port that `PORT` names, until it is asked to end.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let began = Instant::now();
    let port: u16 = env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(3000);
    let start = number("DEMO_START_MS").map_or(START, Duration::from_millis);
    let megabytes = number("DEMO_MEMORY_MB").and_then(|value| usize::try_from(value).ok());
    let mut terminated = signal(SignalKind::terminate())?;
    // Written to, so that the system has to back it.
    let memory = vec![1_u8; megabytes.unwrap_or(MEMORY_MB) << 20];
    sleep(start).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    let started = Instant::now();
    loop {
        tokio::select! {
            _ = terminated.recv() => break,
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("cannot accept connections")?;
                tokio::spawn(connection(stream, started, started - began));
            }
        }
    }
    drop(memory);
    Ok(())
}

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok()?.parse().ok()
}

async fn connection(stream: TcpStream, started: Instant, took: Duration) {
    let service = service_fn(move |request: Request<Incoming>| async move {
        Ok::<_, Infallible>(page(request.uri().path(), started.elapsed(), took))
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!(error = &error as &(dyn std::error::Error + 'static), "a connection ended");
    }
}

fn page(path: &str, up: Duration, took: Duration) -> Response<Full<Bytes>> {
    let pid = std::process::id();
    let up = up.as_secs();
    let took = took.as_secs_f64();
    let path = path.replace('&', "&amp;").replace('<', "&lt;");
    let text = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Awake</title>\n\
         <body style=\"font-family:sans-serif;max-width:36rem;margin:4rem auto\">\n\
         <h1>I am awake</h1>\n\
         <p>This is the demo's application, process {pid}, asked for <code>{path}</code>. It took \
         {took:.1} s to start and has been up for {up} s.</p>\n\
         <p>Leave it alone for a while: it is put to sleep, and its memory is given back. Then load \
         this page again.</p>\n</body></html>\n"
    );
    let mut response = Response::new(Full::new(Bytes::from(text)));
    let headers = response.headers_mut();
    let html = header::HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}
