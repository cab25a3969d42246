//! The default probe of a TCP route.

use std::time::Duration;

use async_trait::async_trait;
use drowse_provider::Details;
use drowse_watcher::{Attempt, NotReady, Readiness};
use tokio::time::timeout;

use crate::{Chooser, dial};

/// How long a connection must stay where somebody may accept before the application listens: an
/// engine, at a published port, closes when it finds that out.
const STAYING: Duration = Duration::from_millis(20);

/// Ready when the application accepts a connection.
///
/// Behind a published port, and at an address of the route's own, the connection must also stay for
/// 20 ms, or the application say something. Where that is too short (on a loaded machine), a
/// [`TcpRoute`](crate::TcpRoute) makes the connections of a young run again.
/// Nothing is sent. Refused, unreachable, timed out, reset and closed all mean "not yet".
#[derive(Clone, Debug)]
pub struct TcpReadiness {
    chooser: Chooser,
}

impl TcpReadiness {
    /// Connects to the upstream that `chooser` chooses.
    pub fn new(chooser: Chooser) -> Self {
        Self { chooser }
    }
}

#[async_trait]
impl Readiness for TcpReadiness {
    async fn probe(&self, details: &Details, attempt: Attempt) -> Result<(), NotReady> {
        let upstream =
            self.chooser.choose(details).map_err(|none| NotReady::new(none.to_string()))?;
        let Some(target) = upstream.target else {
            let reason = format!("no address yet ({})", upstream.why);
            return Err(NotReady::new(reason).without_address());
        };
        // Nobody answers there: perhaps it has another address by now.
        let nobody = |reason: String| {
            let not_ready = NotReady::new(reason);
            if upstream.may_change { not_ready.at_passing_address() } else { not_ready }
        };
        let connecting = async {
            let addresses = dial::resolve(&target).await?;
            dial::connect(&addresses, attempt.connect_timeout()).await
        };
        let stream = timeout(attempt.answer_timeout(), connecting)
            .await
            .unwrap_or_else(|elapsed| Err(elapsed.into()))
            .map_err(|error| nobody(format!("{target}: {error}")))?;
        if !upstream.accepts_early {
            return Ok(());
        }
        match timeout(STAYING, stream.peek(&mut [0])).await {
            Ok(Ok(0)) => Err(nobody(format!("{target}: closes connections"))),
            Ok(Err(error)) => Err(nobody(format!("{target}: {error}"))),
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    fn is_at_passing_address(&self) -> bool {
        self.chooser.is_at_passing_address()
    }
}
