//! Local processes behind drowse's lifecycle contract.
//!
//! A [`ProcessEngine`] is an embedded [`Engine`](drowse_provider::Engine): it needs no daemon. A
//! [`ProcessSpec`] defines a container of it, which is one program with whatever it starts: its
//! *process group*. They are started, stopped, frozen and watched as containers are, and they end
//! with their engine, also if the program that embeds it is killed.
//!
//! How it works, in four parts:
//!
//! - **one thread per engine** (`engine`) starts every process and reaps it. The kernel's
//!   parent-death signal fires when the *thread* that started a child ends, so that thread must
//!   live as long as the engine;
//! - **a pidfd per run** (`run`, `supervise`) tells its end, and SIGCHLD that it was stopped or
//!   continued: nothing is polled;
//! - **the leader stays unreaped until its group is gone**, so that neither its pid nor its group's
//!   number can meanwhile belong to a stranger;
//! - **a guard process** (`guard`), one per engine, kills what is left when the engine's process
//!   dies without a word.
//!
//! Linux only, from 5.4 on (pidfd).

mod engine;
mod group;
mod guard;
mod orders;
mod output;
mod pidfd;
mod provider;
mod run;
mod spawn;
mod spec;
mod supervise;
mod world;

pub use engine::ProcessEngine;
pub use provider::ProcessProvider;
pub use spec::{INHERITED, Output, ProcessSpec};

/// The README's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
