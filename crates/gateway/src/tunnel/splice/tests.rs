use std::future::poll_fn;

use futures::FutureExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// A sender and a receiver, and the direction between them.
struct Scene {
    sender: TcpStream,
    receiver: TcpStream,
    splice: Splice,
    moved: u64,
    place: Place,
}

impl Scene {
    async fn new(pipes: &Pipes, after: Option<u64>) -> Self {
        let (sender, from) = connected().await;
        let (to, receiver) = connected().await;
        let splice = Splice::new(Arc::new(from), Arc::new(to), pipes.clone(), after);
        Self { sender, receiver, splice, moved: 0, place: Place::new() }
    }

    async fn pass(&mut self) -> io::Result<Passed> {
        let Self { splice, moved, place, .. } = self;
        poll_fn(|context| splice.poll(context, moved, place)).await
    }

    /// Sends more than anybody takes in, and passes on until nothing more is taken.
    async fn is_stuck(&mut self) {
        let much = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            _ = self.sender.write_all(&much).now_or_never();
            _ = self.pass().now_or_never();
            // The readiness of sockets is told by the runtime.
            tokio::task::yield_now().await;
        }
        assert!(!self.splice.pipe.as_ref().unwrap().is_empty());
    }
}

async fn connected() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (one, accepted) = tokio::join!(connecting, listener.accept());
    (one.unwrap(), accepted.unwrap().0)
}

/// So that a piece that is lost, or in another's place, is found.
fn text(length: usize) -> Vec<u8> {
    (0..length).map(|index| u8::try_from((index / 251 + index) % 256).unwrap()).collect()
}

#[tokio::test]
async fn what_is_sent_arrives_as_it_was_and_the_pipe_is_given_back() {
    let pipes = Pipes::new(1);
    let mut scene = Scene::new(&pipes, Some(0)).await;
    let sent = text(5_000_000);
    let (mut sender, receiver) = connected().await;
    std::mem::swap(&mut sender, &mut scene.sender);
    let mut receiver = std::mem::replace(&mut scene.receiver, receiver);
    let sending = async {
        sender.write_all(&sent).await.unwrap();
        drop(sender);
    };
    let passing = async {
        // What trickles is to be copied: here it is not, since it counts anew from nothing.
        while scene.pass().await.unwrap() == Passed::Copy {
            tokio::task::yield_now().await;
        }
        socket2::SockRef::from(&*scene.splice.to).shutdown(std::net::Shutdown::Write).unwrap();
        scene
    };
    let mut received = Vec::new();
    let ((), scene, read) = tokio::join!(sending, passing, receiver.read_to_end(&mut received));
    read.unwrap();
    assert!(received == sent, "something else arrived");
    assert_eq!(scene.moved, 2 * sent.len() as u64);
    assert!(scene.splice.pipe.is_none());
    assert!(pipes.take().is_some() && pipes.open() == 1);
}

#[tokio::test]
async fn the_first_bytes_are_copied_and_so_is_what_trickles() {
    let pipes = Pipes::new(1);
    let mut scene = Scene::new(&pipes, Some(10)).await;
    assert_eq!(scene.pass().await.unwrap(), Passed::Copy);
    scene.splice.copied(9);
    assert_eq!(scene.pass().await.unwrap(), Passed::Copy);
    scene.splice.copied(2);
    scene.sender.write_all(b"a little").await.unwrap();
    // It is passed on, and then it is seen to have been little.
    assert_eq!(scene.pass().await.unwrap(), Passed::Copy);
    let mut read = [0; 8];
    scene.receiver.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"a little");
    assert_eq!(scene.splice.left, Some(10));
    assert!(scene.splice.pipe.is_none());

    let mut never = Scene::new(&pipes, None).await;
    never.splice.copied(usize::MAX);
    assert_eq!(never.pass().await.unwrap(), Passed::Copy);
}

#[tokio::test]
async fn where_no_pipe_is_left_bytes_are_copied() {
    let pipes = Pipes::new(1);
    let mut slow = Scene::new(&pipes, Some(0)).await;
    slow.is_stuck().await;
    let mut other = Scene::new(&pipes, Some(0)).await;
    other.sender.write_all(&text(100_000)).await.unwrap();
    assert_eq!(other.pass().await.unwrap(), Passed::Copy);
    assert_eq!(pipes.open(), 1);
}

#[tokio::test]
async fn a_pipe_with_bytes_in_it_serves_nobody_else() {
    let pipes = Pipes::new(1);
    let mut slow = Scene::new(&pipes, Some(0)).await;
    slow.is_stuck().await;
    drop(slow);
    assert_eq!(pipes.open(), 0);
    let mut next = Scene::new(&pipes, Some(0)).await;
    next.sender.write_all(b"mine").await.unwrap();
    assert_eq!(next.pass().await.unwrap(), Passed::Copy);
    let mut read = [0; 4];
    next.receiver.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"mine");
}

#[tokio::test]
async fn a_side_that_is_gone_is_an_error() {
    let pipes = Pipes::new(1);
    let mut scene = Scene::new(&pipes, Some(0)).await;
    scene.is_stuck().await;
    let (_, other) = connected().await;
    drop(std::mem::replace(&mut scene.receiver, other));
    let error = scene.pass().await.unwrap_err();
    let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    assert!(kinds.contains(&error.kind()), "{error}");
}

#[test]
fn what_a_kernel_or_a_jail_forbids_is_copied() {
    for errno in [Errno::NOSYS, Errno::INVAL, Errno::PERM, Errno::OPNOTSUPP] {
        assert!(is_impossible(&errno.into()), "{errno}");
    }
    for errno in [Errno::CONNRESET, Errno::TIMEDOUT, Errno::PIPE] {
        assert!(!is_impossible(&errno.into()), "{errno}");
    }
}
