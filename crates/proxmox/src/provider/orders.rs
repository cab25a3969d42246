//! Which orders are under way: at most one per container, joined by whoever wants the same.
//!
//! Proxmox queues a second order for a container behind the first one's lock, and lets it fail after
//! 10 s or, for a start, take 12 s. Only a kill may join a shutdown, which it overrules.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use drowse_provider::{Deadline, Error};
use tokio::sync::{Notify, watch};

use super::goal::Goal;

/// How an order ended; nothing while it is under way.
type Outcome = Option<Result<(), Error>>;

/// The orders of one cluster that this process gave and has not seen the end of. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders(Arc<Mutex<HashMap<u32, Vec<Arc<OpenOrder>>>>>);

/// An order under way, as those see it who wait for it.
#[derive(Debug)]
pub(super) struct OpenOrder {
    goal: Goal,
    outcome: watch::Receiver<Outcome>,
    waits_out: Mutex<Option<Error>>,
    is_overruling: AtomicBool,
    /// Until when each of those waits who wait for it now.
    waiters: Mutex<Vec<Deadline>>,
    /// The last of them has gone.
    deserted: Notify,
}

/// One who waits for an order, until it is dropped.
#[derive(Debug)]
pub(super) struct Waiter {
    order: Arc<OpenOrder>,
    deadline: Deadline,
}

/// The right to carry an order out. When it is dropped, nobody waits for it any more.
#[derive(Debug)]
pub(super) struct Turn {
    orders: Orders,
    vmid: u32,
    order: Arc<OpenOrder>,
    outcome: watch::Sender<Outcome>,
    /// The shutdown that this kill came upon.
    pub(super) came_upon: Option<Arc<OpenOrder>>,
}

/// What to do for a goal.
#[derive(Debug)]
pub(super) enum Entry {
    /// Nothing is in the way: carry it out, and wait for it.
    Begin(Turn, Waiter),
    /// It is under way: wait for it.
    Join(Waiter),
    /// Something else is: wait for its end, and ask again.
    After(Arc<OpenOrder>),
}

