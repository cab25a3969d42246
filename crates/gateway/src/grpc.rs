//! What is said to clients of gRPC in gRPC's words: they look for a status among the headers, and take any
//! other answer for a message that is damaged ("gRPC over HTTP2", Trailers-Only).

use std::fmt::Write as _;

use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};

use crate::{body::ResponseBody, problem};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Whether a request is a call.
pub(crate) fn is_call(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    // Not `application/grpc-web`, which is something else.
    let further = kind.as_bytes().strip_prefix(b"application/grpc");
    further.is_some_and(|further| matches!(further.first(), None | Some(b'+' | b';')))
}

/// The answer to a call: a problem of drowse's own as a status of gRPC, with its sentence; whatever else as it
/// is.
pub(crate) fn answer(mut answer: Response<ResponseBody>) -> Response<ResponseBody> {
    let Some(detail) = problem::detail_of(&answer) else { return answer };
    let code = HeaderValue::from(code_of(answer.status()));
    // It is all of visible characters.
    let message = HeaderValue::try_from(encoded(&detail));
    let headers = answer.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, code);
    headers.insert(GRPC_MESSAGE, message.unwrap_or(HeaderValue::from_static("")));
    *answer.status_mut() = StatusCode::OK;
    *answer.body_mut() = ResponseBody::empty();
    answer
}

/// What a status of HTTP is in gRPC ("HTTP to gRPC Status Code Mapping").
fn code_of(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// As gRPC wants its messages: what is not visible ASCII, and `%`, is percent-encoded.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // A string always takes it.
            _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::RETRY_AFTER;

    use super::*;
    use crate::problem::{Problem, Reason};

    #[test]
    fn a_problem_is_told_as_a_status_of_grpc() {
        let told = |reason| {
            let problem = Problem::new(reason, "wiki: it is 100 % grün.");
            let answer = answer(problem.retry_after(Duration::from_secs(5)).into_response());
            let headers = answer.headers();
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(headers[RETRY_AFTER], "5");
            assert_eq!(headers[CONTENT_TYPE], "application/grpc");
            assert_eq!(headers[GRPC_MESSAGE], "wiki: it is 100 %25 gr%C3%BCn.");
            assert!(matches!(answer.body(), ResponseBody::Own(None)));
            headers[GRPC_STATUS].to_str().unwrap().to_owned()
        };
        for (reason, code) in [
            (Reason::StartFailed, "14"),
            (Reason::Timeout, "14"),
            (Reason::TooManyWaiting, "14"),
            (Reason::NoRoute, "12"),
            (Reason::Forbidden, "7"),
            (Reason::Unauthorized, "16"),
        ] {
            assert_eq!(told(reason), code, "{reason:?}");
        }
    }

    #[test]
    fn what_is_no_problem_is_left_alone() {
        let asleep = problem::own(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "asleep");
        assert_eq!(answer(asleep).status(), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn a_call_is_told_by_its_content() {
        let is_call = |kind: &'static str| {
            is_call(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        assert!(is_call("application/grpc") && is_call("application/grpc+proto"));
        assert!(is_call("application/grpc;charset=x"));
        assert!(!is_call("application/grpc-web") && !is_call("application/json"));
    }
}
