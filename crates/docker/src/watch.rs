//! What happens to containers: one connection for events, shared by any number of watches.
//!
//! [`link`] holds the connection, [`hub`] is the one task that drives everything while anything is
//! watched, [`registry`] is what the watches and that task share, and a [`Mailbox`] is what one
//! consumer has still to read. Events are hints: after each one that matters the hub reads the
//! container, and that is what is told as true.

mod event;
mod hub;
mod lines;
mod link;
mod registry;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use drowse_provider::{
    EngineItem, Error, WatchItem,
    mailbox::{Mail, Mailbox},
};
use futures::Stream;

pub(crate) use self::{
    hub::{OVERTAKEN_ON_PODMAN, SETTLING},
    registry::{Registry, summary_of},
};
use crate::{engine::Handle, target::Target};

/// One container's watch. Holds the engine open.
pub(crate) struct ContainerWatch {
    handle: Arc<Handle>,
    target: Target,
    mailbox: Arc<Mailbox<WatchItem>>,
}

impl ContainerWatch {
    /// Begins to watch. Must be called within a tokio runtime.
    pub(crate) fn begin(handle: Arc<Handle>, target: Target) -> Self {
        let mailbox = Arc::new(Mailbox::new(handle.client.options.watch_buffer));
        let is_first = handle.registry.subscribe(&target, Arc::clone(&mailbox));
        hub::ensure_running(&handle, is_first);
        Self { handle, target, mailbox }
    }
}

impl Stream for ContainerWatch {
    type Item = Result<WatchItem, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::task::ready!(self.mailbox.poll(context.waker())) {
                Mail::Item(item) => return Poll::Ready(Some(item)),
                Mail::End => return Poll::Ready(None),
                Mail::AskForSnapshot => self.handle.registry.want(&self.target),
            }
        }
    }
}

impl Drop for ContainerWatch {
    fn drop(&mut self) {
        self.handle.registry.unsubscribe(&self.target, &self.mailbox);
    }
}

/// How many times more than one container's watch a whole engine's holds: it is told of every
/// container.
const ALL: usize = 16;

/// A whole engine's watch. Holds the engine open.
pub(crate) struct AllWatch {
    handle: Arc<Handle>,
    mailbox: Arc<Mailbox<EngineItem>>,
}

impl AllWatch {
    /// Begins to watch. Must be called within a tokio runtime.
    pub(crate) fn begin(handle: Arc<Handle>) -> Self {
        let capacity = handle.client.options.watch_buffer.saturating_mul(ALL);
        let mailbox = Arc::new(Mailbox::new(capacity));
        let is_first = handle.registry.subscribe_to_all(Arc::clone(&mailbox));
        hub::ensure_running(&handle, is_first);
        Self { handle, mailbox }
    }
}

impl Stream for AllWatch {
    type Item = Result<EngineItem, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::task::ready!(self.mailbox.poll(context.waker())) {
                Mail::Item(item) => return Poll::Ready(Some(item)),
                Mail::End => return Poll::Ready(None),
                Mail::AskForSnapshot => self.handle.registry.want_list(),
            }
        }
    }
}

impl Drop for AllWatch {
    fn drop(&mut self) {
        self.handle.registry.unsubscribe_from_all(&self.mailbox);
    }
}
