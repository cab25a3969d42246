//! Bytes in both directions between two sides.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::splice::{Passed, Splice};
use crate::in_flight::Place;

/// How much is read at a time. On the stack: a tunnel in which nothing is stuck has no buffer.
const CHUNK: usize = 16 * 1024;

/// How long the other direction may go on after the first has ended: a peer that is gone must not
/// keep the workload awake.
const LINGER: Duration = Duration::from_secs(10);

/// One end of a tunnel.
pub(crate) trait Side: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Side for T {}

/// Two sides, and what is between them.
pub(crate) struct Pump<'a, C, U> {
    client: C,
    upstream: U,
    up: Way,
    down: Way,
    /// Which way is looked at first: each in turn, so that a torrent in one does not drown the other.
    pub(super) is_up_first: bool,
    /// How long the other way may go on when one has ended; `None`: for ever.
    patience: Option<Duration>,
    /// Runs when one way has ended.
    linger: Option<Pin<Box<Sleep>>>,
    moved: u64,
    place: &'a Place,
}

/// What is on its way from one side to the other.
#[derive(Default)]
struct Way {
    /// What was read and could not be written yet.
    stuck: Vec<u8>,
    /// How much of that was written.
    written: usize,
    is_unflushed: bool,
    /// Why nothing more can be read. What was read before is passed on first.
    failure: Option<io::Error>,
    /// Why nothing more can be written.
    refusal: Option<io::Error>,
    /// Whether the end was read.
    has_ended: bool,
    /// Whether the end was passed on.
    is_over: bool,
    /// The shorter way, where there is one.
    splice: Option<Splice>,
}

impl<'a, C: Side, U: Side> Pump<'a, C, U> {
    /// Bytes are counted at `place`.
    pub(crate) fn new(client: C, upstream: U, place: &'a Place) -> Self {
        Self {
            client,
            upstream,
            up: Way::default(),
            down: Way::default(),
            is_up_first: true,
            patience: Some(LINGER),
            linger: None,
            moved: 0,
            place,
        }
    }

    /// For sides either of which may end long before the other, and which somebody else watches for
    /// their being gone. `early`: what was read of the client before, and whether that was all.
    pub(crate) fn half_closing(mut self, early: Vec<u8>, has_ended: bool) -> Self {
        self.patience = None;
        self.up.stuck = early;
        self.up.has_ended = has_ended;
        self
    }

    /// For sides between which there is a shorter way, in either direction.
    pub(crate) fn splicing(mut self, up: Splice, down: Splice) -> Self {
        (self.up.splice, self.down.splice) = (Some(up), Some(down));
        self
    }

    /// How many bytes were read or written so far.
    pub(crate) fn moved(&self) -> u64 {
        self.moved
    }

    /// Passes on what there is. Ready when both ways have ended, when one has and the other goes on for
    /// too long, or when a side can be read no more. What can merely be written no more may have said
    /// something before, which is passed on first.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_up_first = !self.is_up_first;
        for is_up in [self.is_up_first, !self.is_up_first] {
            let Self { client, upstream, up, down, moved, place, .. } = self;
            let polled = if is_up {
                up.poll(context, client, upstream, moved, place)
            } else {
                down.poll(context, upstream, client, moved, place)
            };
            if let Poll::Ready(Err(error)) = polled {
                return Poll::Ready(Err(error));
            }
        }
        if self.up.is_over && self.down.is_over {
            let refusal = self.up.refusal.take().or_else(|| self.down.refusal.take());
            return Poll::Ready(refusal.map_or(Ok(()), Err));
        }
        if let Some(patience) = self.patience
            && (self.up.is_ending() || self.down.is_ending())
        {
            let linger = self.linger.get_or_insert_with(|| Box::pin(sleep(patience)));
            ready!(linger.as_mut().poll(context));
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

/// How one way broke off.
enum Broken {
    /// Nothing more can be read.
    Off(io::Error),
    /// Nothing more can be written.
    Refused(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

impl Way {
    /// Whether the other way has only to be seen through.
    fn is_ending(&self) -> bool {
        self.is_over || self.failure.is_some()
    }

    /// An error says that nothing more can be read.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
        moved: &mut u64,
        place: &Place,
    ) -> Poll<io::Result<()>> {
        if self.is_over {
            return Poll::Ready(Ok(()));
        }
        match ready!(self.poll_pass(context, from, to, moved, place)) {
            Ok(()) => {}
            Err(Broken::Off(failure)) => return Poll::Ready(Err(failure)),
            Err(Broken::Refused(refusal)) => self.refusal = Some(refusal),
        }
        self.is_over = true;
        Poll::Ready(Ok(()))
    }

    /// Passes on what there is, to its end.
    fn poll_pass(
        &mut self,
        context: &mut Context<'_>,
        from: &mut impl Side,
        to: &mut impl Side,
        moved: &mut u64,
        place: &Place,
    ) -> Poll<Result<(), Broken>> {
        let mut chunk = [const { MaybeUninit::uninit() }; CHUNK];
        loop {
            ready!(self.poll_write_stuck(context, to, moved))?;
            if self.failure.is_some() {
                // TLS writes nothing of what it still holds when it is dropped.
                ready!(Pin::new(&mut *to).poll_flush(context))?;
                return Poll::Ready(self.failure.take().map_or(Ok(()), |it| Err(Broken::Off(it))));
            }
            if self.has_ended {
                ready!(Pin::new(&mut *to).poll_shutdown(context))?;
                return Poll::Ready(Ok(()));
            }
            if let Some(splice) = &mut self.splice {
                match ready!(splice.poll(context, moved, place))? {
                    Passed::Copy => {}
                    Passed::End => {
                        self.has_ended = true;
                        continue;
                    }
                }
            }
            let mut read = ReadBuf::uninit(&mut chunk);
            match Pin::new(&mut *from).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(failure)) => {
                    self.failure = Some(failure);
                    continue;
                }
                Poll::Pending => {
                    if self.is_unflushed {
                        ready!(Pin::new(&mut *to).poll_flush(context))?;
                        self.is_unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
            let bytes = read.filled();
            if bytes.is_empty() {
                self.has_ended = true;
                continue;
            }
            *moved += bytes.len() as u64;
            place.passed(bytes.len());
            if let Some(splice) = &mut self.splice {
                splice.copied(bytes.len());
            }
            let written = match Pin::new(&mut *to).poll_write(context, bytes) {
                Poll::Ready(written) => written?,
                Poll::Pending => 0,
            };
            self.is_unflushed = true;
            self.stuck.extend_from_slice(bytes.get(written..).unwrap_or_default());
        }
    }

    fn poll_write_stuck(
        &mut self,
        context: &mut Context<'_>,
        to: &mut impl Side,
        moved: &mut u64,
    ) -> Poll<io::Result<()>> {
        while let Some(rest) = self.stuck.get(self.written..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut *to).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
            *moved += written as u64;
        }
        // Its memory is given back, too.
        self.stuck = Vec::new();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}
