//! From running to ready.

use std::{net::IpAddr, sync::Arc, time::Duration};

use drowse_provider::{ContainerStatus, Details};

use crate::{NotReady, ReadyRun, readiness::Missing, sabotage::sabotaged};

use super::{Belief, Core, Effect, EffectId, Moment, Proven, Reason, doubt::Verdict};

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(50);
pub(super) const WHEN_NOBODY_WAITS: Duration = Duration::from_secs(1);
/// How often the details are read anew of a run whose address is not there yet: at a Proxmox node
/// that takes two calls and some 100 ms. A tenth of its age while somebody waits, within these.
const SHORTEST_FOR_ADDRESS: Duration = Duration::from_millis(300);
const LONGEST_FOR_ADDRESS: Duration = Duration::from_secs(5);
/// And of one that does not answer at the address that it has so far.
const OTHER_ADDRESS_WHILE_SOMEBODY_WAITS: Duration = Duration::from_secs(3);
const OTHER_ADDRESS_WHEN_NOBODY_WAITS: Duration = Duration::from_secs(30);
/// And of one whose own health check has not passed, in case its engine's word was missed.
const HEALTH_WHILE_SOMEBODY_WAITS: Duration = Duration::from_secs(3);
const HEALTH_WHEN_NOBODY_WAITS: Duration = Duration::from_mins(1);

impl Core {
    /// Something happened that may have made it ready.
    pub(super) fn probe_soon(&mut self, now: Moment) {
        if !self.outside.stopping {
            self.probing.next_at = now;
        }
    }

    /// Its own health check passes. Whoever waits for that looks at what is read of it.
    pub(super) fn is_healthy(&mut self, now: Moment) {
        if self.proven.is_none() && self.probing.missing == Missing::Health {
            self.doubt_belief();
        }
        self.probe_soon(now);
    }

    /// Whoever comes now should not wait for a probe that was planned while nobody did.
    pub(super) fn probe_within_interval(&mut self, now: Moment) {
        let soon = now + interval(now.since(self.probing.since));
        if !self.outside.stopping && self.probing.next_at > soon {
            self.probing.next_at = soon;
        }
    }

    /// The probe whose answer still matters.
    pub(crate) fn awaited_probe(&self) -> Option<EffectId> {
        self.probing.in_flight
    }

    pub(super) fn next_probe_at(&self) -> Moment {
        self.probing.next_at.max(self.probing.condemned.not_before)
    }

    /// Whether there is anything to find out, and anywhere to ask.
    pub(super) fn may_probe(&self) -> bool {
        self.is_in_question()
            && self.held.is_none()
            && self.probing.in_flight.is_none()
            && !matches!(self.probing.missing, Missing::Address | Missing::Health)
    }

    /// Whether it is to be found out whether it serves: it is not known to, or was reported not to.
    fn is_in_question(&self) -> bool {
        self.proven.is_none() || self.is_suspected()
    }

    /// Its engine is out of reach, and all that speaks against the run which was ready is a connection
    /// that it refused or dropped: then only itself can be asked. It is at no greater risk to be
    /// another by now than whatever serves on meanwhile.
    pub(super) fn answers_for_itself(&self) -> bool {
        self.lost.is_some()
            && self.order.is_none()
            && (self.probing.only_refused || self.is_suspected())
            && self.belief.is_running()
    }

    /// Looks again for what a probe missed, as often as somebody waits for it.
    pub(super) fn read_what_is_missing(&mut self, now: Moment) {
        if self.proven.is_some() || self.held.is_some() {
            return;
        }
        let pause = match (self.probing.missing, self.waiters.is_empty()) {
            (Missing::Nothing, _) => return,
            (Missing::Address, false) => {
                let age = now.since(self.probing.since);
                (age / 10).clamp(SHORTEST_FOR_ADDRESS, LONGEST_FOR_ADDRESS)
            }
            (Missing::Address, true) => LONGEST_FOR_ADDRESS,
            (Missing::OtherAddress, false) => OTHER_ADDRESS_WHILE_SOMEBODY_WAITS,
            (Missing::OtherAddress, true) => OTHER_ADDRESS_WHEN_NOBODY_WAITS,
            (Missing::Health, false) => HEALTH_WHILE_SOMEBODY_WAITS,
            (Missing::Health, true) => HEALTH_WHEN_NOBODY_WAITS,
        };
        self.recheck_within(now, pause);
    }

    /// The details were read anew, in the same run. What answered at an address that it has no more
    /// proves nothing, where that address may be a stranger's by now.
    pub(super) fn compare_addresses(&mut self, now: Moment, old: &Belief) {
        let (Belief::Seen(before), Belief::Seen(after)) = (old, &self.belief) else { return };
        // None at all is no news of where it is: its engine may not have been told in time.
        let is_gone = |address: IpAddr| !addresses(after).any(|other| other == address);
        let has_moved = self.probing.is_at_passing_address
            && addresses(after).next().is_some()
            && addresses(before).any(is_gone);
        let differs = !addresses(before).eq(addresses(after));
        if has_moved {
            self.shut(Reason::AddressGone);
        }
        let is_awaited = matches!(self.probing.missing, Missing::Address | Missing::Health);
        if self.is_in_question() && (differs || is_awaited) {
            self.probing.in_flight = None;
            self.probe_soon(now);
        }
        self.probing.missing = Missing::Nothing;
    }

