//! What is logged of an order.

use std::{cell::RefCell, io, sync::Once};

use tracing::Level;

use super::*;

thread_local! {
    /// Of the test on this thread: its runtime has no other.
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Called before anything is logged in any test: what is logged while nobody listens may never be
/// listened to.
pub(super) fn listen() {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let subscriber = tracing_subscriber::fmt()
            .without_time()
            .with_ansi(false)
            .with_target(false)
            .with_max_level(Level::DEBUG)
            .with_writer(|| Log)
            .finish();
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

fn logged() -> String {
    String::from_utf8(LOGGED.take()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_order_and_its_end_are_logged_and_warnings_are_told() {
    let task = Task::ok("vzstart").ending_as(TaskOutcome::Warnings(1)).then(runs);
    World::stopped().answers([Answer::Task(task)]).carry_out(Goal::Start).await.unwrap();
    insta::assert_snapshot!(logged(), @r#"
        DEBUG order given engine="pve" container=web vmid=201 node=pve1 action=start order=Start elapsed=0ns task=UPID:pve1:00000000:0005A638:6B046D02:vzstart:201:root@pam!test:
        DEBUG the order's task ended engine="pve" container=web vmid=201 action=start elapsed=1s task=UPID:pve1:00000000:0005A638:6B046D02:vzstart:201:root@pam!test: outcome=Warnings(1)
         WARN Proxmox carried the order out, with warnings engine="pve" container=web vmid=201 action=start task=UPID:pve1:00000000:0005A638:6B046D02:vzstart:201:root@pam!test: log="WARN: old systemd; TASK WARNINGS: 1"
        DEBUG the order ended engine="pve" container=web vmid=201 action=start elapsed=1s
        "#);
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_refused_is_logged_with_the_reason() {
    let world = World::running().answers([failing(broken(false))]);
    world.carry_out(SHUTDOWN).await.unwrap_err();
    insta::assert_snapshot!(logged(), @r#"
        DEBUG order given engine="pve" container=web vmid=201 node=pve1 action=stop order=Shutdown { timeout: 60s } elapsed=0ns error=`https://pve1:8006` cannot be reached: the connection broke
        DEBUG the order ended engine="pve" container=web vmid=201 action=stop elapsed=0ns error=stop of container `web` on engine `pve`: unavailable: `https://pve1:8006` cannot be reached: the connection broke error.sources=[`https://pve1:8006` cannot be reached: the connection broke]
        "#);
}
