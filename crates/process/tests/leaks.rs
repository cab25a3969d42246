//! Nothing is left behind: no zombie, no descriptor, no thread. One test, since it counts what the
//! whole test process has.
#![expect(clippy::unwrap_used, reason = "a helper that fails is a failed test")]

use std::{fs, future::Future, time::Duration};

use drowse_process::{ProcessEngine, ProcessSpec};
use drowse_provider::{
    ContainerStatus, Deadline, Engine as _, Reference, Signal, StopOptions, WatchItem,
};
use futures::{StreamExt as _, future::join_all};

const PATIENCE: Duration = Duration::from_secs(30);

fn patience() -> Deadline {
    Deadline::after(PATIENCE)
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// The children of this process, zombies or not.
fn children() -> usize {
    let own = std::process::id().to_string();
    let is_child = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().unwrap().split(' ').nth(1) == Some(own.as_str())
    };
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter(|entry| is_child(&entry.as_ref().unwrap().file_name().to_string_lossy())).count()
}

async fn becomes(what: &str, wanted: usize, count: impl Fn() -> usize) {
    let level = async {
        while count() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, level).await;
    assert!(waited.is_ok(), "{what}: {} instead of {wanted}", count());
}

async fn each<F: Future>(count: usize, of: impl Fn(usize) -> F) -> Vec<F::Output> {
    join_all((0..count).map(of)).await
}

#[tokio::test]
async fn nothing_is_left_behind() {
    let engine = ProcessEngine::new("test").unwrap();
    let define = |name: &str, script: &str| {
        engine.define(ProcessSpec::new(name, "sh").args(["-c", script])).unwrap();
        engine.provider(&Reference::Name(name.to_owned())).unwrap()
    };
    let brief = define("brief", "sleep 100000 & echo out; echo err >&2; exit 1");
    brief.start(patience()).await.unwrap();
    // The guard is there from the first start on.
    becomes("children", 1, children).await;
    let at_rest = descriptors();

    for round in 0..60 {
        brief.start(patience()).await.unwrap();
        if round % 2 == 0 {
            brief.kill(Signal::KILL, patience()).await.unwrap();
        } else {
            brief.stop(&StopOptions::new(), patience()).await.unwrap();
        }
    }
    becomes("children after many runs", 1, children).await;
    becomes("descriptors after many runs", at_rest, descriptors).await;

    // Many containers and many watches: one thread, no descriptor but those of the runs.
    let many: Vec<_> = (0..40).map(|number| define(&format!("{number}"), "sleep 100000")).collect();
    let threads_before = threads();
    let mut watches: Vec<_> = (0..400).map(|number| many[number % 40].watch()).collect();
    assert_eq!(descriptors(), at_rest, "a watch costs no descriptor");
    each(40, |number| many[number].start(patience())).await.into_iter().for_each(Result::unwrap);
    let seen = join_all(watches.iter_mut().map(async |watch| {
        while let Some(item) = watch.next().await {
            if let Ok(WatchItem::Synced(seen)) = item
                && seen.status == ContainerStatus::Running
            {
                return;
            }
        }
        panic!("a watch ended");
    }));
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
    assert!(threads() <= threads_before, "forty runs and four hundred watches cost no thread");
    drop(watches);

    let stop = StopOptions::new();
    each(40, |number| many[number].stop(&stop, patience()))
        .await
        .into_iter()
        .for_each(Result::unwrap);
    becomes("children after a crowd", 1, children).await;
    becomes("descriptors after a crowd", at_rest, descriptors).await;

    engine.close().await;
    drop((many, brief, engine));
    becomes("children after close", 0, children).await;
}
