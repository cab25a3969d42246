use drowse_gateway::TlsVersion;

use super::{read_text, *};
use crate::config::Listen;

#[test]
fn an_address_may_say_what_is_spoken_there() {
    let config = read_text(
        r#"
listen:
  - 0.0.0.0:80
  - { address: "[::]:443", tls: true, proxy_protocol: true }
trusted_proxies: 10.0.0.1
tls:
  certificates:
    - { certificate: /etc/a/fullchain.pem, key: /etc/a/privkey.pem }
  self_signed: true
  minimum: "1.3"
"#,
    )
    .unwrap();
    let second = Listen { address: "[::]:443".parse().unwrap(), tls: true, proxy_protocol: true };
    assert_eq!(config.listen, [Listen::from("0.0.0.0:80".parse::<SocketAddr>().unwrap()), second]);
    let tls = config.tls.unwrap();
    let (files, place) = &tls.certificates[0];
    assert_eq!(files.key, Path::new("/etc/a/privkey.pem"));
    assert_eq!(place.line, 8);
    assert!(tls.self_signed);
    assert_eq!(tls.minimum, TlsVersion::V1_3);
}

#[test]
fn what_does_not_go_together_is_told() {
    let errors = |text: &str| read_text(text).unwrap_err();
    for (text, words) in [
        ("listen: [{ address: 127.0.0.1:443, tls: true }]", "needs a certificate"),
        ("listen: { address: 127.0.0.1:80, proxy_protocol: true }", "needs `trusted_proxies`"),
        ("tls: { self_signed: true }", "nothing listens with TLS"),
        ("listen: [{ address: 127.0.0.1:443, tls: true }]\ntls: {}", "a certificate is missing"),
    ] {
        assert!(errors(text).contains(words), "{}", errors(text));
    }
}

#[test]
fn mistakes_in_it_are_told_with_what_to_write() {
    let errors = read_text(
        r#"
listen:
  - { adress: 127.0.0.1:443, tls: yes }
  - { address: ":443" }
tls:
  certificate: /etc/a.pem
  certificates:
    - { certificate: a.pem }
    - /etc/a.pem
  minimum: "1.1"
"#,
    )
    .unwrap_err();
    for words in [
        "`address` is missing",
        "`yes`: expected `true` or `false`",
        "`:443` is no address to listen on",
        "`key` is missing",
        "`a.pem` is no absolute path",
        "`1.1`: expected `\"1.2\"` or `\"1.3\"`",
    ] {
        assert!(errors.contains(words), "{words}: {errors}");
    }
}
