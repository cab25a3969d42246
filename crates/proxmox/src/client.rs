//! The API of one cluster.

mod error;
mod types;

pub use error::{Cause, ClientError};
pub use types::{
    ContainerConfig, CurrentStatus, Interface, NetworkInterface, Node, Resource, TaskOutcome,
    TaskStatus, TaskSummary, Version,
};

/// A client of one cluster's API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {}
