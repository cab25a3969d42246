//! What carries an answer can be cut by whoever has to do with it: a connection of HTTP/1.1, or one stream
//! of HTTP/2. A body cannot end itself while its client takes nothing: nobody asks it for anything then.

use futures::future::{AbortHandle, Abortable, FutureExt as _};

tokio::task_local! {
    static HANDLE: AbortHandle;
}

/// Runs what carries answers, until its end or until it is cut. (An `async fn` would have room for it twice.)
pub(super) fn cuttable(carrier: impl Future<Output = ()>) -> impl Future<Output = ()> {
    let (handle, registration) = AbortHandle::new_pair();
    // An error says that it was cut.
    HANDLE.scope(handle, Abortable::new(carrier, registration)).map(drop)
}

/// Cuts what this is called in; `None` outside.
pub(crate) fn handle() -> Option<AbortHandle> {
    HANDLE.try_with(Clone::clone).ok()
}
