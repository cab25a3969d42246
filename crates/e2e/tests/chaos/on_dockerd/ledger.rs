//! All that clients and the engine have seen, and whether it was right. Every moment is of one clock.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::town::IDLE;

/// How long a request may take to arrive.
const ON_ITS_WAY: Duration = Duration::from_millis(500);

/// One use of a container by a client.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) which: usize,
    pub(super) sent: Instant,
    pub(super) ended: Instant,
    /// From when and until when it was certainly in use. Of a short one only that lies in between: a
    /// lease was held after the second and before the first.
    pub(super) held: (Instant, Instant),
    pub(super) failure: Option<String>,
}

/// Something that is none of drowse's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// drowse was killed, and its connections with it, and another began.
    Killed,
    /// The engine was away: what sleeps cannot be woken. What is ready must be served on.
    Engine,
    /// A user did something with this container.
    Of(usize),
}

/// An order of drowse's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) which: usize,
    pub(super) is_start: bool,
    pub(super) at: Instant,
}

/// A container, and which other it needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plot {
    pub(super) name: &'static str,
    pub(super) needs: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    what: Trouble,
    from: Instant,
    to: Instant,
}

impl Span {
    fn meets(&self, from: Instant, to: Instant) -> bool {
        self.from <= to && from <= self.to
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default, Clone)]
struct Entries {
    uses: Vec<Use>,
    troubles: Vec<Span>,
    /// When each drowse began, or a moment before.
    lives: Vec<Instant>,
}

#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) served: usize,
    pub(super) summary: String,
    pub(super) wrongs: Vec<String>,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap()
    }

    pub(super) fn used(&self, one: Use) {
        self.entries().uses.push(one);
    }

    pub(super) fn note(&self, what: Trouble, from: Instant, to: Instant) {
        self.entries().troubles.push(Span { what, from, to });
    }

    pub(super) fn begins(&self, at: Instant) {
        self.entries().lives.push(at);
    }

    /// Everything is over: what was wrong of it?
    pub(super) fn judge(&self, orders: &[Order], plots: &[Plot]) -> Verdict {
        let entries = self.entries().clone();
        let served: Vec<_> = entries.uses.iter().filter(|one| one.failure.is_none()).collect();
        let mut wrongs = Vec::new();
        let (mut by_kill, mut by_users, mut by_engine) = (0, 0, 0);
        for one in entries.uses.iter().filter(|one| one.failure.is_some()) {
            match entries.excuse(one, plots) {
                Some(Trouble::Killed) => by_kill += 1,
                Some(Trouble::Of(_)) => by_users += 1,
                Some(Trouble::Engine) => by_engine += 1,
                None => wrongs.push(format!("for no reason: {}", entries.tell(one, plots))),
            }
        }
        for order in orders.iter().filter(|order| !order.is_start) {
            wrongs.extend(entries.wrong_of_sleep(order, plots));
        }
        wrongs.extend(entries.wrongs_of_starts(orders, plots));
        let kinds = |is: fn(&Trouble) -> bool| {
            entries.troubles.iter().filter(|span| is(&span.what)).count()
        };
        let starts = orders.iter().filter(|order| order.is_start).count();
        let summary = format!(
            "{} requests served; cut by a kill of drowse {by_kill}, by users {by_users}, while the \
             engine was away {by_engine}; {} kills, {} restarts of the engine, {} deeds of users; {} \
             starts and {} sleeps ordered",
            served.len(),
            kinds(|what| *what == Trouble::Killed),
            kinds(|what| *what == Trouble::Engine),
            kinds(|what| matches!(what, Trouble::Of(_))),
            starts,
            orders.len() - starts,
        );
        Verdict { served: served.len(), summary, wrongs }
    }
}

impl Entries {
    /// What it may have failed of, that is no fault of drowse's.
    fn excuse(&self, one: &Use, plots: &[Plot]) -> Option<Trouble> {
        let is_of = |which: usize| which == one.which || plots[one.which].needs == Some(which);
        let may_excuse = |span: &&Span| match span.what {
            Trouble::Killed => true,
            // One that is ready is served on.
            Trouble::Engine => !self.was_ready(one),
            Trouble::Of(which) => is_of(which),
        };
        let spans = self.troubles.iter().filter(may_excuse);
        spans.filter(|span| span.meets(one.sent, one.ended)).map(|span| span.what).next()
    }

