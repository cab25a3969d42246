//! The first bytes of a connection of whoever comes.

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::fuzzed::{Torn, block_on};

#[test]
fn first_bytes() {
    drowse_fuzz::target("first_bytes", |input| {
        for at_a_time in [usize::MAX, 1, 1 + input.len() % 11] {
            let looked = block_on(look(Torn { rest: input, at_a_time })).unwrap();
            let Some((protocol, mut opened)) = looked else {
                assert!(input.is_empty());
                continue;
            };
            let speaks_http2 = input.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            assert_eq!(protocol == Protocol::Http2, speaks_http2);
            let mut read = Vec::new();
            block_on(opened.read_to_end(&mut read)).unwrap();
            assert_eq!(read, input, "not a byte is lost or told twice");
        }
    });
}
