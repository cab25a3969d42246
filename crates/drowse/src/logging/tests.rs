use std::sync::Arc;

use super::*;

/// A writer whose text a test can read.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines that `act` logs, without their times.
fn logged(format: LogFormat, act: impl FnOnce()) -> String {
    let out = Shared::default();
    let subscriber = tracing_subscriber::registry().with(LineLayer::new(format, out.clone()));
    tracing::subscriber::with_default(subscriber, act);
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let line = |line: &str| match format {
        LogFormat::Text => line.split_once(' ').unwrap().1.to_owned(),
        LogFormat::Json => {
            let mut object: serde_json::Value = serde_json::from_str(line).unwrap();
            object.as_object_mut().unwrap().remove("time").unwrap();
            object.to_string()
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn chained() -> anyhow::Error {
    anyhow::anyhow!("connection refused").context("cannot reach the socket").context("start failed")
}

fn some_events() {
    let _span = tracing::info_span!("workload", workload = "wiki").entered();
    tracing::info!(from = "asleep", to = "ready", reason = "a request came", took = 3, "awake");
    tracing::info!(user_agent = ?"curl/8\n2026 ERROR", path = ?"/", "woken");
    tracing::warn!("two\nlines");
    let error = chained();
    tracing::error!(error = AsRef::<dyn std::error::Error>::as_ref(&error), "it failed");
}

#[test]
fn lines_for_people() {
    insta::assert_snapshot!(logged(LogFormat::Text, some_events), @r#"
     INFO awake from=asleep to=ready reason="a request came" took=3 workload=wiki
     INFO woken user_agent="curl/8\n2026 ERROR" path=/ workload=wiki
     WARN two\nlines workload=wiki
    ERROR it failed error="start failed: cannot reach the socket: connection refused" workload=wiki
    "#);
}

#[test]
fn lines_for_programs() {
    insta::assert_snapshot!(logged(LogFormat::Json, some_events), @r#"
    {"from":"asleep","level":"info","message":"awake","reason":"a request came","target":"drowse::logging::tests","to":"ready","took":3,"workload":"wiki"}
    {"level":"info","message":"woken","path":"/","target":"drowse::logging::tests","user_agent":"curl/8\n2026 ERROR","workload":"wiki"}
    {"level":"warn","message":"two\nlines","target":"drowse::logging::tests","workload":"wiki"}
    {"error":"start failed: cannot reach the socket: connection refused","level":"error","message":"it failed","target":"drowse::logging::tests","workload":"wiki"}
    "#);
}

#[test]
fn the_time_is_local_and_names_its_offset() {
    let out = Shared::default();
    let subscriber =
        tracing_subscriber::registry().with(LineLayer::new(LogFormat::Text, out.clone()));
    tracing::subscriber::with_default(subscriber, || tracing::info!("x"));
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let stamp = text.split(' ').next().unwrap();
    assert!(stamp.parse::<jiff::Timestamp>().is_ok(), "{stamp}");
    assert_eq!(stamp.len(), "2026-11-23T22:36:55.123+00:00".len(), "{stamp}");
}

#[test]
fn what_repeats_is_kept_back_and_information_is_not() {
    let text = logged(LogFormat::Text, || {
        for took in 0..3 {
            tracing::warn!(engine = "home", took, "the engine is out of reach");
            tracing::warn!(engine = "lab", "the engine is out of reach");
            tracing::info!("again");
        }
    });
    insta::assert_snapshot!(text, @r"
    WARN the engine is out of reach engine=home took=0
    WARN the engine is out of reach engine=lab
    INFO again
    INFO again
    INFO again
    ");
}

#[test]
fn what_nobody_wants_to_read_costs_nothing() {
    let hint = |filter| {
        let lines = LineLayer::new(LogFormat::Text, Shared::default());
        let none = None::<LevelFilter>;
        subscriber(lines, filter, none).unwrap().max_level_hint()
    };
    assert_eq!(hint("info"), Some(LevelFilter::INFO));
    assert_eq!(hint("error"), Some(LevelFilter::ERROR));
    assert_eq!(hint("info,drowse_docker=debug"), Some(LevelFilter::DEBUG));
}