    /// Somebody had been served by it so shortly before that it could not be asleep.
    fn was_ready(&self, one: &Use) -> bool {
        let was_served = |other: &&Use| {
            other.which == one.which
                && other.failure.is_none()
                && other.ended <= one.sent
                && one.sent + ON_ITS_WAY < other.held.1 + IDLE
        };
        let last = self.uses.iter().filter(was_served).map(|other| other.ended).max();
        last.is_some_and(|last| {
            let between = |span: &&Span| span.meets(last, one.ended);
            !self.troubles.iter().filter(between).any(|span| span.what != Trouble::Engine)
        })
    }

    /// Whether it was in use, or had been within its idle time, or drowse had begun within it.
    fn wrong_of_sleep(&self, order: &Order, plots: &[Plot]) -> Option<String> {
        let name = plots[order.which].name;
        let at = self.since_start(order.at);
        let life = self.lives.iter().rev().find(|began| **began <= order.at)?;
        let lived = order.at - *life;
        if lived < IDLE {
            return Some(format!(
                "{name} was put to sleep at {at:?}, {lived:?} after drowse began"
            ));
        }
        let uses = |one: &&Use| {
            one.failure.is_none()
                && one.held.0 < order.at
                && order.at < one.held.1 + IDLE
                && self.keeps_awake(one, order, plots)
        };
        let one = self.uses.iter().find(uses)?;
        Some(format!("{name} was put to sleep at {at:?}, in spite of {}", self.tell(one, plots)))
    }

    fn keeps_awake(&self, one: &Use, order: &Order, plots: &[Plot]) -> bool {
        if one.which == order.which {
            return true;
        }
        // What is needed sleeps as soon as its dependent does not run, whoever ended that.
        let was_ended =
            |span: &&Span| span.what == Trouble::Of(one.which) && span.meets(one.sent, order.at);
        plots[one.which].needs == Some(order.which)
            && !self.troubles.iter().any(|span| was_ended(&span))
    }

    /// Within one life of drowse nothing is started again that has not been ended in between.
    fn wrongs_of_starts(&self, orders: &[Order], plots: &[Plot]) -> Vec<String> {
        let mut wrongs = Vec::new();
        for (nth, second) in orders.iter().enumerate().filter(|(_, order)| order.is_start) {
            let before = orders[..nth].iter().rev().find(|order| order.which == second.which);
            let Some(first) = before.filter(|order| order.is_start) else { continue };
            let may_explain = |span: &&Span| match span.what {
                Trouble::Killed | Trouble::Engine => true,
                Trouble::Of(which) => which == second.which,
            };
            let mut spans = self.troubles.iter().filter(may_explain);
            if !spans.any(|span| span.meets(first.at, second.at)) {
                let (name, at) = (plots[second.which].name, self.since_start(second.at));
                wrongs.push(format!("{name} was started again at {at:?}, though it ran"));
            }
        }
        wrongs
    }

    fn tell(&self, one: &Use, plots: &[Plot]) -> String {
        let (name, failure) = (plots[one.which].name, one.failure.as_deref().unwrap_or("served"));
        let [sent, ended, held] = [one.sent, one.ended, one.held.1].map(|at| self.since_start(at));
        let near = self.troubles.iter().filter(|span| {
            span.meets(one.sent - Duration::from_secs(3), one.ended + Duration::from_secs(1))
        });
        let near: Vec<_> = near
            .map(|span| {
                let (from, to) = (self.since_start(span.from), self.since_start(span.to));
                format!("{:?} {from:?}..{to:?}", span.what)
            })
            .collect();
        format!("{name} {sent:?}..{ended:?}, in use until {held:?}: {failure} (near it: {near:?})")
    }

    fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.lives[0])
    }
}
