//! Addresses that come late, and that change while it runs.

use std::net::IpAddr;

use drowse_provider::Network;
use futures::FutureExt;

use super::*;

fn at(addresses: &[&str]) -> Details {
    let addresses: Vec<IpAddr> = addresses.iter().map(|one| one.parse().unwrap()).collect();
    let mut details = Details::new("id", "app", running("one"));
    details.networks = vec![Network::new("net0", Some("bridge".to_owned()), addresses)];
    details
}

fn no_address() -> NotReady {
    NotReady::new("no address yet on `net0`").without_address()
}

impl Bench {
    /// A wake whose container runs, and where each read finds it at `addresses`.
    fn starting_at(addresses: &[&str]) -> (Self, AskId) {
        let mut bench = Self::asleep();
        let ask = bench.ask(FAR);
        bench.order_is_done(&Order::Start);
        assert!(!bench.probes(), "nothing is sent before this run was read");
        bench.read_answers(Ok(at(addresses)));
        (bench, ask)
    }

    fn probes(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Probe { .. }))
    }

    /// Time passes in which it has no address; counts the reads.
    fn wait_for_address(&mut self, time: Duration) -> usize {
        let until = self.now + time;
        let mut reads = 0;
        loop {
            if self.probes() {
                self.probe_answers(Err(no_address()));
            } else if let Some(id) = self.reading() {
                reads += 1;
                self.tell(Input::ReadDone { id, result: Ok(Arc::new(at(&[]))) });
            } else if let Some(next) = self.core.next_deadline().filter(|next| *next <= until) {
                self.now = next;
                self.tell(Input::Tick);
            } else {
                self.now = until;
                return reads;
            }
        }
    }
}

#[test]
fn what_is_elsewhere_after_a_refuted_report_is_ready_there() {
    let mut bench = Bench::at_passing_address(false);
    bench.read_answers(Ok(at(&["10.0.0.7"])));
    bench.probe_succeeds();
    bench.pass(Duration::from_mins(1));
    bench.upstream_fails();
    bench.read_answers(Ok(at(&["10.0.0.7"])));
    bench.probe_succeeds();
    bench.pass(Duration::from_secs(15));
    let epoch = bench.shared.ready_run().epoch;
    bench.upstream_fails();
    bench.read_answers(Ok(at(&["10.0.0.8"])));
    bench.probe_succeeds();
    let ready = bench.shared.ready_run();
    assert_eq!(ready.epoch, epoch + 1, "its connections are made anew");
    assert_eq!(ready.details.networks, at(&["10.0.0.8"]).networks);
    assert!(bench.shared.word.look().is_open());
    // Who reported what it was before is told to ask again.
    assert!(bench.shared.reports.settled(2).now_or_never().is_some());
}

#[test]
fn an_address_that_comes_late_is_waited_for_and_then_probed() {
    let (mut bench, ask) = Bench::starting_at(&[]);
    let mut reads = |seconds| bench.wait_for_address(Duration::from_secs(seconds));
    let (at_once, later, at_last) = (reads(3), reads(27), reads(60));
    assert!((9..=11).contains(&at_once), "{at_once} reads in the first 3 s");
    assert!((20..=28).contains(&later), "{later} reads up to 30 s");
    assert!((11..=17).contains(&at_last), "{at_last} reads in a minute");
    bench.pass(Duration::from_secs(5));
    bench.read_answers(Ok(at(&["10.0.0.7"])));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
    assert_eq!(bench.shared.ready_run().details.networks, at(&["10.0.0.7"]).networks);
    let quiet = bench.wait_for_address(Duration::from_mins(1));
    assert_eq!(quiet, 0, "it is known");
}

#[test]
fn whoever_waits_too_long_for_an_address_is_told_that_there_is_none() {
    let (mut bench, ask) = Bench::starting_at(&[]);
    bench.wait_for_address(Duration::from_mins(2));
    let (id, refusal) = bench.refused().expect("an answer at the wake timeout");
    assert_eq!(id, ask);
    insta::assert_snapshot!(refusal, @"not ready after 120s (probing): no address yet on `net0`");
    let reads = bench.wait_for_address(Duration::from_mins(1));
    assert!((10..=13).contains(&reads), "{reads} reads in a minute that nobody waits");
    let ask = bench.ask(FAR);
    bench.pass(Duration::from_secs(5));
    bench.read_answers(Ok(at(&["10.0.0.7"])));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
}

