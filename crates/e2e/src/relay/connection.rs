//! One connection of the relay.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

use super::Shared;
use super::requests::{Piece, Recorded, Requests};

/// Larger than any one event: a piece that is thrown away ends where a chunk of the stream ends.
const PIECE: usize = 64 * 1024;

/// What the engine says when it cannot do something right now.
const REFUSAL: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n\
    Content-Length: 37\r\n\r\n{\"message\":\"the engine is too busy\"}\n";

/// Until both directions have ended, or one breaks.
pub(super) async fn relay(client: UnixStream, id: u64, shared: &Shared) {
    let Ok(engine) = UnixStream::connect(&shared.engine).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_engine, to_engine) = engine.into_split();
    let to_client = Mutex::new(to_client);
    let outcome = tokio::try_join!(
        requests(from_client, to_engine, &to_client, id, shared),
        answers(from_engine, &to_client, id, shared),
    );
    // A broken direction breaks the other: both sockets are closed here.
    drop(outcome);
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: &Mutex<OwnedWriteHalf>,
    id: u64,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut requests = Requests::new(shared.scope.clone());
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        for piece in requests.read(&piece[..read]) {
            match piece {
                Piece::Head(request, head) => {
                    let refused = request.as_ref().is_some_and(|request| shared.refuses(request));
                    // Recorded when it arrives: a stalled engine has been asked all the same.
                    if let Some(request) = request {
                        record(request, id, shared);
                    }
                    flowing(shared).await;
                    if refused {
                        back.lock().await.write_all(REFUSAL).await?;
                    } else {
                        to.write_all(&head).await?;
                    }
                }
                Piece::Rest(bytes) => {
                    flowing(shared).await;
                    to.write_all(&bytes).await?;
                }
            }
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    to: &Mutex<OwnedWriteHalf>,
    id: u64,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            flowing(shared).await;
            return to.lock().await.shutdown().await;
        }
        let faults = *shared.faults.borrow();
        if faults.events_lost && carries_events(id, shared) && !starts_an_answer(&piece[..read]) {
            shared.state().lost.extend_from_slice(&piece[..read]);
            continue;
        }
        tokio::time::sleep(faults.delay).await;
        flowing(shared).await;
        to.lock().await.write_all(&piece[..read]).await?;
    }
}

fn record(request: Recorded, id: u64, shared: &Shared) {
    let mut state = shared.state();
    if let Some(open) = state.open.get_mut(&id) {
        open.last = Some(request.clone());
    }
    state.recorded.push(request);
}

fn carries_events(id: u64, shared: &Shared) -> bool {
    let state = shared.state();
    let last = state.open.get(&id).and_then(|open| open.last.as_ref());
    last.is_some_and(Recorded::is_event_stream)
}

/// The head of the answer is no event. Docker sends it by itself.
fn starts_an_answer(piece: &[u8]) -> bool {
    piece.starts_with(b"HTTP/")
}

/// Returns while, or as soon as, the line is not stalled.
async fn flowing(shared: &Shared) {
    let mut faults = shared.faults.subscribe();
    // The sender lives as long as `shared`.
    faults.wait_for(|faults| !faults.stalled).await.ok();
}
