//! The packets between a client and the upstream of one run.

use std::{io, mem::MaybeUninit, pin::pin, time::Duration};

use tokio::{
    io::ReadBuf,
    net::UdpSocket,
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    AT_A_TIME,
    session::{Session, Way},
    socket::{LONGEST, PortSocket},
};
use crate::tunnel::has_left;

/// How long packets that were not replied to are kept, in case the upstream turns out not to listen
/// yet: its machine says so at once.
const SETTLING: Duration = Duration::from_secs(1);

/// How an exchange ended.
pub(super) enum Outcome {
    /// Nothing has passed for long enough.
    Idle,
    /// The run is over, or in doubt.
    Left,
    /// The upstream's machine says that nobody listens there, or it cannot be reached.
    Failed { error: io::Error, has_replied: bool },
}

impl Session {
    /// Passes packets in both directions. What was queued is sent first, and kept until there is a
    /// reply, or no refusal for a while; after that packets go the way that is shown to
    /// [`take`](Session::take).
    pub(super) async fn exchange(&self, way: Way, replies: &PortSocket) -> Outcome {
        let workload = &self.route.spec().workload;
        // The time that it has waited is not idle time.
        self.said(0);
        let socket = way.socket.clone();
        let run = way.run.clone();
        let mut news = workload.watch();
        let mut left = pin!(async {
            // An error says that it is no longer managed.
            _ = news.wait_for(|now| has_left(now.phase)).await;
        });
        let mut idle = pin!(sleep_until(self.ends_at()));
        let settled_at = Instant::now() + SETTLING;
        let mut settled = pin!(sleep_until(settled_at));
        let mut has_replied = false;
        let mut next = 0;
        let mut way = Some(way);
        loop {
            let mut is_behind = false;
            if way.is_some() {
                match self.send_queued(&socket, &mut next).await {
                    Ok(is_through) => is_behind = !is_through,
                    Err(error) => return Outcome::Failed { error, has_replied },
                }
                if has_replied || settled_at <= Instant::now() {
                    self.open(&mut way, next);
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
                        return Outcome::Failed { error, has_replied };
                    }
                }
                ready = socket.readable() => {
                    match ready.and_then(|()| self.reply(&socket, replies)) {
                        Ok(any) => has_replied |= any,
                        Err(error) => return Outcome::Failed { error, has_replied },
                    }
                    yield_now().await;
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

    /// Sends what is queued from this number on, within a bound; whether that was all.
    async fn send_queued(&self, socket: &UdpSocket, next: &mut u64) -> io::Result<bool> {
        socket.writable().await?;
        for _ in 0..AT_A_TIME {
            let Some((number, packet)) = self.state().queue.get(*next) else { return Ok(true) };
            socket.send(&packet).await?;
            *next = number + 1;
        }
        Ok(false)
    }

    /// Shows the way to whoever receives, unless something was queued meanwhile.
    fn open(&self, way: &mut Option<Way>, next: u64) {
        let mut state = self.state();
        if state.queue.get(next).is_none() {
            state.queue.clear();
            state.way = way.take();
        }
    }

    /// Passes on the replies that there are, within a bound; whether there was any.
    #[expect(clippy::large_stack_arrays, reason = "not held over an await, and not written to")]
    fn reply(&self, socket: &UdpSocket, replies: &PortSocket) -> io::Result<bool> {
        let mut buffer = [const { MaybeUninit::uninit() }; LONGEST];
        let mut any = false;
        for _ in 0..AT_A_TIME {
            let mut packet = ReadBuf::uninit(&mut buffer);
            match socket.try_recv_buf(&mut packet) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(any),
                Err(error) => return Err(error),
            }
            any = true;
            self.replied(packet.filled().len());
            // A client that is gone, or a queue that is full: a packet is lost, as packets are.
            if replies.try_reply(packet.filled(), self.client).is_err() {
                self.flow.dropped(1);
            }
        }
        Ok(any)
    }
}