#[test]
fn what_does_not_answer_at_its_first_address_may_get_another() {
    let (mut bench, ask) = Bench::starting_at(&["fd00::7"]);
    let refused = || NotReady::new("[fd00::7]:80: connection refused").at_passing_address();
    let (mut reads, until) = (0, bench.now + Duration::from_secs(30));
    while bench.now < until {
        if bench.probes() {
            bench.probe_answers(Err(refused()));
        } else if let Some(id) = bench.reading() {
            reads += 1;
            bench.tell(Input::ReadDone { id, result: Ok(Arc::new(at(&["fd00::7"]))) });
        } else {
            bench.now = bench.core.next_deadline().expect("the next probe");
            bench.tell(Input::Tick);
        }
    }
    assert!((9..=11).contains(&reads), "{reads} reads in 30 s");
    while bench.reading().map(|id| bench.tell(read(id, &["10.0.0.7", "fd00::7"]))).is_none() {
        if bench.probes() {
            bench.probe_answers(Err(refused()));
        }
        bench.now = bench.core.next_deadline().expect("the next read");
        bench.tell(Input::Tick);
    }
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
}

fn read(id: EffectId, addresses: &[&str]) -> Input {
    Input::ReadDone { id, result: Ok(Arc::new(at(addresses))) }
}

#[test]
fn a_probe_of_an_address_that_has_changed_proves_nothing() {
    let (mut bench, ask) = Bench::starting_at(&["10.0.0.7"]);
    bench.happens(EventAction::Update);
    bench.read_answers(Ok(at(&["10.0.0.8"])));
    // The answer of the probe that was sent before.
    bench.probe_succeeds();
    assert!(bench.granted().is_empty(), "it was asked where it is no more");
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
    assert_eq!(bench.shared.ready_run().details.networks, at(&["10.0.0.8"]).networks);
}

#[test]
fn a_ready_upstream_that_refuses_is_looked_for_at_its_present_address() {
    let (mut bench, _) = Bench::starting_at(&["10.0.0.7"]);
    bench.probe_succeeds();
    bench.end_lease();
    bench.pass(Duration::from_mins(1));
    bench.upstream_fails();
    let ask = bench.ask(FAR);
    assert!(!bench.probes(), "first the read");
    bench.read_answers(Ok(at(&["10.0.0.8"])));
    bench.probe_succeeds();
    assert!(bench.granted().contains(&ask));
    assert_eq!(bench.shared.ready_run().details.networks, at(&["10.0.0.8"]).networks);
}

#[test]
fn row_41_what_is_ready_at_an_address_that_it_has_no_more_is_proven_anew() {
    let ready_at = |addresses: &[&str]| {
        let (mut bench, _) = Bench::starting_at(addresses);
        bench.probe_succeeds();
        bench.end_lease();
        bench.happens(EventAction::Update);
        bench
    };
    // The lease was given to a stranger, perhaps.
    let mut bench = ready_at(&["10.0.0.7"]);
    bench.read_answers(Ok(at(&["10.0.0.8"])));
    assert_eq!(bench.core.phase(), PhaseName::Probing);
    bench.probe_succeeds();
    assert_eq!(bench.core.phase(), PhaseName::Ready);
    // One more address is no reason, and none at all is no news.
    for addresses in [&["10.0.0.7", "fd00::7"][..], &[]] {
        let mut bench = ready_at(&["10.0.0.7"]);
        bench.read_answers(Ok(at(addresses)));
        assert_eq!(bench.core.phase(), PhaseName::Ready);
    }
}

/// Taken from one of its Docker networks: a change of its user's, of which a request finds out.
#[test]
fn what_is_ready_on_a_network_of_its_engines_own_stays_so_when_it_loses_an_address() {
    let mut bench = Bench::at_passing_address(false);
    bench.read_answers(Ok(at(&["172.18.0.5", "172.19.0.5"])));
    bench.probe_succeeds();
    bench.happens(EventAction::Update);
    bench.read_answers(Ok(at(&["172.18.0.5"])));
    assert_eq!(bench.core.phase(), PhaseName::Ready);
}
