//! Those who use the containers, each in its own way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use drowse_e2e::http;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_util::sync::CancellationToken;

use super::dice::Dice;
use super::ledger::{Ledger, Use};
use super::town::Town;

/// Longer than any wake, a slow machine's included.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a client does in one go.
#[derive(Clone, Copy)]
enum Way {
    Short,
    Download,
    WebSocket,
}

/// Who uses which container, and how.
const WAYS: [(usize, Way); 7] = [
    (0, Way::Short),
    (0, Way::Short),
    (1, Way::Download),
    (1, Way::Short),
    (2, Way::WebSocket),
    (4, Way::Short),
    (4, Way::Download),
];

pub(super) struct Clients {
    all: JoinSet<()>,
    ending: CancellationToken,
}

impl Clients {
    /// Each sees through what it has begun.
    pub(super) async fn end(mut self) {
        self.ending.cancel();
        while let Some(ended) = self.all.join_next().await {
            ended.unwrap();
        }
    }
}

pub(super) fn begin(town: &Town, seed: u64) -> Clients {
    let ending = CancellationToken::new();
    let mut all = JoinSet::new();
    for (number, (which, way)) in (1..).zip(WAYS) {
        let client = Client {
            which,
            way,
            host: town.containers[which].host(),
            drowse: town.drowse.address(),
            ledger: Arc::clone(&town.ledger),
            dice: Dice::new(seed, number),
        };
        all.spawn(client.live(ending.clone()));
    }
    Clients { all, ending }
}

struct Client {
    which: usize,
    way: Way,
    host: String,
    drowse: SocketAddr,
    ledger: Arc<Ledger>,
    dice: Dice,
}

/// From when and until when, at least, it was in use.
type Outcome = anyhow::Result<(Instant, Instant)>;

impl Client {
    async fn live(mut self, ending: CancellationToken) {
        while !ending.is_cancelled() {
            // A burst, and a pause that is sometimes longer than the idle time.
            for _ in 0..=self.dice.roll(12) {
                let sent = Instant::now();
                let outcome = timeout(PATIENCE, self.use_once(sent)).await;
                let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer")));
                let ended = Instant::now();
                let (held, failure) = match outcome {
                    Ok(held) => (held, None),
                    Err(error) => ((ended, sent), Some(format!("{error:#}"))),
                };
                let which = self.which;
                self.ledger.used(Use { which, sent, ended, held, failure });
                let moment = self.dice.millis(0, 100);
                tokio::time::sleep(moment).await;
            }
            let pause = self.dice.millis(100, 6_000);
            ending.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
    }

    async fn use_once(&mut self, sent: Instant) -> Outcome {
        match self.way {
            Way::Short => {
                self.get("/").await?;
                Ok((Instant::now(), sent))
            }
            Way::Download => {
                let (bytes, lasting) = (20_000, self.dice.millis(100, 4_000));
                let target = format!("/stream?bytes={bytes}&ms={}", lasting.as_millis());
                let body = self.get(&target).await?;
                anyhow::ensure!(body == bytes, "{body} bytes of {bytes}");
                // It took the application so long from the request to the last byte.
                let lasting = lasting.mul_f64(0.9);
                Ok((Instant::now() - lasting, sent + lasting))
            }
            Way::WebSocket => {
                let messages = self.dice.roll(8);
                self.talk(messages).await
            }
        }
    }

    async fn get(&self, target: &str) -> anyhow::Result<usize> {
        let request = http::get(self.drowse, target).host(&self.host).deadline(PATIENCE);
        let answer = request.try_send().await?;
        anyhow::ensure!(answer.status == 200, "{} {}", answer.status, answer.text().trim());
        Ok(answer.body.len())
    }

    /// Sends and receives so many messages, and closes.
    async fn talk(&mut self, messages: u64) -> Outcome {
        let request = format!("ws://{}/ws", self.host).into_client_request()?;
        let stream = TcpStream::connect(self.drowse).await?;
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        let held_from = Instant::now();
        // Whatever was echoed was sent while it was in use: the connection may be cut unseen after that.
        let mut held_until = held_from;
        for number in 0..messages {
            let sending = Instant::now();
            socket.send(Message::text(number.to_string())).await?;
            let echo = socket.next().await.ok_or_else(|| anyhow::anyhow!("it was closed"))??;
            anyhow::ensure!(echo == Message::text(number.to_string()), "{echo:?}");
            held_until = sending;
            let pause = self.dice.millis(0, 900);
            tokio::time::sleep(pause).await;
        }
        socket.send(Message::Close(None)).await?;
        while let Some(Ok(_)) = socket.next().await {}
        Ok((held_from, held_until))
    }
}
