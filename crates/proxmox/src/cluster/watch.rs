//! What happens to containers, as streams.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use drowse_provider::{
    Action, EngineItem, EngineWatch, Error, ErrorKind, Reference, Watch, WatchItem,
    mailbox::{Mail, Mailbox},
};
use futures::{Stream, StreamExt, stream};

use super::{poller, shared::Shared, target::Target};

/// How many items a container's watch may lag behind before it gets a fresh `Synced` instead.
const CAPACITY: usize = 64;
/// The same of a whole engine's, which is told of every container.
const CAPACITY_OF_ALL: usize = 1024;

impl Shared {
    /// What happens to one container. Must be called within a tokio runtime.
    pub(crate) fn watch(self: Arc<Self>, reference: &Reference) -> Watch {
        if let Some(target) = Target::of(reference) {
            return ContainerWatch::begin(self, target).boxed();
        }
        let kind = ErrorKind::Unsupported { why: super::NAMES.to_owned() };
        let error = Error::new(self.name(), Action::Watch, kind);
        stream::iter([Err(error.with_container(reference.to_string()))]).boxed()
    }

    /// What happens to all of them. Must be called within a tokio runtime.
    pub(super) fn watch_all(self: Arc<Self>) -> EngineWatch {
        AllWatch::begin(self).boxed()
    }
}

/// One container's watch. Holds the engine open.
struct ContainerWatch {
    shared: Arc<Shared>,
    target: Target,
    mailbox: Arc<Mailbox<WatchItem>>,
}

impl ContainerWatch {
    fn begin(shared: Arc<Shared>, target: Target) -> Self {
        let mailbox = Arc::new(Mailbox::new(CAPACITY));
        let is_first = shared.core.registry.subscribe(&target, Arc::clone(&mailbox));
        poller::ensure_running(&shared.core, is_first);
        Self { shared, target, mailbox }
    }
}

impl Stream for ContainerWatch {
    type Item = Result<WatchItem, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::task::ready!(self.mailbox.poll(context.waker())) {
                Mail::Item(item) => return Poll::Ready(Some(item)),
                Mail::End => return Poll::Ready(None),
                Mail::AskForSnapshot => self.shared.core.registry.want(&self.target),
            }
        }
    }
}

impl Drop for ContainerWatch {
    fn drop(&mut self) {
        self.shared.core.registry.unsubscribe(&self.target, &self.mailbox);
    }
}

/// A whole engine's watch. Holds the engine open.
struct AllWatch {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox<EngineItem>>,
}

impl AllWatch {
    fn begin(shared: Arc<Shared>) -> Self {
        let mailbox = Arc::new(Mailbox::new(CAPACITY_OF_ALL));
        let is_first = shared.core.registry.subscribe_to_all(Arc::clone(&mailbox));
        poller::ensure_running(&shared.core, is_first);
        Self { shared, mailbox }
    }
}

impl Stream for AllWatch {
    type Item = Result<EngineItem, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match std::task::ready!(self.mailbox.poll(context.waker())) {
                Mail::Item(item) => return Poll::Ready(Some(item)),
                Mail::End => return Poll::Ready(None),
                Mail::AskForSnapshot => self.shared.core.registry.want_list(),
            }
        }
    }
}

impl Drop for AllWatch {
    fn drop(&mut self) {
        self.shared.core.registry.unsubscribe_from_all(&self.mailbox);
    }
}
