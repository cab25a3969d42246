//! Tasks: what the API does after it has answered.

use std::time::Duration;

use drowse_provider::Deadline;

use super::{
    Client, ClientError, TaskOutcome, TaskStatus, TaskSummary,
    call::Call,
    encoded, garbled,
    lanes::Lane,
    wire::{Envelope, LogRow, TaskRow, TaskStatusRow},
};
use crate::Upid;

/// How long after the first look at a task the second follows; each further one half as late again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest time between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How many lines of a failed task's log are told.
const LOG_LINES: usize = 20;

/// How long a failure is held up for its log.
const LOG_TIMEOUT: Duration = Duration::from_secs(5);

/// How many tasks of one container are looked at: the newest ones.
const TASKS: &str = "50";

impl Client {
    /// `GET /nodes/{node}/tasks/{upid}/status`, of the node that the task names. A user sees his
    /// own tasks and his tokens', a token its own; others need `Sys.Audit` on the node.
    ///
    /// # Errors
    /// As of every call: [`ClientError`]. A task that is unknown is `Refused` with status 400.
    pub async fn task_status(
        &self,
        upid: &Upid,
        deadline: Deadline,
    ) -> Result<TaskStatus, ClientError> {
        let call = Call::get(task(upid, "status")).of_node(upid.node()).in_lane(Lane::Urgent);
        let answer: Envelope<TaskStatusRow> = self.shared.call(&call, deadline).await?;
        answer.data.read().ok_or_else(|| garbled("a task without a status"))
    }

    /// `GET /nodes/{node}/tasks/{upid}/log`: its last lines, of those that are written.
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn task_log(
        &self,
        upid: &Upid,
        last: usize,
        deadline: Deadline,
    ) -> Result<Vec<String>, ClientError> {
        let last = last.max(1);
        let (mut rows, total) = self.log_part(upid, 0, last, deadline).await?;
        if total > last {
            rows = self.log_part(upid, total - last, last, deadline).await?.0;
        }
        Ok(rows.into_iter().map(LogRow::read).collect())
    }

    async fn log_part(
        &self,
        upid: &Upid,
        start: usize,
        limit: usize,
        deadline: Deadline,
    ) -> Result<(Vec<LogRow>, usize), ClientError> {
        let path = format!("{}?start={start}&limit={limit}", task(upid, "log"));
        let call = Call::get(path).of_node(upid.node()).in_lane(Lane::Urgent);
        let answer: Envelope<Vec<LogRow>> = self.shared.call(&call, deadline).await?;
        let total = answer.total.count().and_then(|total| usize::try_from(total).ok());
        Ok((answer.data, total.unwrap_or(0)))
    }

    /// `GET /nodes/{node}/tasks`: the last tasks about a container on this node, the newest first;
    /// with `only_active` those that run. What the credential may not see is not in it.
    ///
    /// # Errors
    /// As of every call: [`ClientError`].
    pub async fn tasks(
        &self,
        node: &str,
        vmid: u32,
        only_active: bool,
        deadline: Deadline,
    ) -> Result<Vec<TaskSummary>, ClientError> {
        let source = if only_active { "active" } else { "all" };
        let path =
            format!("/nodes/{}/tasks?source={source}&vmid={vmid}&limit={TASKS}", encoded(node));
        let call = Call::get(path).of_node(node).in_lane(Lane::Urgent);
        let answer: Envelope<Vec<TaskRow>> = self.shared.call(&call, deadline).await?;
        Ok(answer.data.into_iter().filter_map(TaskRow::read).collect())
    }

    /// Waits until a task has ended: [`TaskOutcome::Ok`] or [`TaskOutcome::Warnings`], else
    /// [`ClientError::TaskFailed`] with the last lines of its log. What cannot be read for now is
    /// waited out. Dropping the future leaves the task alone.
    ///
    /// # Errors
    /// [`ClientError::TaskFailed`]; [`ClientError::TimedOut`] while it has not ended; else what keeps
    /// it from being read: a right, the credential, the end of the client.
    pub async fn finished(
        &self,
        upid: &Upid,
        deadline: Deadline,
    ) -> Result<TaskOutcome, ClientError> {
        let mut pause = FIRST_PAUSE;
        let mut last = None;
        loop {
            match self.task_status(upid, deadline).await {
                Ok(TaskStatus::Running) => last = None,
                Ok(TaskStatus::Ended(TaskOutcome::Failed(exit))) => {
                    return Err(self.failed(upid, exit, deadline).await);
                }
                Ok(TaskStatus::Ended(outcome)) => return Ok(outcome),
                Err(
                    error @ (ClientError::Unreachable { .. }
                    | ClientError::NodeUnreachable { .. }
                    | ClientError::Garbled { .. }),
                ) => last = Some(Box::new(error)),
                Err(ClientError::TimedOut { last: waited, .. }) => {
                    last = waited.or(last);
                    return Err(unfinished(deadline, last));
                }
                Err(error) => return Err(error),
            }
            if deadline.remaining() <= pause {
                tokio::time::sleep_until(deadline.at()).await;
                return Err(unfinished(deadline, last));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    async fn failed(&self, upid: &Upid, exit: String, deadline: Deadline) -> ClientError {
        let patience = Deadline::after(LOG_TIMEOUT.min(deadline.remaining()));
        // Without it, what is known is told all the same.
        let log = self.task_log(upid, LOG_LINES, patience).await.unwrap_or_default();
        ClientError::TaskFailed { upid: upid.clone(), exit, log }
    }
}

/// The order was taken, and how it ended is not known.
fn unfinished(deadline: Deadline, last: Option<Box<ClientError>>) -> ClientError {
    ClientError::TimedOut { after: deadline.duration(), last, was_sent: true }
}

fn task(upid: &Upid, what: &str) -> String {
    format!("/nodes/{}/tasks/{}/{what}", encoded(upid.node()), encoded(&upid.to_string()))
}
