//! One Docker or Podman daemon.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use drowse_provider::{
    Action, Capabilities, Deadline, Engine, EngineWatch, Error, ErrorKind, Provider, Reach,
    Reference, Summary,
};

use crate::{
    DockerOptions, Location,
    client::{Call, Client},
    provider::DockerProvider,
    target::Target,
    watch::{AllWatch, Registry, summary_of},
};

/// One Docker or Podman daemon: one client and one stream of events for any number of providers
/// and watches.
///
/// Cheap to clone. It closes when the last clone, provider and watch is dropped, or by
/// [`close`](Engine::close).
#[derive(Clone)]
pub struct DockerEngine {
    handle: Arc<Handle>,
}

/// What keeps an engine open.
pub(crate) struct Handle {
    pub(crate) client: Arc<Client>,
    pub(crate) registry: Arc<Registry>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shut();
    }
}

impl Handle {
    fn shut(&self) {
        self.client.closing.cancel();
        self.client.tasks.close();
        self.registry.close();
    }
}

impl DockerEngine {
    /// A handle of the engine at a [location](Location), which may be just its URL. `name` is what
    /// the engine is called in errors and logs.
    ///
    /// Does no I/O: the engine may be down, and files that are named need not be there yet.
    ///
    /// # Errors
    /// `Unsupported`, with what to write instead, if the URL cannot be understood, does not go with
    /// the files that are named, or needs a feature that is not built in.
    pub fn connect(
        name: impl Into<String>,
        location: impl Into<Location>,
        options: DockerOptions,
    ) -> Result<Self, Error> {
        let name = name.into();
        match Client::new(name.clone(), &location.into(), options) {
            Ok(client) => {
                let handle = Handle { client: Arc::new(client), registry: Arc::default() };
                Ok(Self { handle: Arc::new(handle) })
            }
            Err(why) => Err(Error::new(name, Action::Connect, ErrorKind::Unsupported { why })),
        }
    }

    /// The engine's URL, with nothing left to a default but what only ssh itself knows.
    pub fn url(&self) -> String {
        self.handle.client.transport.endpoint().to_string()
    }
}

impl fmt::Debug for DockerEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DockerEngine")
            .field("name", &self.handle.client.name)
            .field("endpoint", &self.handle.client.transport.endpoint())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Engine for DockerEngine {
    fn name(&self) -> &str {
        &self.handle.client.name
    }

    fn capabilities(&self) -> Capabilities {
        self.handle.client.facts.capabilities()
    }

    fn reach(&self) -> Reach {
        let client = &self.handle.client;
        client.facts.reach(client.transport.endpoint(), client.transport.host())
    }

    fn machine(&self) -> Option<String> {
        self.handle.client.facts.machine().map(str::to_owned)
    }

    async fn list(&self, deadline: Deadline) -> Result<Vec<Summary>, Error> {
        let client = &self.handle.client;
        let call = Call::about_engine(Action::List, deadline);
        let (lines, ()) = tokio::join!(client.list(call), client.learn_reach(deadline));
        Ok(lines?.iter().map(summary_of).collect())
    }

    fn provider(&self, reference: &Reference) -> Result<Arc<dyn Provider>, Error> {
        let refused = |kind| {
            let error = Error::new(self.name(), Action::Connect, kind);
            Err(error.with_container(reference.to_string()))
        };
        if self.handle.client.closing.is_cancelled() {
            return refused(ErrorKind::Closed);
        }
        match Target::of(reference) {
            Some(target) => Ok(Arc::new(DockerProvider::new(
                Arc::clone(&self.handle),
                reference.clone(),
                target,
            ))),
            None => refused(ErrorKind::Unsupported {
                why: "a container on a Docker engine is named by its id, its name, or its compose project \
                      and service"
                    .to_owned(),
            }),
        }
    }

    /// Must be called within a tokio runtime.
    fn events(&self) -> EngineWatch {
        Box::pin(AllWatch::begin(Arc::clone(&self.handle)))
    }

    async fn close(&self) {
        self.handle.shut();
        self.handle.client.tasks.wait().await;
    }
}
