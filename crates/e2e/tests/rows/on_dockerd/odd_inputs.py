"""Odd inputs, by raw sockets and Python's http.client: what is answered, and what the application has seen.

Arguments: an address, a port and a host that leads to the test application. One line a case.
"""

import http.client
import io
import json
import socket
import sys

ADDRESS, PORT, HOST = sys.argv[1], int(sys.argv[2]), sys.argv[3]
LAST = "GET /headers?last HTTP/1.1\r\nHost: {h}\r\nConnection: close\r\n\r\n"
HEAD = " /headers HTTP/1.1\r\nHost: {h}\r\n"

# Each with what is sent; `{last}` is one more request, which closes the connection.
CASES = [
    ("plain", "GET" + HEAD + "\r\n{last}"),
    ("line ends without CR", "GET /headers HTTP/1.1\nHost: {h}\n\n{last}"),
    ("CR within a value", "GET" + HEAD + "X-A: a\rX-B: b\r\n\r\n{last}"),
    ("CR alone at a line's end", "GET" + HEAD + "X-A: a\rTransfer-Encoding: chunked\r\n\r\n{last}"),
    ("zero within a value", "GET" + HEAD + "X-A: a\0b\r\n\r\n{last}"),
    ("folded line", "GET" + HEAD + "X-A: a\r\n b\r\n\r\n{last}"),
    ("folded first line", "GET /headers HTTP/1.1\r\n Host: {h}\r\n\r\n{last}"),
    ("space before the colon", "GET" + HEAD + "Content-Length : 5\r\n\r\nhello{last}"),
    ("header without a name", "GET" + HEAD + ": a\r\n\r\n{last}"),
    ("header without a colon", "GET" + HEAD + "X-A\r\n\r\n{last}"),
    ("empty lines first", "\r\n\r\nGET" + HEAD + "\r\n{last}"),
    ("absolute form", "GET http://{h}/headers HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("absolute form, another Host", "GET http://{h}/headers HTTP/1.1\r\nHost: other.test\r\n\r\n{last}"),
    ("absolute form, a user", "GET http://u@{h}/headers HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("no Host", "GET /headers HTTP/1.1\r\n\r\n{last}"),
    ("two Hosts", "GET" + HEAD + "Host: {h}\r\n\r\n{last}"),
    ("empty Host", "GET /headers HTTP/1.1\r\nHost: \r\n\r\n{last}"),
    ("Host with a path", "GET /headers HTTP/1.1\r\nHost: {h}/x\r\n\r\n{last}"),
    ("HTTP/1.0", "GET /headers HTTP/1.0\r\nHost: {h}\r\n\r\n"),
    ("HTTP/1.0 kept alive", "GET /headers HTTP/1.0\r\nHost: {h}\r\nConnection: keep-alive\r\n\r\n{last}"),
    ("HTTP/1.0 with an encoding", "POST /upload HTTP/1.0\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{last}"),
    ("HTTP/1.2", "GET /headers HTTP/1.2\r\nHost: {h}\r\n\r\n{last}"),
    ("HTTP/2.0 by a line", "GET /headers HTTP/2.0\r\nHost: {h}\r\n\r\n{last}"),
    ("HTTP/0.9", "GET /headers\r\n\r\n"),
    ("http/1.1", "GET /headers http/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("lower-case method", "get" + HEAD + "\r\n{last}"),
    ("unknown method", "BREW" + HEAD + "\r\n{last}"),
    ("method with a sign", "GE(T" + HEAD + "\r\n{last}"),
    ("CONNECT", "CONNECT {h}:80 HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("target without a slash", "GET headers HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("target with a fragment", "GET /headers#x HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("absolute form without a path", "GET http://{h}#/headers HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("target with other bytes", "GET /headers?\xe9 HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("target of 60,000 bytes", "GET /headers?" + "x" * 60000 + " HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("two spaces", "GET  /headers HTTP/1.1\r\nHost: {h}\r\n\r\n{last}"),
    ("same length twice", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello{last}"),
    ("two lengths", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello{last}"),
    ("two lengths in one", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5, 6\r\n\r\nhello{last}"),
    ("length with a sign", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: +5\r\n\r\nhello{last}"),
    ("negative length", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: -1\r\n\r\n{last}"),
    ("length in hexadecimal", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: 0x5\r\n\r\nhello{last}"),
    ("endless length", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: 99999999999999999999\r\n\r\n{last}"),
    ("length and chunks", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{last}"),
    ("chunked twice", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n{last}"),
    ("chunked, then identity", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{last}"),
    ("xchunked", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{last}"),
    ("chunked after a tab", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding:\tchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n{last}"),
    ("chunk extensions", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b\";c\r\nabc\r\n0;d\r\n\r\n{last}"),
    ("chunk extension with an LF", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n3;a\nabc\r\n0\r\n\r\n{last}"),
    ("chunk size with a sign", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n{last}"),
    ("chunk size too large", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n{last}"),
    ("chunk longer than said", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n{last}"),
    ("trailer of a chunked body", "POST /upload HTTP/1.1\r\nHost: {h}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 99\r\n\r\n{last}"),
    ("a body of GET", "GET" + HEAD + "Content-Length: 5\r\n\r\nhello{last}"),
    ("a request as a body", "POST /upload HTTP/1.1\r\nHost: {h}\r\nContent-Length: {n}\r\n\r\n{last}{last}"),
    ("pipelined", "GET" + HEAD + "\r\nHEAD" + HEAD + "\r\nPUT" + HEAD + "Content-Length: 2\r\n\r\nab{last}"),
    ("a header of 60,000 bytes", "GET" + HEAD + "X-A: " + "x" * 60000 + "\r\n\r\n{last}"),
    ("1,000 headers", "GET" + HEAD + "".join("X-%d: a\r\n" % n for n in range(1000)) + "\r\n{last}"),
    ("endless header", "GET" + HEAD + "X-A: " + "x" * 2000000),
    ("hop's own header", "GET" + HEAD + "Connection: close, X-Secret\r\nX-Secret: 1\r\n\r\n"),
    ("Upgrade: h2c", "GET" + HEAD + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n{last}"),
    ("Expect something", "GET" + HEAD + "Expect: miracles\r\n\r\n{last}"),
    ("preface cut off", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
    ("TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + "\0" * 50),
]


class Kept:
    """A file that http.client may close without effect, so that the next answer can be read of it."""

    def __init__(self, file):
        self.file = file

    def __getattr__(self, name):
        return getattr(self.file, name)

    def makefile(self, *_):
        return self

    def close(self):
        pass


def seen(status, body):
    """One answer: its status, and of the application's what it was asked."""
    try:
        told = json.loads(body)
    except ValueError:
        return str(status)
    if "bytes" in told:
        return f"{status} body={told['bytes']}"
    if "path" not in told:
        return str(status)
    path = told["path"].replace("x" * 60000, "x...")
    names = {name for name, _ in told["headers"]}
    odd = sorted(names & {"x-a", "x-b", "x-secret", "upgrade", "transfer-encoding", "content-length", "expect"})
    words = [str(status), told["method"], path, *odd]
    if len(names) > 100:
        words.append("many-headers")
    return " ".join(words)


def methods(sent):
    """Which of the answers have no body, since HEAD was asked."""
    return [line.startswith("HEAD ") for line in sent.split("\r\n") if " HTTP/" in line]


def exchange(sent):
    connection = socket.create_connection((ADDRESS, PORT), timeout=15)
    try:
        connection.sendall(sent.encode("latin-1"))
    except OSError:
        pass
    reader = Kept(connection.makefile("rb"))
    answers = []
    heads = methods(sent)
    while True:
        try:
            if not reader.file.peek(1):
                break
            is_head = len(answers) < len(heads) and heads[len(answers)]
            answer = http.client.HTTPResponse(reader, method="HEAD" if is_head else "GET")
            answer.begin()
            answers.append(seen(answer.status, answer.read()))
        except TimeoutError:
            answers.append("open")
            break
        except ConnectionResetError:
            break
        except (OSError, http.client.HTTPException) as error:
            answers.append(type(error).__name__)
            break
    connection.close()
    return answers


def main():
    last = LAST.format(h=HOST)
    for name, text in CASES:
        text = text.replace("{n}", str(len(last))).replace("{last}", last).replace("{h}", HOST)
        answers = ["last" if " GET /headers?last" in answer else answer for answer in exchange(text)]
        # The host's name is not always as long.
        answers = [answer.replace(f"body={len(last)}", "body=that") for answer in answers]
        print(f"{name}: {', '.join(answers) or 'closed'}")


main()
