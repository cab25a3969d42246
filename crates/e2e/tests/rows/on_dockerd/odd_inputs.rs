//! What RFC 9112 does not foresee, or forbids, by a client that is not ours: Python's.

use drowse_e2e::DEADLINE;

use super::{NEVER, awake, tools};

const CLIENT: &str = include_str!("odd_inputs.py");

/// What is answered to each, and what of it the application has seen. `last`: the request behind the odd
/// one was answered as itself; nothing else ever is.
#[tokio::test]
async fn odd_inputs_are_answered_or_refused_and_never_smuggle_a_request() {
    let (site, app, drowse) = awake("odd", NEVER).await;
    let script = drowse.spec().folder().join("odd_inputs.py");
    std::fs::write(&script, CLIENT).unwrap();
    let (ip, port) = (drowse.address().ip().to_string(), drowse.address().port().to_string());
    let script = script.display().to_string();
    let said = tools::ask("python3", &[&script, &ip, &port, &app.host()]).await;
    insta::assert_snapshot!(said, @r"
    plain: 200 GET /headers, last
    line ends without CR: 200 GET /headers, last
    CR within a value: 400
    CR alone at a line's end: 400
    zero within a value: 400
    folded line: 400
    folded first line: 400
    space before the colon: 400
    header without a name: 400
    header without a colon: 400
    empty lines first: 200 GET /headers, last
    absolute form: 200 GET /headers, last
    absolute form, another Host: 200 GET /headers, last
    absolute form, a user: 400, last
    no Host: 400, last
    two Hosts: 400, last
    empty Host: 400, last
    Host with a path: 400, last
    HTTP/1.0: 200 GET /headers
    HTTP/1.0 kept alive: 200 GET /headers, last
    HTTP/1.0 with an encoding: 400
    HTTP/1.2: 400
    HTTP/2.0 by a line: 400
    HTTP/0.9: 400
    http/1.1: 400
    lower-case method: 200 get /headers, last
    unknown method: 200 BREW /headers, last
    method with a sign: 400
    CONNECT: 400, last
    OPTIONS *: 404, last
    target without a slash: 400, last
    target with a fragment: 200 GET /headers, last
    absolute form without a path: 200, last
    target with other bytes: 400
    target of 60,000 bytes: 200 GET /headers?x..., last
    two spaces: 400
    same length twice: 200 body=5, last
    two lengths: 400
    two lengths in one: 400
    length with a sign: 400
    negative length: 400
    length in hexadecimal: 400
    endless length: 400
    length and chunks: 200 body=0
    chunked twice: 400
    chunked, then identity: 400
    xchunked: 400
    chunked after a tab: 200 body=3, last
    chunk extensions: 200 body=3, last
    chunk extension with an LF: 400
    chunk size with a sign: 400
    chunk size too large: 400
    chunk longer than said: 400
    trailer of a chunked body: 200 body=3, last
    a body of GET: 200 GET /headers content-length, last
    a request as a body: 200 body=that, last
    pipelined: 200 GET /headers, 200, 200 PUT /headers content-length, last
    a header of 60,000 bytes: 200 GET /headers x-a, last
    1,000 headers: 431
    endless header: 431
    hop's own header: 200 GET /headers
    Upgrade: h2c: 200 GET /headers, last
    Expect something: 200 GET /headers, last
    preface cut off: 400
    TLS: 400
    ");

    drowse.get(&app.host(), "/").deadline(DEADLINE).send().await.assert_served();
    assert_eq!(site.starts(&app).await, 1);
}
