//! The format of the recorded answers.
//!
//! `--- METHOD PATH PARAMETERS` begins a request with its whole answer, and `-- WORDS` one that is
//! told in words: a status line, headers at times, the body up to an empty line. After
//! `# METHOD PATH PARAMETERS`, an order, stand the status of its task and the task's log when it
//! had ended, each as a line with the body alone.

/// One answer.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// `GET /version`, or what was written instead of it.
    pub(crate) request: String,
    /// `200 OK`
    pub(crate) status: String,
    pub(crate) body: String,
}

/// The answers in a transcript, in order.
pub(crate) fn exchanges(text: &str) -> Vec<Exchange> {
    let mut found: Vec<Exchange> = Vec::new();
    let mut request = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(begun) = begins(line) {
            begun.clone_into(&mut request);
        } else if let Some(status) = line.strip_prefix("HTTP/1.1 ") {
            let mut body = Vec::new();
            let mut is_packed = false;
            while let Some(next) = lines.next_if(|next| !next.is_empty() && begins(next).is_none())
            {
                if is_header(next) {
                    is_packed |= next.starts_with("Content-Encoding:");
                } else {
                    body.push(next);
                }
            }
            // Packed bytes were not recorded, and we ask for none.
            if !is_packed {
                found.push(Exchange {
                    request: request.clone(),
                    status: status.to_owned(),
                    body: body.join("\n"),
                });
            }
        } else if line.starts_with("{\"data\"")
            || line.starts_with("{\"total\"")
            || line.starts_with("{\"errors\"")
            || line.starts_with("{\"message\"")
        {
            let is_refused = line.contains("\"data\":null");
            let status = if is_refused { "400 Parameter verification failed." } else { "200 OK" };
            found.push(Exchange {
                request: format!("after {request}"),
                status: status.to_owned(),
                body: line.to_owned(),
            });
        }
    }
    found
}

/// What a line begins, if it begins something.
fn begins(line: &str) -> Option<&str> {
    let words = ["--- ", "-- ", "# ", "## "];
    words.iter().find_map(|word| line.strip_prefix(word))
}

fn is_header(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(name, _)| {
        name.starts_with(char::is_uppercase)
            && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-')
    })
}
