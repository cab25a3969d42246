//! Sockets that a service manager hands over for TCP and UDP routes.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use rustix::process::Signal;

use crate::support::{PATIENCE, PROGRAM, Place, Running, free_address, handing_over, status};

/// A workload with this route, whose application is at `port`.
fn configure(place: &Place, route: &str, port: u16) {
    place.configure(&format!(
        "engines: {{}}\n\
         workloads:\n  \
           app:\n    \
             container:\n      \
               process:\n        \
                 command: [{PROGRAM}, demo-app]\n        \
                 env: {{ PORT: {}, DEMO_START_MS: 50, DEMO_MEMORY_MB: 1 }}\n    \
             idle: 1h\n    \
             routes: [{{ {route}, port: {port} }}]\n",
        if route.starts_with("tcp") { port } else { free_address().port() }
    ));
}

fn arguments(place: &Place) -> [String; 5] {
    let (listen, config) = (place.listen.to_string(), place.path("drowse.yaml"));
    let config = config.to_str().unwrap().to_owned();
    ["run".into(), "--listen".into(), listen, "--config".into(), config]
}

fn run(place: &Place, socket: impl Into<std::os::fd::OwnedFd>) -> Running {
    let arguments = arguments(place);
    let command = place.command(&arguments.each_ref().map(String::as_str));
    let running = Running::start_as_it_is(&mut handing_over(&command, socket.into()));
    running.says("listening port=");
    running
}

/// What is answered to a request on a connection that was made at any time before.
fn ask(mut client: TcpStream) -> String {
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_tcp_route_has_the_socket_of_its_address_and_who_connects_over_a_restart_waits() {
    let place = Place::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    configure(&place, &format!("tcp: {}", address.port()), free_address().port());
    for _ in 0..2 {
        // Nobody is there yet.
        let waits = TcpStream::connect(address).unwrap();
        let mut drowse = run(&place, socket.try_clone().unwrap());
        // It is the route's, and not HTTP's, which knows no host `any`.
        for client in [waits, TcpStream::connect(address).unwrap()] {
            let answer = ask(client);
            assert_eq!(status(&answer), "HTTP/1.1 200 OK", "{answer}");
        }
        drowse.signal(Signal::TERM);
        assert!(drowse.ended().success());
    }
}

#[test]
fn a_udp_route_has_the_socket_of_its_address() {
    let place = Place::new();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let application = UdpSocket::bind("127.0.0.1:0").unwrap();
    configure(&place, &format!("udp: \"{address}\""), application.local_addr().unwrap().port());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    for socket in [&application, &client] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    // It waits until somebody is there.
    client.send(b"early").unwrap();
    let _drowse = run(&place, socket.try_clone().unwrap());
    let mut packet = [0; 16];
    let (length, session): (usize, SocketAddr) = application.recv_from(&mut packet).unwrap();
    assert_eq!(&packet[..length], b"early");
    application.send_to(b"late", session).unwrap();
    let length = client.recv(&mut packet).unwrap();
    assert_eq!(&packet[..length], b"late");
}

/// In the log, where somebody looks who wonders why nothing answers.
#[test]
fn a_socket_that_no_route_has_is_named_with_what_to_add() {
    let place = Place::new();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let elsewhere = || configure(&place, "host: app.test", free_address().port());
    let start = || {
        let arguments = arguments(&place);
        let mut command = place.command(&arguments.each_ref().map(String::as_str));
        command.env("LISTEN_FDNAMES", "postgres");
        let socket = socket.try_clone().unwrap().into();
        Running::start_as_it_is(&mut handing_over(&command, socket))
    };
    let named = |drowse: &Running| {
        let log = drowse.says("no route has this socket of the service manager");
        let line = log.lines().find(|line| line.contains("no route has")).unwrap();
        assert!(line.contains(&format!("give a route `tcp: \"{address}\"`")), "{line}");
        assert!(line.ends_with("name=postgres"), "{line}");
    };
    elsewhere();
    named(&start());

    // It has a route until the configuration is read again.
    configure(&place, &format!("tcp: {}", address.port()), free_address().port());
    let drowse = start();
    drowse.says("listening port=");
    assert!(!drowse.log().contains("no route has"), "{}", drowse.log());
    elsewhere();
    drowse.signal(Signal::HUP);
    named(&drowse);
}

#[test]
fn a_socket_that_nobody_has_is_told_of() {
    let place = Place::new();
    let all = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = all.local_addr().unwrap().port();
    configure(&place, &format!("tcp: \"127.0.0.1:{port}\""), free_address().port());
    let arguments = arguments(&place);
    let command = place.command(&arguments.each_ref().map(String::as_str));
    let drowse = Running::start_as_it_is(&mut handing_over(&command, all.into()));
    drowse.says("handed over by the service manager, for a route");
    drowse.says(&format!(
        "the service manager listens at 0.0.0.0:{port}: let it listen where the route does, at \
         127.0.0.1:{port}"
    ));
}
