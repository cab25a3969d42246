//! A world out of a seed.

use std::time::Duration;

use drowse_provider::StopOptions;
use drowse_watcher::{Circuit, Condition, Policy, Role, SleepMethod};

use super::{
    Deed, EnginePlan, GROUPS, Happening, OrderFault, Plan, Planned, ReadFault, Request, Verdict,
    WorkloadPlan,
};
use crate::dice::Dice;

const PLAN: u64 = 1;
const GROUPING: u64 = 12;

impl Plan {
    /// The world of this seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::about(seed, &[PLAN]);
        let others = dice.index(3);
        let engines: Vec<EnginePlan> = (0..=others).map(|_| engine(&mut dice)).collect();
        let at_most = if dice.percent(20) { 12 } else { 5 };
        let how_many = 1 + dice.index(at_most);
        let mut workloads = Vec::new();
        for _ in 0..how_many {
            let new = workload(&mut dice, engines.len(), &workloads);
            workloads.push(new);
        }
        group(seed, &mut workloads);
        // Of each kind of trouble there is much, little or none in one world.
        let mut troubles = Troubles::of(&mut dice);
        troubles.workloads = how_many;
        troubles.engines = engines.len();
        let count = dice.spread(8, 250).as_millis();
        let pace = 500 << dice.roll(8);
        let mut at = Duration::ZERO;
        let mut happenings = Vec::new();
        for _ in 0..count {
            at += if dice.percent(30) { dice.millis(0, 20) } else { dice.spread(1, pace * 2) };
            let what = troubles.next(&mut dice);
            happenings.push(Planned { at, what });
        }
        let until = at + Duration::from_secs(10);
        Self { seed, engines, workloads, happenings, until }
    }
}

fn engine(dice: &mut Dice) -> EnginePlan {
    EnginePlan {
        slots: 1 + dice.index(4),
        tells_runs: dice.percent(40),
        slowest: [20, 200, 3_000][dice.index(3)],
    }
}

/// In one world of three some are used together.
fn group(seed: u64, workloads: &mut [WorkloadPlan]) {
    let mut dice = Dice::about(seed, &[GROUPING]);
    if !dice.percent(35) {
        return;
    }
    for workload in workloads {
        workload.group = dice.percent(60).then(|| dice.index(GROUPS));
    }
}

fn workload(dice: &mut Dice, engines: usize, before: &[WorkloadPlan]) -> WorkloadPlan {
    let is_job = dice.percent(10);
    let mut needs = Vec::new();
    for (index, other) in before.iter().enumerate() {
        if dice.percent(if before.len() > 4 { 20 } else { 40 }) {
            let condition = match other.policy.role {
                Role::Job => Condition::Completed,
                _ if dice.percent(25) => Condition::Started,
                _ => Condition::Ready,
            };
            needs.push((index, condition));
        }
    }
    WorkloadPlan {
        is_out: false,
        engine: dice.index(engines),
        policy: policy(dice, is_job),
        needs,
        group: None,
        has_gate: dice.percent(30),
        restarts: !is_job && dice.percent(25),
        runs_at_first: dice.percent(40),
        slowest_start: [50, 3_000, 3_000, 90_000][dice.index(4)],
        is_deaf: dice.percent(10),
        fails: if dice.percent(50) { 0 } else { 30 },
    }
}

fn policy(dice: &mut Dice, is_job: bool) -> Policy {
    let idle = match dice.roll(6) {
        0 => Duration::ZERO,
        1 => dice.millis(1, 2_000),
        _ => dice.spread(5_000, 300_000),
    };
    let stop = StopOptions::new();
    let sleep = match dice.roll(10) {
        0..=4 => SleepMethod::Stop(stop),
        5 => SleepMethod::Stop(stop.with_timeout(dice.millis(1, 20) * 1_000)),
        6 => SleepMethod::Pause,
        7 => SleepMethod::Kill,
        8 => SleepMethod::PauseThenStop { after: dice.spread(1_000, 300_000), stop },
        _ => SleepMethod::Never,
    };
    let mut policy = Policy::new(idle)
        .with_sleep(sleep)
        .with_wake_timeout(dice.millis(5, 120) * 1_000)
        .with_start_grace(dice.millis(60, 300) * 1_000)
        .with_lingering(dice.percent(30));
    if dice.percent(30) {
        policy = policy.with_adoption_jitter(dice.millis(0, 30_000));
    }
    if dice.percent(30) {
        policy = policy.with_min_awake(dice.spread(1_000, 240_000));
    }
    if dice.percent(30) {
        let mut circuit = Circuit::new();
        circuit.opens_at = 1 + u32::try_from(dice.roll(5)).unwrap_or(0);
        circuit.rest = dice.spread(2_000, 300_000);
        policy = policy.with_circuit(circuit);
    }
    if is_job {
        policy = policy.with_role(Role::Job);
    }
    policy
}

/// How often each kind of thing happens, in some unit.
struct Troubles {
    workloads: usize,
    engines: usize,
    weights: [u64; 11],
}

