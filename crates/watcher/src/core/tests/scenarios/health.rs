//! Ready when the container's own health check passes.

use drowse_provider::Health;

use super::*;

fn with_health(health: Health) -> Observation {
    running("one").with_health(Some(health))
}

fn unhealthy() -> NotReady {
    NotReady::new("its own health check has not passed yet").until_healthy()
}

impl Bench {
    /// Time passes in which it is not healthy; counts the probes and the reads.
    fn wait_for_health(&mut self, time: Duration) -> (usize, usize) {
        let until = self.now + time;
        let (mut probes, mut reads) = (0, 0);
        loop {
            if self.effects.iter().any(|effect| matches!(effect, Effect::Probe { .. })) {
                probes += 1;
                self.probe_answers(Err(unhealthy()));
            } else if let Some(id) = self.reading() {
                reads += 1;
                let details = Details::new("id", "app", with_health(Health::Starting));
                self.tell(Input::ReadDone { id, result: Ok(Arc::new(details)) });
            } else if let Some(next) = self.core.next_deadline().filter(|next| *next <= until) {
                self.now = next;
                self.tell(Input::Tick);
            } else {
                self.now = until;
                return (probes, reads);
            }
        }
    }
}

#[test]
fn a_verdict_is_waited_for_and_not_asked_for_all_the_time() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.order_is_done(&Order::Start);
    bench.read_says(with_health(Health::Starting));
    let (probes, reads) = bench.wait_for_health(Duration::from_mins(1));
    assert!((15..=22).contains(&reads), "{reads} reads in a minute");
    assert!(probes <= reads + 1, "{probes} probes of {reads} reads");

    // Its engine tells: one read, one look at it.
    bench.happens(EventAction::Health(Health::Healthy));
    bench.read_says(with_health(Health::Healthy));
    bench.probe_succeeds();
    assert_eq!(bench.granted(), [ask]);
    // What it tells of one that serves costs nothing.
    bench.happens(EventAction::Health(Health::Healthy));
    assert!(bench.reading().is_none());
}

#[test]
fn whoever_waits_too_long_for_a_verdict_is_told_that_there_is_none() {
    let mut bench = Bench::asleep();
    let ask = bench.ask(FAR);
    bench.order_is_done(&Order::Start);
    bench.read_says(with_health(Health::Starting));
    bench.wait_for_health(Duration::from_mins(2));
    let (id, refusal) = bench.refused().expect("an answer at the wake timeout");
    assert_eq!(id, ask);
    insta::assert_snapshot!(refusal, @"not ready after 120s (probing): its own health check has not passed yet");
    let (_, reads) = bench.wait_for_health(Duration::from_mins(10));
    assert!(reads <= 11, "{reads} reads in 10 min for nobody");
}