    pub(super) fn probe_if_due(&mut self, now: Moment) {
        if !self.may_probe() || self.next_probe_at() > now {
            return;
        }
        let Belief::Seen(details) = &self.belief else { return };
        let details = Arc::clone(details);
        if sabotaged!(ReadyWithoutAProbe) {
            return self.become_ready(now, details);
        }
        let id = self.new_id();
        self.probing.in_flight = Some(id);
        self.probe_suspicion();
        let elapsed = now.since(self.probing.since);
        self.effects.push(Effect::Probe { id, details, elapsed });
    }

    pub(super) fn probe_done(&mut self, now: Moment, id: EffectId, result: Result<(), NotReady>) {
        if self.probing.in_flight.take_if(|in_flight| *in_flight == id).is_none() {
            return;
        }
        match (result, &self.belief) {
            (Ok(()), Belief::Seen(details))
                if details.observation.status == ContainerStatus::Running
                    && (self.truth_is_known() || self.answers_for_itself()) =>
            {
                let details = Arc::clone(details);
                if self.is_suspected() && self.is_still_there(&details) {
                    self.refute_reports(now);
                } else {
                    self.become_ready(now, details);
                }
            }
            // Something is in doubt: what answered may have been an earlier run.
            (Ok(()), _) => self.probe_soon(now),
            (Err(not_ready), _) => {
                if self.is_suspected() && !sabotaged!(ServeOnInDoubt) {
                    self.condemn(now);
                }
                if self.probing.verdict == Verdict::Awaited {
                    self.probing.verdict = Verdict::Unrefuted;
                }
                self.probing.missing = not_ready.missing();
                let reason = not_ready.to_string();
                if self.probing.last.as_deref() != Some(&reason) {
                    self.probing.last = Some(reason);
                }
                let pause = if self.waiters.is_empty() {
                    WHEN_NOBODY_WAITS
                } else {
                    interval(now.since(self.probing.since))
                };
                // Unless it was asked for later than that (somebody else is ending it), or sooner.
                self.probing.next_at = self.probing.next_at.max(now + pause);
            }
        }
    }

    /// Whether requests are sent where these details have it. If not, who sends them is told.
    fn is_still_there(&self, details: &Details) -> bool {
        self.proven.as_ref().is_some_and(|Proven { ready, .. }| {
            addresses(&ready.details).eq(addresses(details))
                && ready.details.exposed == details.exposed
                && ready.details.published == details.published
        })
    }

    fn become_ready(&mut self, now: Moment, details: Arc<Details>) {
        let served_before = self.served_since.is_some();
        let first_ready = *self.served_since.get_or_insert(now);
        let ready = Arc::new(ReadyRun {
            epoch: self.shared.next_epoch(),
            run: details.observation.run.clone(),
            details,
            first_ready,
        });
        if std::mem::take(&mut self.sleep.is_of_our_start) {
            self.sleep.woken_at = Some(now);
        }
        if let Some(ordered_at) = self.wake.ordered_at.take() {
            self.last_wake_took = Some(now.since(ordered_at));
            self.sleep.woken_at = Some(now);
            let is_of_use = self.is_of_use();
            self.sleep.is_for_dependents = !is_of_use;
            if is_of_use && self.wake.is_for_mates {
                // It stays for its idle time, and that is no use: its mates would follow it, and it them.
                self.shared.keep_until(now + self.policy.idle);
            } else if is_of_use {
                self.shared.word.touch(now.as_millis());
            }
            self.reason = Reason::Woken;
        } else if served_before {
            self.last_wake_took = None;
            self.reason = Reason::AnswersAgain;
        } else {
            self.last_wake_took = None;
            self.reason = self.reason.clone().answers();
        }
        let refuted = self.refuted_by_readiness(now);
        self.probing.last = None;
        self.probing.only_refused = false;
        self.probing.passed_at = now;
        self.outside.stopping = false;
        self.wake.wanted = false;
        self.wake.is_for_users = false;
        self.wake.is_for_mates = false;
        self.wake.retry.succeeded();
        self.sleep.due = false;
        self.sleep.is_held = false;
        self.sleep.is_locked = false;
        self.sleep.check_at = now;
        self.open(Proven { ready, suspicion: None });
        // Who reported it elsewhere must find that it is not there any more.
        if let Some(number) = refuted {
            self.shared.reports.settle(number);
        }
    }

    /// Whether a wake counts as use: not if it is only there for those who need it, and they are still
    /// there. If they have left, they may be back soon: it was slow to start.
    fn is_of_use(&self) -> bool {
        let is_held = self.shared.word.look().leases() > 0 || !self.waiters.is_empty();
        self.wake.is_for_users || !is_held
    }

    /// Opens the gate, with a lease for each waiter already counted.
    pub(super) fn open(&mut self, proven: Proven) {
        let waiting = u32::try_from(self.waiters.len()).unwrap_or(u32::MAX);
        self.shared.open(Arc::clone(&proven.ready), waiting);
        self.probing.missing = Missing::Nothing;
        self.proven = Some(proven);
        let forgotten = usize::from(sabotaged!(ForgetAWaiter));
        self.effects.extend(self.waiters.take_all().skip(forgotten).map(Effect::Grant));
    }
}

fn addresses(details: &Details) -> impl Iterator<Item = IpAddr> {
    let of_holder = details.holder.iter().flat_map(|holder| &holder.networks);
    details.networks.iter().chain(of_holder).flat_map(|network| network.addresses.iter().copied())
}

/// How long to wait before the next probe of a run of this age: so that the wait adds half a percent
/// to the start on average, and a start of a minute is not disturbed by more than some 1,500 probes.
fn interval(age: Duration) -> Duration {
    (age / 100).clamp(SHORTEST, LONGEST)
}
