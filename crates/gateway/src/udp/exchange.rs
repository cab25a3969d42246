//! The packets between a client and the upstream of one run.

use std::{io, mem::MaybeUninit, pin::pin, sync::Arc, time::Duration};

use drowse_provider::Deadline;
use tokio::{
    io::ReadBuf,
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    AT_A_TIME,
    session::Session,
    socket::{LONGEST, PortSocket},
    upstream::{Objection, Sent, Upstream, Way},
};
use crate::tunnel::has_left;

/// How long packets that were not replied to are kept, in case the upstream turns out not to listen
/// yet. Its machine says so at once; but as long as that is not on its network yet, the kernel keeps what
/// it is sent, and asks for it for three seconds.
const SETTLING: Duration = Duration::from_secs(4);

/// After which time packets are sent again that may have been refused without a word.
const AGAIN: Duration = Duration::from_millis(500);

/// How an exchange ended.
pub(super) enum Outcome {
    /// Nothing has passed for long enough.
    Idle,
    /// The run is over, or in doubt.
    Left,
    /// The upstream's machine says that nobody listens there, or it cannot be reached.
    Failed {
        error: io::Error,
        /// It had replied before, or nothing was said against what was sent.
        has_served: bool,
    },
}

impl Session {
    /// Passes packets in both directions. What was queued is sent first, and kept until there is a
    /// reply, or no refusal for a while; after that packets go the way that is shown to
    /// [`take`](Session::take). Where refusals may not have been told, it is sent again, until `deadline`.
    pub(super) async fn exchange(
        &self,
        way: Way,
        replies: &PortSocket,
        deadline: Deadline,
    ) -> Outcome {
        let workload = &self.route.spec().workload;
        // The time that it has waited is not idle time.
        self.said(0);
        let upstream = Arc::clone(&way.upstream);
        let run = way.run.clone();
        let mut news = workload.watch();
        let mut left = pin!(async {
            // An error says that it is no longer managed.
            _ = news.wait_for(|now| has_left(now.phase)).await;
        });
        let mut idle = pin!(sleep_until(self.ends_at()));
        let mut sent_at = Instant::now();
        let mut settled_at = sent_at + SETTLING;
        let mut settled = pin!(sleep_until(settled_at));
        let mut again = pin!(sleep_until(sent_at + AGAIN));
        let mut has_replied = false;
        let mut way = Some(way);
        loop {
            let mut is_behind = false;
            if way.is_some() {
                match self.send_queued(&upstream).await {
                    Ok(is_through) => is_behind = !is_through,
                    Err(error) => {
                        return Outcome::Failed { error, has_served: has_replied || way.is_none() };
                    }
                }
                if has_replied || settled_at <= Instant::now() {
                    // What was said against them may have come at the same moment.
                    if let Err(error) = self.hear(upstream.objection()) {
                        return Outcome::Failed { error, has_served: has_replied || way.is_none() };
                    }
                    self.open(&mut way);
                }
            }
            tokio::select! {
                () = yield_now(), if is_behind => {}
                () = self.news.notified() => {
                    // The way that was shown is taken down by whoever found it blocked.
                    if way.is_none() && self.state().way.is_none() {
                        if workload.is_in_doubt(&run) {
                            return Outcome::Left;
                        }
                        let error = io::ErrorKind::ConnectionRefused.into();
                        return Outcome::Failed { error, has_served: has_replied || way.is_none() };
                    }
                }
                news = upstream.has_news() => {
                    let heard = news.and_then(|()| self.hear(upstream.objection()));
                    // There may be replies as well.
                    let replied = self.reply(&upstream, replies, &mut has_replied);
                    if let Err(error) = heard.and(replied) {
                        return Outcome::Failed { error, has_served: has_replied || way.is_none() };
                    }
                    yield_now().await;
                }
                () = again.as_mut(), if way.is_some() && !has_replied => {
                    let is_unsaid = !self.route.0.refusals.silence_tells(sent_at);
                    if is_unsaid && !deadline.remaining().is_zero() {
                        self.state().queue.begin_again();
                        // It was not idle.
                        self.said(0);
                        sent_at = Instant::now();
                        settled_at = sent_at + SETTLING;
                        settled.as_mut().reset(settled_at);
                    }
                    again.as_mut().reset(Instant::now() + AGAIN);
                }
                () = settled.as_mut(), if way.is_some() && settled_at > Instant::now() => {}
                () = left.as_mut() => return Outcome::Left,
                // The timer is not set anew for each packet: it is late, and then looks how late.
                () = idle.as_mut() => {
                    let ends_at = self.ends_at();
                    if ends_at <= Instant::now() {
                        return Outcome::Idle;
                    }
                    idle.as_mut().reset(ends_at);
                }
            }
        }
    }

    /// Sends what is queued, within a bound; whether that was all.
    async fn send_queued(&self, upstream: &Upstream) -> io::Result<bool> {
        for _ in 0..AT_A_TIME {
            upstream.writable().await?;
            if !self.send_next(upstream)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sends the next packet that is queued, if there is room for it; `false`: there is none.
    fn send_next(&self, upstream: &Upstream) -> io::Result<bool> {
        let queue = &mut self.state().queue;
        let Some(packet) = queue.next() else { return Ok(false) };
        match upstream.try_send(packet) {
            Ok(Sent::Whole) => queue.has_sent(),
            Ok(Sent::TooLong) => {
                queue.skip();
                self.flow.dropped(1);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    /// Hears what was said against the packets that were sent.
    ///
    /// # Errors
    /// They were refused.
    fn hear(&self, objection: Option<Objection>) -> io::Result<()> {
        match objection {
            Some(Objection::Refused(error)) => return Err(error),
            Some(Objection::TooLong) => self.state().queue.begin_again(),
            None => {}
        }
        Ok(())
    }

    /// Shows the way to whoever receives, unless something was queued meanwhile.
    fn open(&self, way: &mut Option<Way>) {
        let mut state = self.state();
        if state.queue.next().is_none() {
            state.queue.clear();
            state.way = way.take();
        }
    }

    /// Passes on the replies that there are, within a bound.
    #[expect(clippy::large_stack_arrays, reason = "not held over an await, and not written to")]
    fn reply(
        &self,
        upstream: &Upstream,
        replies: &PortSocket,
        has_replied: &mut bool,
    ) -> io::Result<()> {
        let mut buffer = [const { MaybeUninit::uninit() }; LONGEST];
        for _ in 0..AT_A_TIME {
            let mut packet = ReadBuf::uninit(&mut buffer);
            match upstream.try_receive(&mut packet) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return self.hear(Some(Objection::of(error))),
            }
            *has_replied = true;
            self.replied(packet.filled().len());
            // A client that is gone, or a queue that is full: a packet is lost, as packets are.
            if replies.try_reply(packet.filled(), self.client).is_err() {
                self.flow.dropped(1);
            }
        }
        Ok(())
    }
}
