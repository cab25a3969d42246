//! One poll for all containers of a cluster.