impl Orders {
    /// `deadline`: until when whoever asks waits for it.
    pub(super) fn enter(&self, vmid: u32, goal: Goal, deadline: Deadline) -> Entry {
        let mut open = self.open();
        let of_container = open.entry(vmid).or_default();
        let came_upon = match of_container.last() {
            None => None,
            Some(last) => match (last.goal, goal) {
                (Goal::Start, Goal::Start)
                | (Goal::Shutdown { .. } | Goal::Kill, Goal::Shutdown { .. })
                | (Goal::Kill, Goal::Kill) => return Entry::Join(last.join(deadline)),
                (Goal::Shutdown { .. }, Goal::Kill) => Some(Arc::clone(last)),
                (Goal::Start, _) | (_, Goal::Start) => return Entry::After(Arc::clone(last)),
            },
        };
        let (outcome, told) = watch::channel(None);
        let order = Arc::new(OpenOrder {
            goal,
            outcome: told,
            waits_out: Mutex::default(),
            is_overruling: AtomicBool::new(false),
            waiters: Mutex::default(),
            deserted: Notify::new(),
        });
        of_container.push(Arc::clone(&order));
        let waiter = order.join(deadline);
        Entry::Begin(Turn { orders: self.clone(), vmid, order, outcome, came_upon }, waiter)
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u32, Vec<Arc<OpenOrder>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenOrder {
    fn join(self: &Arc<Self>, deadline: Deadline) -> Waiter {
        self.waiters().push(deadline);
        Waiter { order: Arc::clone(self), deadline }
    }

    fn waiters(&self) -> MutexGuard<'_, Vec<Deadline>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The latest deadline of those who wait for it now.
    fn latest_deadline(&self) -> Option<Deadline> {
        self.waiters().iter().copied().max_by_key(|deadline| deadline.at())
    }

    /// How it ended; `None` if nobody carries it out any more. Cancel safe.
    pub(super) async fn ended(&self) -> Outcome {
        let mut outcome = self.outcome.clone();
        outcome.wait_for(Option::is_some).await.ok()?.clone()
    }

    pub(super) fn is_open(&self) -> bool {
        self.outcome.borrow().is_none() && self.outcome.has_changed().is_ok()
    }

    /// What it waits out at this moment: why it is not done yet.
    pub(super) fn waits_out(&self) -> Option<Error> {
        self.waits_out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Deref for Waiter {
    type Target = OpenOrder;

    fn deref(&self) -> &OpenOrder {
        &self.order
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiters = self.order.waiters();
        if let Some(own) = waiters.iter().position(|deadline| *deadline == self.deadline) {
            waiters.swap_remove(own);
        }
        if waiters.is_empty() {
            self.order.deserted.notify_one();
        }
    }
}

impl Turn {
    pub(super) fn order(&self) -> &Arc<OpenOrder> {
        &self.order
    }

    /// The latest deadline of those who wait for it now.
    pub(super) fn latest_deadline(&self) -> Option<Deadline> {
        self.order.latest_deadline()
    }

    /// Until when it is wanted. If it is not any more it has left: nobody can join it between the
    /// question and its end.
    pub(super) fn wanted_until(&self) -> Option<Deadline> {
        let mut open = self.orders.open();
        let latest = self.order.latest_deadline().filter(|latest| !latest.has_passed());
        if latest.is_none() {
            self.leave(&mut open);
        }
        latest
    }

    /// Waits until nobody waits for it any more. Cancel safe.
    pub(super) async fn deserted(&self) {
        while !self.order.waiters().is_empty() {
            self.order.deserted.notified().await;
        }
    }

    /// Says why it is not done yet, for those whose deadline passes meanwhile.
    pub(super) fn wait_out(&self, error: Error) {
        *self.order.waits_out.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Says that the shutdown which this kill came upon is being ended by it.
    pub(super) fn overrule(&self) {
        self.order.is_overruling.store(true, Ordering::Relaxed);
    }

    /// The kill that overrules this shutdown, if one does.
    pub(super) fn overruled_by(&self) -> Option<Arc<OpenOrder>> {
        let open = self.orders.open();
        let last = open.get(&self.vmid)?.last()?;
        let is_other = !Arc::ptr_eq(last, &self.order);
        (is_other && last.is_overruling.load(Ordering::Relaxed)).then(|| Arc::clone(last))
    }

    /// It ended so. Whoever asks for the same from now on gets a new order.
    pub(super) fn end(self, outcome: Result<(), Error>) {
        self.leave(&mut self.orders.open());
        // Without anybody who waits there is nobody to tell.
        self.outcome.send_replace(Some(outcome));
    }

    fn leave(&self, open: &mut HashMap<u32, Vec<Arc<OpenOrder>>>) {
        if let Some(of_container) = open.get_mut(&self.vmid) {
            of_container.retain(|order| !Arc::ptr_eq(order, &self.order));
            if of_container.is_empty() {
                open.remove(&self.vmid);
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.leave(&mut self.orders.open());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use drowse_provider::{Action, ErrorKind};
    use futures::FutureExt as _;

    use super::*;

    const SHUTDOWN: Goal = Goal::Shutdown { timeout: Duration::from_secs(1) };

    fn soon() -> Deadline {
        Deadline::after(Duration::from_mins(1))
    }

    fn begin(orders: &Orders, goal: Goal) -> Turn {
        match orders.enter(101, goal, soon()) {
            Entry::Begin(turn, _) => turn,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_wanted_until_the_latest_deadline_of_those_who_wait_now() {
        let orders = Orders::default();
        let first = soon();
        let Entry::Begin(turn, _first) = orders.enter(101, Goal::Start, first) else { panic!() };
        let later = Deadline::after(Duration::from_mins(9));
        let Entry::Join(second) = orders.enter(101, Goal::Start, later) else { panic!() };
        assert_eq!(turn.wanted_until(), Some(later));
        drop(second);
        assert_eq!(turn.wanted_until(), Some(first));
    }

    #[test]
    fn what_is_not_wanted_any_more_is_not_joined() {
        for deadline in [soon(), Deadline::after(Duration::ZERO)] {
            let orders = Orders::default();
            let Entry::Begin(turn, first) = orders.enter(101, Goal::Start, deadline) else {
                panic!()
            };
            if !deadline.has_passed() {
                assert!(turn.deserted().now_or_never().is_none());
                drop(first);
                assert!(turn.deserted().now_or_never().is_some());
            }
            assert_eq!(turn.wanted_until(), None);
            assert!(matches!(orders.enter(101, Goal::Start, soon()), Entry::Begin(..)));
        }
    }

    #[test]
    fn one_order_per_container_and_a_kill_upon_a_shutdown() {
        let joins = |under_way: Goal, wanted: Goal| {
            let orders = Orders::default();
            let first = begin(&orders, under_way);
            match orders.enter(101, wanted, soon()) {
                Entry::Join(order) if Arc::ptr_eq(&order.order, first.order()) => "joins",
                Entry::After(order) if Arc::ptr_eq(&order, first.order()) => "waits",
                Entry::Begin(turn, _) if turn.came_upon.is_some() => "overrules",
                other => panic!("{other:?}"),
            }
        };
        let longer = Goal::Shutdown { timeout: Duration::from_secs(9) };
        assert_eq!(joins(Goal::Start, Goal::Start), "joins");
        assert_eq!(joins(Goal::Start, SHUTDOWN), "waits");
        assert_eq!(joins(Goal::Start, Goal::Kill), "waits");
        assert_eq!(joins(SHUTDOWN, Goal::Start), "waits");
        assert_eq!(joins(SHUTDOWN, longer), "joins");
        assert_eq!(joins(SHUTDOWN, Goal::Kill), "overrules");
        assert_eq!(joins(Goal::Kill, Goal::Start), "waits");
        assert_eq!(joins(Goal::Kill, SHUTDOWN), "joins");
        assert_eq!(joins(Goal::Kill, Goal::Kill), "joins");
    }

    #[test]
    fn containers_do_not_wait_for_each_other() {
        let orders = Orders::default();
        let _first = begin(&orders, Goal::Start);
        assert!(matches!(orders.enter(102, SHUTDOWN, soon()), Entry::Begin(..)));
    }

    #[test]
    fn a_shutdown_is_still_joined_after_a_kill_upon_it_came_to_nothing() {
        let orders = Orders::default();
        let shutdown = begin(&orders, SHUTDOWN);
        let kill = begin(&orders, Goal::Kill);
        assert!(shutdown.overruled_by().is_none());
        kill.overrule();
        let overruling = shutdown.overruled_by().unwrap();
        assert!(Arc::ptr_eq(&overruling, kill.order()));
        drop(kill);
        match orders.enter(101, SHUTDOWN, soon()) {
            Entry::Join(order) => assert!(Arc::ptr_eq(&order.order, shutdown.order())),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_who_wait_are_told_and_the_next_begins_anew() {
        let orders = Orders::default();
        let turn = begin(&orders, Goal::Start);
        let (one, other) = (Arc::clone(turn.order()), Arc::clone(turn.order()));
        assert!(one.ended().now_or_never().is_none());
        turn.end(Err(Error::new("pve", Action::Start, ErrorKind::Closed)));
        for order in [one, other] {
            let told = order.ended().now_or_never().unwrap().unwrap();
            assert!(matches!(told.unwrap_err().kind(), ErrorKind::Closed));
        }
        drop(begin(&orders, SHUTDOWN));
        assert!(orders.open().is_empty());
    }

    #[test]
    fn nobody_waits_for_an_order_that_nobody_carries_out() {
        let orders = Orders::default();
        let turn = begin(&orders, Goal::Start);
        let order = Arc::clone(turn.order());
        drop(turn);
        assert!(order.ended().now_or_never().unwrap().is_none());
    }
}
