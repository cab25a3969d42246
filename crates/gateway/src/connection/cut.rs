//! What carries an answer can be cut by whoever has to do with it: a connection of HTTP/1.1, or one stream
//! of HTTP/2. A body cannot end itself while its client takes nothing: nobody asks it for anything then.

use futures::future::{AbortHandle, Abortable};

tokio::task_local! {
    static HANDLE: AbortHandle;
}

/// Runs what carries answers, until its end or until it is cut.
pub(super) async fn cuttable(carrier: impl Future<Output = ()>) {
    let (handle, registration) = AbortHandle::new_pair();
    // An error says that it was cut.
    _ = HANDLE.scope(handle, Abortable::new(carrier, registration)).await;
}

/// Cuts what this is called in; `None` outside.
pub(crate) fn handle() -> Option<AbortHandle> {
    HANDLE.try_with(Clone::clone).ok()
}
