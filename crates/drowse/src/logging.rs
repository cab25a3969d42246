//! Log lines: for people or for programs, with the whole chain of an error, and with repeats
//! counted instead of repeated.

mod line;
mod repeats;

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
};

use clap::ValueEnum;
use tokio::time::Instant;
use tracing::{Event, Level, Subscriber, level_filters::LevelFilter, span};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, layer::Context, layer::SubscriberExt as _, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use line::Fields;
use repeats::{Repeats, Verdict};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Sets up the log of this process, to standard error. `filter` is a level, or directives such as
/// `info,drowse_docker=debug`. `also` is told of every event from INFO on, whatever the filter.
///
/// # Errors
/// What is wrong with the filter, or that a log is set up already.
pub(crate) fn set_up(
    format: LogFormat,
    filter: &str,
    also: Option<impl Layer<Registry> + Send + Sync>,
) -> Result<(), String> {
    subscriber(LineLayer::new(format, std::io::stderr()), filter, also)?
        .try_init()
        .map_err(|error| format!("cannot set up the log: {error}"))
}

fn subscriber<W: Write + Send + 'static>(
    lines: LineLayer<W>,
    filter: &str,
    also: Option<impl Layer<Registry> + Send + Sync>,
) -> Result<impl Subscriber + Send + Sync, String> {
    let directives = match filter.parse::<LevelFilter>() {
        // A bare level is about drowse: its libraries have much to say below WARN.
        Ok(level) => format!("{},drowse={level}", level.min(Level::WARN.into())),
        Err(_) => filter.to_owned(),
    };
    // What it finds wrong with a certificate is told by whoever asked it, with what to do.
    let directives = format!("rustls_platform_verifier=off,{directives}");
    let filter = EnvFilter::builder()
        .parse(&directives)
        .map_err(|error| format!("`{filter}` is no log filter: {error}"))?;
    Ok(tracing_subscriber::registry()
        .with(also.map(|layer| layer.with_filter(LevelFilter::INFO)))
        .with(lines.with_filter(filter)))
}

/// Writes one line per event.
struct LineLayer<W> {
    format: LogFormat,
    out: Mutex<(W, Repeats)>,
}

impl<W> LineLayer<W> {
    fn new(format: LogFormat, out: W) -> Self {
        Self { format, out: Mutex::new((out, Repeats::default())) }
    }
}

impl<S, W> Layer<S> for LineLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Write + Send + 'static,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().replace(fields);
    }

    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(inherited) = span.extensions().get::<Fields>() {
                fields.inherit(inherited);
            }
        }
        let metadata = event.metadata();
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let (out, repeats) = &mut *out;
        if *metadata.level() <= Level::WARN {
            match repeats.judge(fields.identity(metadata.target()), Instant::now()) {
                Verdict::Say => {}
                Verdict::SayRepeated { times, over } => fields.repeated(times, over),
                Verdict::Keep => return,
            }
        }
        let now = jiff::ZonedDateTime::now();
        let line = match self.format {
            LogFormat::Text => fields.text(&now, metadata),
            LogFormat::Json => fields.json(&now, metadata),
        };
        // A log that cannot be written has nowhere to complain.
        _ = out.write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests;
