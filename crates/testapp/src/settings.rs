//! What the environment says.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Http,
    TcpEcho,
    Grpc,
    TcpLines,
    UdpEcho,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
    pub(crate) mode: Mode,
    pub(crate) name: String,
    pub(crate) start_delay: Duration,
    pub(crate) accept_then_close: Duration,
    pub(crate) ready_delay: Duration,
    pub(crate) exit_after: Option<Duration>,
    pub(crate) exit_code: i32,
    pub(crate) ignore_term: bool,
    pub(crate) term_delay: Duration,
    pub(crate) handle_hup: bool,
}

impl Settings {
    /// Reads the variables by `lookup`, so that tests need not touch the real environment.
    pub(crate) fn from_env(lookup: impl Fn(&str) -> Option<String>) -> anyhow::Result<Self> {
        let env = Env(lookup);
        Ok(Self {
            bind: env.parsed("BIND")?.unwrap_or(IpAddr::from([0, 0, 0, 0])),
            port: env.parsed("PORT")?.unwrap_or(80),
            mode: match env.text("MODE").as_deref() {
                None | Some("http") => Mode::Http,
                Some("tcp-echo") => Mode::TcpEcho,
                Some("grpc") => Mode::Grpc,
                Some("tcp-lines") => Mode::TcpLines,
                Some("udp-echo") => Mode::UdpEcho,
                Some(other) => bail!(
                    "MODE is `{other}`, expected `http`, `tcp-echo`, `tcp-lines`, `udp-echo` or `grpc`"
                ),
            },
            name: env.text("NAME").unwrap_or_default(),
            start_delay: env.milliseconds("START_DELAY_MS")?.unwrap_or_default(),
            accept_then_close: env.milliseconds("ACCEPT_THEN_CLOSE_MS")?.unwrap_or_default(),
            ready_delay: env.milliseconds("READY_DELAY_MS")?.unwrap_or_default(),
            exit_after: env.milliseconds("EXIT_AFTER_MS")?,
            exit_code: env.parsed("EXIT_CODE")?.unwrap_or(1),
            ignore_term: env.switch("IGNORE_TERM")?,
            term_delay: env.milliseconds("TERM_DELAY_MS")?.unwrap_or_default(),
            handle_hup: env.switch("HANDLE_HUP")?,
        })
    }

    pub(crate) fn exits_at_once(&self) -> bool {
        self.exit_after == Some(Duration::ZERO)
    }
}

struct Env<F>(F);

impl<F: Fn(&str) -> Option<String>> Env<F> {
    /// An empty variable counts as unset: that is how a compose file unsets one.
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
        &self,
        name: &str,
    ) -> anyhow::Result<Option<T>> {
        self.text(name)
            .map(|value| value.parse().with_context(|| format!("{name} is `{value}`")))
            .transpose()
    }

    fn milliseconds(&self, name: &str) -> anyhow::Result<Option<Duration>> {
        Ok(self.parsed(name)?.map(Duration::from_millis))
    }

    fn switch(&self, name: &str) -> anyhow::Result<bool> {
        match self.text(name).as_deref() {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => bail!("{name} is `{other}`, expected 1 or 0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        Settings::from_env(|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_set_means_a_web_server_on_port_80_that_is_ready_at_once() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.port, settings.mode), (80, Mode::Http));
        assert_eq!(settings.ready_delay, Duration::ZERO);
        assert!(settings.exit_after.is_none() && !settings.ignore_term);
    }

    #[test]
    fn an_exit_after_nothing_is_told_from_no_exit() {
        assert!(read(&[("EXIT_AFTER_MS", "0")]).unwrap().exits_at_once());
        assert!(!read(&[("EXIT_AFTER_MS", "")]).unwrap().exits_at_once());
        assert!(!read(&[("EXIT_AFTER_MS", "5")]).unwrap().exits_at_once());
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_names_the_variable() {
        for variable in ["PORT", "BIND", "MODE", "START_DELAY_MS", "IGNORE_TERM", "EXIT_CODE"] {
            let error = read(&[(variable, "often")]).unwrap_err();
            assert!(format!("{error:#}").contains(variable), "{error:#}");
        }
    }
}
