//! An engine read once: what `check` looks at.

use std::{collections::BTreeMap, sync::Arc};

use drowse_provider::{Deadline, Error, ErrorKind, Reference, Summary};
use futures::StreamExt as _;

use super::{
    LIST_TIMEOUT, LIST_TIMEOUT_WITH_NOTES, READ_TIMEOUT, READS_AT_ONCE,
    concern::{Census, Wanted, crowds},
};
use crate::{
    config::Problem,
    engines::Configured,
    output::chain,
    plan::{EngineView, UnreadContainer},
    whereabouts::Whereabouts,
};

/// Reads an engine's part of the inventory once: what `check` looks at. Of a cluster, a container that
/// cannot be read (its node is away, a right lacks) is left unread. Of a cluster that is another engine
/// already, nothing is read.
///
/// # Errors
/// What the engine said.
pub(crate) async fn read_once(
    configured: &Configured,
    whereabouts: &Whereabouts,
) -> Result<EngineView, Error> {
    let Configured { engine, dialect, .. } = configured;
    if let Some(claim) = &configured.claim
        && let Some(why) = claim.make(Deadline::after(READ_TIMEOUT)).await?
    {
        return Ok(EngineView { is_refused: true, trouble: Some(why), ..configured.unread() });
    }
    let in_file = configured.in_file.borrow().clone();
    let wanted = Wanted { in_file, dialect: dialect.clone() };
    let list_timeout = if wanted.has_notes() { LIST_TIMEOUT_WITH_NOTES } else { LIST_TIMEOUT };
    let list = engine.list(Deadline::after(list_timeout)).await?;
    let census = Census::of(&wanted, &list);
    let crowds = crowds(&list, &census, whereabouts);
    let here = whereabouts.seen_by(engine.as_ref(), Deadline::after(READ_TIMEOUT)).await?;
    let relevant = list.into_iter().filter(|one| census.concerns_us(&one.id));
    let reads = relevant.map(|one| async move {
        let read = async {
            let provider = engine.provider(&Reference::Id(one.id.clone()))?;
            // Of its own: the last of thousands has waited for all others.
            provider.inspect(Deadline::after(READ_TIMEOUT)).await
        };
        let read = read.await;
        (one, read)
    });
    let reads: Vec<_> = futures::stream::iter(reads).buffered(READS_AT_ONCE).collect().await;
    let (mut containers, mut unread) = (Vec::new(), BTreeMap::new());
    for (Summary { id, name, .. }, read) in reads {
        match read {
            Ok(details) => containers.push(Arc::new(details)),
            // Gone since it was listed.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {}
            Err(error) if wanted.has_notes() => {
                let subject = format!("container `{name}` on engine `{}`", engine.name());
                let why = format!("it cannot be read: {}", chain(&error));
                let problem = Problem::error(why).about(subject);
                let needs = census.needs_of(&id);
                unread.insert(id, UnreadContainer { name, problem, needs });
            }
            Err(error) => return Err(error),
        }
    }
    let crowds = Arc::new(crowds);
    let machine = engine.machine();
    let containers = Some(containers);
    Ok(EngineView { here, crowds, machine, containers, unread, ..configured.unread() })
}
