//! Quiet tunnels, under virtual time: what counts, and that no byte is lost or comes too late.

use std::{pin::Pin, task::Context};

use drowse_provider::{
    Action, ContainerStatus, Deadline, Engine as _, Reference, Signal,
    testing::{ScriptedContainer, ScriptedEngine, Step},
};
use drowse_watcher::{Force, Policy, ReadyWhenRunning, WorkloadSpec};
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter, DuplexStream,
        ReadBuf, duplex,
    },
    task::JoinHandle,
};

use super::*;

const QUIET: Duration = Duration::from_mins(1);
/// Ten times as long.
const IDLE: Duration = Duration::from_mins(10);

struct Scene {
    container: ScriptedContainer,
    workload: Workload,
    client: DuplexStream,
    upstream: DuplexStream,
    tunnel: JoinHandle<io::Result<()>>,
}

impl Scene {
    /// A tunnel to what is ready.
    async fn new(kind: LeaseKind) -> Self {
        let engine = ScriptedEngine::new("home");
        let container = engine.add("app");
        let provider = engine.provider(&Reference::Name("app".into())).unwrap();
        let policy = Policy::new(IDLE);
        let spec = WorkloadSpec::new("app", provider, Arc::new(ReadyWhenRunning), policy);
        let workload = Workload::spawn(spec);
        let holder = workload.holder("route app");
        let deadline = Deadline::after(Duration::from_secs(30));
        let lease = workload.lease(&holder, LeaseKind::Active, deadline).await.unwrap();
        let (run, passive) = (lease.run(), workload.try_lease(&holder, LeaseKind::Passive));
        let lease = if kind == LeaseKind::Passive { passive.unwrap() } else { lease };

        // Small, so that bytes get stuck.
        let (client, client_side) = duplex(64);
        let (upstream, upstream_side) = duplex(64);
        let tunnel = tokio::spawn({
            let workload = workload.clone();
            async move {
                let place = Place::new();
                let claim = Claim {
                    workload: &workload,
                    holder: &holder,
                    kind,
                    run,
                    quiet_after: Some(QUIET),
                    stage: InFlightStage::Upgraded,
                };
                let pump = Pump::new(client_side, upstream_side, &place);
                claim.hold_while_used(pump, Usage::Alone { _lease: lease }, &place).await
            }
        });
        // The engine's handle keeps it open.
        tokio::spawn(async move {
            let _engine = engine;
            std::future::pending::<()>().await;
        });
        Self { container, workload, client, upstream, tunnel }
    }

    /// Passes time, in small steps, so that everything that is due happens when it is.
    async fn pass(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep(Duration::from_secs(1).min(until - Instant::now())).await;
        }
    }

    async fn is_passed_on(&mut self, text: &str) {
        self.client.write_all(text.as_bytes()).await.unwrap();
        let mut read = vec![0; text.len()];
        self.upstream.read_exact(&mut read).await.unwrap();
        assert_eq!(read, text.as_bytes());
    }

    async fn is(&self, phase: PhaseName) {
        self.workload.watch().wait_for(|now| now.phase == phase).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_tunnel_gives_its_lease_back_and_takes_one_with_the_next_byte() {
    let mut scene = Scene::new(LeaseKind::Active).await;
    for _ in 0..3 {
        scene.is_passed_on("hello").await;
        scene.pass(Duration::from_secs(58)).await;
        assert_eq!(scene.workload.leases(), 1, "quiet, not for long enough");
    }
    scene.pass(Duration::from_secs(4)).await;
    assert_eq!(scene.workload.leases(), 0);

    // Either direction counts.
    scene.upstream.write_all(b"news").await.unwrap();
    let mut read = [0; 4];
    scene.client.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"news");
    assert_eq!(scene.workload.leases(), 1);
    scene.pass(QUIET + Duration::from_secs(2)).await;
    assert_eq!(scene.workload.leases(), 0);

    // The next byte is use: the idle time begins again.
    scene.pass(9 * QUIET).await;
    scene.is_passed_on("again").await;
    scene.pass(IDLE).await;
    assert_eq!(scene.workload.snapshot().phase, PhaseName::Ready);
    scene.is(PhaseName::Asleep).await;
    scene.tunnel.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_passive_tunnel_passes_counts_for_nothing() {
    let mut scene = Scene::new(LeaseKind::Passive).await;
    scene.pass(QUIET + Duration::from_secs(2)).await;
    assert_eq!(scene.workload.leases(), 0);
    scene.is_passed_on("hello").await;
    assert_eq!(scene.workload.leases(), 1);
    // It holds off a stop until it is quiet, and not for one idle time more.
    scene.pass(7 * QUIET).await;
    scene.is_passed_on("hello").await;
    scene.pass(2 * QUIET).await;
    assert_eq!(scene.workload.snapshot().phase, PhaseName::Asleep);
}

#[tokio::test(start_paused = true)]
async fn no_byte_is_sent_to_what_is_being_stopped() {
    let mut scene = Scene::new(LeaseKind::Active).await;
    scene.pass(QUIET + Duration::from_secs(2)).await;
    scene.container.always(Action::Stop, Step::ok().late_by(Duration::from_secs(5)));
    let workload = scene.workload.clone();
    let order = tokio::spawn(async move {
        workload.sleep_now(Deadline::after(Duration::from_secs(30)), Force::No).await.unwrap();
    });
    scene.is(PhaseName::Stopping).await;
    // Whether or not it was closed by then: what is written now never arrives.
    _ = scene.client.write_all(b"too late").await;
    let mut read = Vec::new();
    scene.upstream.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"");
    scene.tunnel.await.unwrap().unwrap();
    assert_eq!(scene.workload.leases(), 0);
    order.await.unwrap();
    assert_eq!(scene.container.observation().status, ContainerStatus::Stopped);
}

