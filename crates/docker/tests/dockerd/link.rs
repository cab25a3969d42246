//! A port before another one, whose connections can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    is_cut: watch::Sender<bool>,
    made: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// Leads to `target`.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_cut = watch::Sender::new(false);
        let made = Arc::<AtomicUsize>::default();
        let accepting = tokio::spawn({
            let (is_cut, made) = (is_cut.clone(), Arc::clone(&made));
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    made.fetch_add(1, Ordering::SeqCst);
                    tokio::spawn(relay(client, target, is_cut.subscribe()));
                }
            }
        });
        Self { address, is_cut, made, accepting }
    }

    /// Cuts all connections, and those that come.
    pub(crate) fn cut(&self) {
        self.is_cut.send_replace(true);
    }

    pub(crate) fn mend(&self) {
        self.is_cut.send_replace(false);
    }

    /// How many connections were ever made.
    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::SeqCst)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(mut client: TcpStream, target: SocketAddr, mut is_cut: watch::Receiver<bool>) {
    let through = async {
        let Ok(mut server) = TcpStream::connect(target).await else { return };
        _ = copy_bidirectional(&mut client, &mut server).await;
    };
    tokio::select! {
        biased;
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
        () = through => {}
    }
}
