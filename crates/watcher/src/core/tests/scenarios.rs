//! One situation after the other, as the design tells them. Rows are those of the list of what must
//! not happen.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use drowse_provider::{
    Action, Actor, ContainerStatus, Details, Error, ErrorKind, Event, EventAction, Observation,
    Owner, RunId, Signal, StopOptions, Unusable, WatchItem,
};
use tokio::time::Instant;

use crate::{
    Force, LeaseKind, NotReady, PhaseName, Policy, SleepError, SleepMethod, WakeError,
    core::{AskId, Core, Effect, EffectId, Input, Moment, Order},
    shared::Shared,
};

mod addresses;
mod bench;
mod circuit;
mod deepen;
mod engine;
mod gates;
mod health;
mod hold;
mod jobs;
mod locks;
mod mates;
mod needs;
mod others;
mod rights;
mod rounds;
mod stops;
mod turns;
mod upstream;

use bench::*;