#[tokio::test(start_paused = true)]
async fn the_next_run_is_another_application() {
    let mut scene = Scene::new(LeaseKind::Active).await;
    scene.pass(QUIET + Duration::from_secs(2)).await;
    scene.container.kill(Signal::KILL);
    scene.is(PhaseName::Asleep).await;
    let holder = scene.workload.holder("another");
    let deadline = Deadline::after(Duration::from_secs(30));
    let _lease = scene.workload.lease(&holder, LeaseKind::Active, deadline).await.unwrap();
    _ = scene.client.write_all(b"too late").await;
    let mut read = Vec::new();
    scene.upstream.read_to_end(&mut read).await.unwrap();
    assert_eq!(read, b"");
}

#[tokio::test(start_paused = true)]
async fn while_the_run_is_in_doubt_bytes_wait() {
    let mut scene = Scene::new(LeaseKind::Active).await;
    scene.pass(QUIET + Duration::from_secs(2)).await;
    let run = scene.workload.ready_run().unwrap();
    scene.workload.upstream_failed(&run);
    // It is ready again, in the same run.
    scene.is_passed_on("hello").await;
    assert!(scene.workload.ready_run().unwrap().epoch >= run.epoch);
    assert_eq!(scene.workload.leases(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_reads_is_no_use_and_is_not_lost() {
    let mut scene = Scene::new(LeaseKind::Active).await;
    let text = vec![b'x'; 100_000];
    let writer = async {
        scene.client.write_all(&text).await.unwrap();
        scene.client.shutdown().await.unwrap();
    };
    let reader = async {
        sleep(QUIET + Duration::from_secs(2)).await;
        assert_eq!(scene.workload.leases(), 0);
        let mut read = Vec::new();
        scene.upstream.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, text);
    };
    tokio::join!(writer, reader);
    drop(scene.upstream);
    scene.tunnel.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_direction_that_ends_leaves_the_other_ten_seconds() {
    let mut scene = Scene::new(LeaseKind::Active).await;
    scene.is_passed_on("hello").await;
    scene.client.shutdown().await.unwrap();
    let mut read = Vec::new();
    scene.upstream.read_to_end(&mut read).await.unwrap();
    let began = Instant::now();
    scene.tunnel.await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(scene.workload.leases(), 0);
}

/// It says this, and then is reset. What it is sent is thrown away, or refused.
struct Reset {
    says: &'static [u8],
    refuses: bool,
}

impl AsyncRead for Reset {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.says.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buffer.put_slice(std::mem::take(&mut self.says));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Reset {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(if self.refuses {
            Err(io::ErrorKind::BrokenPipe.into())
        } else {
            Ok(bytes.len())
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Its client still speaks, whichever way is looked at first.
#[tokio::test(start_paused = true)]
async fn what_an_upstream_said_is_passed_on_also_if_it_refuses_what_it_is_sent() {
    const WORDS: &[u8] = b"too large";
    for turn in [false, true] {
        let (mut client, client_side) = duplex(64);
        client.write_all(b"an upload").await.unwrap();
        let place = Place::new();
        let upstream = Reset { says: WORDS, refuses: true };
        let mut pump = Pump::new(client_side, upstream, &place);
        pump.is_up_first = turn;
        let ended = timeout(Duration::from_mins(1), poll_fn(|context| pump.poll(context))).await;
        assert!(ended.unwrap().is_err());
        drop(pump);
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, WORDS);
    }
}

/// A stream of HTTP/2 whose client takes nothing, and answers each ping.
#[tokio::test(start_paused = true)]
async fn who_does_not_take_the_last_words_is_not_waited_for() {
    let (_client, client_side) = duplex(4);
    let place = Place::new();
    let upstream = Reset { says: b"and these are the last ones", refuses: false };
    let mut pump = Pump::new(BufWriter::new(client_side), upstream, &place);
    let ended = timeout(Duration::from_mins(1), poll_fn(|context| pump.poll(context))).await;
    assert!(ended.is_ok());
}

/// Its client takes nothing for a while. As TLS does, its side holds what it was written until it is flushed.
#[tokio::test(start_paused = true)]
async fn what_an_upstream_said_before_it_was_reset_is_passed_on() {
    const WORDS: &[u8] = b"and these are the last ones";
    let (mut client, client_side) = duplex(4);
    let place = Place::new();
    let upstream = Reset { says: WORDS, refuses: false };
    let mut pump = Pump::new(BufWriter::new(client_side), upstream, &place);
    let passing = poll_fn(|context| pump.poll(context));
    let reading = async {
        sleep(Duration::from_secs(5)).await;
        let mut read = vec![0; WORDS.len()];
        client.read_exact(&mut read).await.unwrap();
        read
    };
    let (ended, read) = tokio::join!(passing, timeout(Duration::from_mins(2), reading));
    assert_eq!(read.unwrap(), WORDS);
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