impl Troubles {
    fn of(dice: &mut Dice) -> Self {
        let mut weights = [0; 11];
        for weight in &mut weights {
            *weight = [0, 0, 2, 8][dice.index(4)];
        }
        // Somebody uses it in most worlds.
        weights[0] = [20, 40, 100][dice.index(3)];
        Self { workloads: 0, engines: 0, weights }
    }

    fn next(&self, dice: &mut Dice) -> Happening {
        let mut left = dice.roll(self.weights.iter().sum());
        let kind = self.weights.iter().position(|weight| match left.checked_sub(*weight) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        });
        let workload = dice.index(self.workloads);
        let engine = dice.index(self.engines);
        match kind.unwrap_or(0) {
            0 => client(dice, workload),
            1 => Happening::Outside { workload, deed: deed(dice) },
            2 if dice.percent(50) => Happening::Crash { workload, exit: exit(dice) },
            2 => Happening::Doom { workload, after: dice.spread(1, 20_000), exit: exit(dice) },
            3 => Happening::Misorder { workload, fault: order_fault(dice) },
            4 => Happening::Misread { workload, fault: read_fault(dice) },
            5 => Happening::Lock { workload, lasts: dice.spread(10, 300_000) },
            6 => {
                let lasts = dice.spread(100, 120_000);
                match dice.roll(3) {
                    0 => Happening::Deaf { engine, lasts },
                    1 => Happening::Echo { engine, lasts },
                    _ => Happening::Lag { engine, lasts },
                }
            }
            7 => {
                let lasts = dice.spread(10, 90_000);
                if dice.percent(60) {
                    Happening::Outage { engine, lasts, is_silent: dice.percent(40) }
                } else {
                    let containers_die = dice.percent(60);
                    Happening::EngineRestarts { engine, lasts, containers_die }
                }
            }
            8 => match dice.roll(3) {
                0 => Happening::Store,
                _ => Happening::DrowseIsKilled {
                    down: dice.spread(1, 60_000),
                    store_is_lost: dice.percent(20),
                },
            },
            9 => match dice.roll(5) {
                0 => Happening::Remanage { workload },
                1 => {
                    let error = dice.percent(60).then(|| dice.spread(100, 200_000));
                    Happening::Rewire { workload, error }
                }
                2 => Happening::CloseCircuit { workload },
                _ => Happening::Idle { workload, idle: dice.spread(1, 300_000) },
            },
            _ => match dice.roll(8) {
                0 => Happening::Suspend { lasts: dice.spread(60_000, 40_000_000) },
                1..=3 => {
                    let says = [Verdict::Busy, Verdict::Busy, Verdict::Hangs][dice.index(3)];
                    Happening::Gate { workload, says, lasts: dice.spread(1_000, 300_000) }
                }
                4 => Happening::HoldAsleep {
                    workload,
                    lasts: dice.spread(1_000, 300_000),
                    ends_by_itself: dice.percent(50),
                },
                5 => Happening::KeepAwake { workload, lasts: dice.spread(1_000, 300_000) },
                _ => Happening::SleepNow {
                    workload,
                    patience: dice.spread(100, 120_000),
                    is_forced: dice.percent(30),
                },
            },
        }
    }
}

fn client(dice: &mut Dice, workload: usize) -> Happening {
    let request = Request {
        workload,
        is_passive: dice.percent(15),
        patience: dice.spread(200, 300_000),
        held: match dice.roll(4) {
            0 => Duration::ZERO,
            1 => dice.millis(1, 100),
            _ => dice.spread(10, 120_000),
        },
        abandoned: dice.percent(15).then(|| dice.spread(1, 20_000)),
    };
    if dice.percent(2) { Happening::Herd(request, 100) } else { Happening::Request(request) }
}

fn deed(dice: &mut Dice) -> Deed {
    let deeds = [
        Deed::Start,
        Deed::Start,
        Deed::Stop,
        Deed::Stop,
        Deed::Kill,
        Deed::Pause,
        Deed::Unpause,
        Deed::Reload,
        Deed::Remove,
        Deed::Update,
        Deed::Create,
    ];
    deeds[dice.index(deeds.len())]
}

fn exit(dice: &mut Dice) -> i64 {
    [0, 1, 3, 137][dice.index(4)]
}

fn order_fault(dice: &mut Dice) -> OrderFault {
    let faults = [
        OrderFault::Refused,
        OrderFault::Locked,
        OrderFault::NotTaken,
        OrderFault::AnswerLost,
        OrderFault::Hangs,
        OrderFault::TooLate,
        OrderFault::AnsweredNotDone,
        OrderFault::AnsweredLate,
    ];
    faults[dice.index(faults.len())]
}

fn read_fault(dice: &mut Dice) -> ReadFault {
    [ReadFault::Fails, ReadFault::Fails, ReadFault::Hangs, ReadFault::Late][dice.index(4)]
}
