//! One Chromium for all tests, driven by a script (`tests/chromium/driver.mjs`).

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use serde_json::{Value, json};
use tokio::{sync::oneshot, time::timeout};

use crate::{client::PATIENCE, site::Site};

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Value>>>>;

/// The browser. It ends with the process of the tests: nobody holds its standard input then.
struct Browser {
    commands: Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
    _driver: Child,
}

/// What `cargo xtask test` has installed for these tests.
fn packages() -> PathBuf {
    let told = std::env::var_os("DROWSE_TEST_CHROMIUM");
    told.map(PathBuf::from).expect("DROWSE_TEST_CHROMIUM, which `cargo xtask test` sets")
}

fn browser() -> &'static Browser {
    static BROWSER: OnceLock<Browser> = OnceLock::new();
    BROWSER.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chromium/driver.mjs");
        let mut driver = Command::new("node")
            .arg(script)
            .env("DROWSE_TEST_CHROMIUM", packages())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let waiting = Waiting::default();
        let answers = BufReader::new(driver.stdout.take().unwrap());
        thread::spawn({
            let waiting = Arc::clone(&waiting);
            move || {
                for line in answers.lines().map_while(Result::ok) {
                    let answer: Value = serde_json::from_str(&line).unwrap();
                    let waiter = waiting.lock().unwrap().remove(&answer["id"].as_u64().unwrap());
                    // A test that has failed meanwhile waits no more.
                    _ = waiter.map(|waiter| waiter.send(answer));
                }
                // Whoever waits now waits in vain.
                waiting.lock().unwrap().clear();
            }
        });
        let commands = Mutex::new(driver.stdin.take().unwrap());
        Browser { commands, waiting, next: AtomicU64::new(0), _driver: driver }
    })
}

async fn call(mut command: Value) -> Value {
    let browser = browser();
    let id = browser.next.fetch_add(1, Ordering::Relaxed);
    command["id"] = json!(id);
    let (sender, answer) = oneshot::channel();
    browser.waiting.lock().unwrap().insert(id, sender);
    writeln!(browser.commands.lock().unwrap(), "{command}").expect("the browser's driver");
    // It has deadlines of its own, and says what it waited for.
    let answer = timeout(PATIENCE * 2, answer).await.expect("an answer of the browser");
    let mut answer = answer.expect("the browser's driver has ended");
    assert!(answer["error"].is_null(), "{command}: {}", answer["error"]);
    answer["ok"].take()
}

/// A tab in a window of its own.
pub(super) struct Tab {
    name: String,
    port: u16,
}

impl Tab {
    /// Of a browser like this: see Playwright's `browser.newContext`.
    pub(super) async fn open(site: &Site, options: Value) -> Self {
        let name = call(json!({ "command": "open", "options": options })).await;
        Self { name: name.as_str().unwrap().to_owned(), port: site.address.port() }
    }

    async fn call(&self, mut command: Value) -> Value {
        command["tab"] = json!(self.name);
        call(command).await
    }

    /// Asks the site for this; the status of the answer.
    pub(super) async fn go(&self, target: &str) -> u64 {
        let url = format!("http://app.test:{}{target}", self.port);
        self.call(json!({ "command": "go", "url": url })).await.as_u64().unwrap()
    }

    pub(super) async fn evaluate(&self, script: &str) -> Value {
        self.call(json!({ "command": "evaluate", "script": script })).await
    }

    /// Waits until this script is true, on this page or on the one that it goes on to.
    pub(super) async fn until(&self, script: &str) {
        self.call(json!({ "command": "until", "script": script })).await;
    }

    /// Waits until there is such a text.
    pub(super) async fn sees(&self, text: &str) {
        self.call(json!({ "command": "sees", "text": text })).await;
    }

    pub(super) async fn click(&self, selector: &str) {
        self.call(json!({ "command": "click", "selector": selector })).await;
    }

    /// Requests like this get no answer.
    pub(super) async fn starve(&self, pattern: &str) {
        self.call(json!({ "command": "block", "pattern": pattern, "how": "starve" })).await;
    }

    /// Requests like this are refused.
    pub(super) async fn refuse(&self, pattern: &str) {
        self.call(json!({ "command": "block", "pattern": pattern, "how": "refuse" })).await;
    }

    /// How many requests it has made whose URL contains this.
    pub(super) async fn requests(&self, part: &str) -> usize {
        let all = self.call(json!({ "command": "requests" })).await;
        let all = all.as_array().unwrap();
        all.iter().filter(|url| url.as_str().unwrap().contains(part)).count()
    }

    /// Asserts that nothing stands in anybody's way, and nothing went wrong in the page.
    pub(super) async fn is_sound(&self) {
        let violations = self.call(json!({ "command": "audit" })).await;
        assert_eq!(violations, json!([]), "accessibility");
        let complaints = self.call(json!({ "command": "complaints" })).await;
        assert_eq!(complaints, json!([]), "errors in the page");
    }

    pub(super) async fn picture(&self, path: &Path) {
        self.call(json!({ "command": "picture", "path": path })).await;
    }

    pub(super) async fn close(self) {
        self.call(json!({ "command": "close" })).await;
    }
}
