//! A connection that carries one request at a time, HTTP/1.1, driven by whoever uses it: it has no task of
//! its own, so that no request and no answer is handed from one task, or one thread, to another.

use std::{
    future::poll_fn,
    io, mem,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{
        TrySendError,
        http1::{self, SendRequest},
    },
};
use hyper_util::rt::TokioIo;
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};

use super::Place;
use crate::{
    body::RequestBody,
    dial::{Answering, Stream},
    woken::Woken,
};

/// The largest head of an answer.
const MAX_HEAD: usize = 256 * 1024;

/// A connection for one request at a time.
pub(crate) struct Alone {
    sender: SendRequest<RequestBody>,
    driver: Driver,
}

/// Who makes it go on.
enum Driver {
    /// Whoever uses it: nothing is left to do while nobody does.
    User(Driven),
    /// A task, because it has more to do than its user waits for.
    Task(JoinHandle<()>),
    /// It is closed.
    Over,
}

struct Driven {
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>,
    /// What it brings about while it is driven tells nobody: its user is there, and looks.
    woken: Woken,
    /// Given back when it is closed.
    place: Place,
}

/// What a connection is found to be after an exchange.
pub(super) enum Rest {
    Idle(Alone),
    /// The end of an upload is still on its way.
    Busy(Alone),
    /// It is closed, or closes by itself.
    Gone,
}

impl Alone {
    pub(super) async fn on(stream: Stream, place: Place) -> io::Result<Self> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD);
        let handshake = builder.handshake(TokioIo::new(Answering::new(stream)));
        let (sender, connection) = handshake.await.map_err(io::Error::other)?;
        let connection = Box::pin(connection.with_upgrades());
        let driven = Driven { connection, woken: Woken::new(), place };
        Ok(Self { sender, driver: Driver::User(driven) })
    }

    /// Sends a request; what is returned waits for the head of its answer. Dropping that ends the
    /// connection's use: what was sent of the request cannot be taken back.
    pub(crate) fn ask(
        &mut self,
        message: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> {
        let Self { sender, driver } = self;
        let answer = sender.try_send_request(message);
        driver.look();
        async move {
            let mut answer = pin!(answer);
            poll_fn(|context| driver.poll(context, |context| answer.as_mut().poll(context))).await
        }
    }

    /// Polls what comes from the connection, and for that the connection.
    pub(super) fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        fed: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.driver.poll(context, fed)
    }

    /// Whether nothing is seen to be wrong with it: for one that nobody uses.
    pub(super) fn is_open(&mut self) -> bool {
        self.driver.look();
        !matches!(self.driver, Driver::Over) && !self.sender.is_closed()
    }

    /// What is left to do after an exchange.
    pub(super) fn rest(mut self) -> Rest {
        if !self.sender.is_ready() {
            self.driver.look();
        }
        match self.driver {
            Driver::User(_) if self.sender.is_ready() => Rest::Idle(self),
            Driver::User(_) => Rest::Busy(self),
            Driver::Task(_) | Driver::Over => Rest::Gone,
        }
    }

    /// Waits until there is nothing left to do; whether it can be used again.
    pub(super) async fn is_through(&mut self) -> bool {
        let Self { sender, driver } = self;
        poll_fn(|context| driver.poll(context, |context| sender.poll_ready(context))).await.is_ok()
    }

    /// Lets it go on by itself.
    pub(super) fn go_on(&mut self, runtime: &Handle) {
        self.driver = match mem::replace(&mut self.driver, Driver::Over) {
            Driver::User(Driven { connection, place, .. }) => Driver::Task(runtime.spawn(async {
                let _place = place;
                tell(&connection.await);
            })),
            driver => driver,
        };
    }

    /// Ends what is still on its way.
    pub(super) fn cut(self) {
        if let Driver::Task(task) = self.driver {
            task.abort();
        }
    }

    /// Sends nothing more on it, and waits for what is on its way, but not for longer than `bound`.
    pub(super) async fn end_within(self, bound: Duration) {
        // It closes when it is through.
        drop(self.sender);
        if let Driver::Task(mut task) = self.driver
            && timeout(bound, &mut task).await.is_err()
        {
            task.abort();
        }
    }
}

impl Driver {
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        mut fed: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        if let Self::User(driven) = self {
            driven.woken.tell_nobody();
            let mut came = fed(&mut driven.woken.context());
            if came.is_ready() {
                return came;
            }
            let is_woken = driven.woken.take();
            if !is_woken || driven.drive().is_pending() {
                if is_woken {
                    came = fed(&mut driven.woken.context());
                }
                if came.is_pending() {
                    driven.woken.tell(context.waker());
                }
                return came;
            }
            // What it fed learns of its end by that.
            *self = Self::Over;
        }
        fed(context)
    }

    /// Lets it do what it can do now: for one that nobody waits for.
    fn look(&mut self) {
        if let Self::User(driven) = self {
            driven.woken.tell_nobody();
            if driven.woken.take() && driven.drive().is_ready() {
                *self = Self::Over;
            }
        }
    }
}

impl Driven {
    /// Ready when it is closed.
    fn drive(&mut self) -> Poll<()> {
        let polled = self.connection.as_mut().poll(&mut self.woken.context());
        polled.map(|ended| tell(&ended))
    }
}

fn tell(ended: &hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(error = error as &dyn std::error::Error, "an upstream connection ended");
    }
}
