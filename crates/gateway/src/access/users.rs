//! A file of users and the hashes of their passwords.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error as StdError,
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use argon2::{Argon2, PasswordHash, PasswordVerifier as _};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::basic::Credentials;
use crate::{disk::Looks, seldom::Seldom};

/// More than any file of users.
const LARGEST_FILE: u64 = 1 << 20;

/// How often the file is looked at, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long a password that was right need not be hashed again.
const REMEMBERED: Duration = Duration::from_mins(5);

/// How many of them are remembered.
const MOST_REMEMBERED: usize = 1_024;

/// The most memory that an Argon2 hash may ask for, in KiB.
const MOST_MEMORY: u32 = 256 * 1024;

/// The most work that a bcrypt hash may ask for: some seconds.
const MOST_COST: u32 = 15;

/// Why a file of users cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsersError {
    /// It cannot be read.
    #[error("cannot read the users in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is no user.
    #[error("`{}`, line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line, from 1 on.
        line: usize,
        /// What is wrong with it, and what to do. Nothing of a hash is in it.
        why: String,
    },
}

/// The users of a file, as it is now.
pub(super) struct Users {
    path: PathBuf,
    looks: Looks,
    present: Mutex<Present>,
    /// When it was said last that the file cannot be looked at.
    complained: Seldom,
}

#[derive(Default)]
struct Present {
    looked: Option<Instant>,
    stamp: Option<Stamp>,
    known: Option<Arc<Known>>,
    /// What was said last of what is wrong, so that it is said once.
    complaint: Option<String>,
}

/// What changes when the file does.
type Stamp = Option<[i64; 6]>;

/// The users of one state of the file.
pub(super) struct Known {
    users: BTreeMap<String, Hash>,
    /// Makes what is remembered worthless outside of this process.
    key: [u8; 32],
    /// Until when passwords that were right need not be hashed again.
    right: Mutex<HashMap<[u8; 32], Instant>>,
}

#[derive(Clone)]
enum Hash {
    Bcrypt(String),
    Argon2(String),
}

impl Users {
    pub(super) fn new(path: PathBuf) -> Self {
        let (present, complained) = (Mutex::default(), Seldom::default());
        Self { path, looks: Looks::new(), present, complained }
    }

    /// How many there are. Blocks.
    pub(super) fn read(path: &Path) -> Result<usize, UsersError> {
        read(path).map(|users| users.len())
    }

    /// The users as they are now; of a file that became unusable, or whose disk hangs, as they were. `None`,
    /// after a word in the log: there never were any.
    pub(super) async fn now(this: &Arc<Self>) -> Option<Arc<Known>> {
        {
            let mut present = this.present();
            if present.looked.is_some_and(|looked| looked.elapsed() < LOOK_AGAIN) {
                return present.known.clone();
            }
            if present.known.is_some() {
                // Whoever comes meanwhile goes by what is known.
                present.looked = Some(Instant::now());
            }
        }
        let looking = Arc::clone(this);
        match this.looks.look(move || looking.look()).await {
            Ok(known) => known,
            Err(error) => {
                let known = this.present().known.clone();
                if this.complained.is_due() {
                    let (path, error) = (this.path.display(), &error as &dyn StdError);
                    let what = if known.is_some() {
                        "those that were known stay"
                    } else {
                        "nobody may enter"
                    };
                    tracing::warn!(%path, error, "the file of users cannot be looked at; {what}");
                }
                known
            }
        }
    }

    fn look(&self) -> Option<Arc<Known>> {
        // Taken before the file is read: if it changes meanwhile, it is read again.
        let stamp = stamp(&self.path);
        let is_known = {
            let present = self.present();
            present.known.is_some() && present.stamp == Some(stamp)
        };
        let read = (!is_known).then(|| read(&self.path).and_then(|users| self.known(users)));
        let mut present = self.present();
        present.looked = Some(Instant::now());
        match read {
            None => {}
            Some(Ok(known)) => {
                let (path, users) = (self.path.display(), known.users.len());
                tracing::info!(%path, users, "the users were read");
                present.known = Some(Arc::new(known));
                present.stamp = Some(stamp);
                present.complaint = None;
            }
            Some(Err(error)) => {
                present.stamp = Some(stamp);
                let words = chain(&error);
                if present.complaint.as_deref() != Some(&words) {
                    let what = if present.known.is_some() {
                        "those that were known stay: mend the file, which is read again by itself"
                    } else {
                        "nobody may enter: mend the file, which is read again by itself"
                    };
                    tracing::warn!(error = &error as &dyn StdError, "no users can be read; {what}");
                    present.complaint = Some(words);
                }
            }
        }
        present.known.clone()
    }

    fn known(&self, users: BTreeMap<String, Hash>) -> Result<Known, UsersError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| UsersError::Read {
            path: self.path.clone(),
            source: io::Error::other(error.to_string()),
        })?;
        Ok(Known { users, key, right: Mutex::default() })
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether this password was right a short while ago.
    pub(super) fn was_right(&self, credentials: &Credentials) -> bool {
        let until = self.right().get(&self.digest(credentials)).copied();
        until.is_some_and(|until| Instant::now() < until)
    }

    /// Hashes the password: it takes its time, for a name that nobody has as well.
    pub(super) fn verify(&self, credentials: &Credentials) -> bool {
        let digest = self.digest(credentials);
        let known = self.users.get(&credentials.name);
        let Some(hash) = known.or_else(|| self.decoy(&credentials.name)) else { return false };
        let is_right = hash.is_of(credentials.password.expose_secret()) && known.is_some();
        if is_right {
            self.remember(digest);
        }
        is_right
    }

    /// Whose hash stands in for that of a name which nobody has: always the same one's, so that its cost
    /// tells nothing.
    fn decoy(&self, name: &str) -> Option<&Hash> {
        let digest = Sha256::new().chain_update(self.key).chain_update(name).finalize();
        let number = digest.iter().take(4).fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
        self.users.values().nth(number.checked_rem(self.users.len())?)
    }

    fn remember(&self, digest: [u8; 32]) {
        let mut right = self.right();
        if right.len() >= MOST_REMEMBERED {
            let now = Instant::now();
            right.retain(|_, until| now < *until);
        }
        if right.len() < MOST_REMEMBERED {
            right.insert(digest, Instant::now() + REMEMBERED);
        }
    }

    fn digest(&self, credentials: &Credentials) -> [u8; 32] {
        let Credentials { name, password } = credentials;
        let length = u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes();
        let digest = Sha256::new().chain_update(self.key).chain_update(length).chain_update(name);
        digest.chain_update(password.expose_secret()).finalize().into()
    }

    fn right(&self) -> MutexGuard<'_, HashMap<[u8; 32], Instant>> {
        self.right.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hash {
    /// The error says what is wrong, and what to do.
    fn new(text: &str) -> Result<Self, String> {
        if text.starts_with("$2") {
            let read: Result<bcrypt::HashParts, _> = text.parse();
            let cost = read.map_err(|_| "its bcrypt hash is damaged: make it anew".to_owned())?;
            if cost.get_cost() > MOST_COST {
                return Err(format!("its bcrypt hash has a cost beyond {MOST_COST}: make it anew"));
            }
            return Ok(Self::Bcrypt(text.to_owned()));
        }
        if text.starts_with("$argon2") {
            let read = PasswordHash::new(text);
            let read = read.map_err(|_| "its Argon2 hash is damaged: make it anew".to_owned())?;
            if read.params.get_decimal("m").is_some_and(|memory| memory > MOST_MEMORY) {
                return Err("its Argon2 hash asks for more than 256 MiB: make it anew".to_owned());
            }
            return Ok(Self::Argon2(text.to_owned()));
        }
        Err("its password is hashed in a way that is unknown or no longer safe: make it anew with \
             `htpasswd -B` (bcrypt), or as an Argon2 hash"
            .to_owned())
    }

    /// In constant time, as far as the hash goes: the crates see to that.
    fn is_of(&self, password: &str) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2(hash) => {
                Argon2::default().verify_password(password.as_bytes(), hash.as_str()).is_ok()
            }
        }
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Hash")
    }
}

fn read(path: &Path) -> Result<BTreeMap<String, Hash>, UsersError> {
    let reading = || {
        let mut text = String::new();
        File::open(path)?.take(LARGEST_FILE + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LARGEST_FILE {
            return Err(io::Error::other("it is larger than 1 MiB"));
        }
        Ok(text)
    };
    let text = reading().map_err(|source| UsersError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|(line, why)| UsersError::Line { path: path.to_owned(), line, why })
}

fn parse(text: &str) -> Result<BTreeMap<String, Hash>, (usize, String)> {
    let mut users = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let Some((name, hash)) = text.split_once(':').filter(|(name, _)| !name.is_empty()) else {
            return Err((line, "expected `name:hash`, as `htpasswd -B` writes it".to_owned()));
        };
        let about = |why: &str| (line, format!("user `{}`: {why}", name.escape_debug()));
        let hash = Hash::new(hash.trim()).map_err(|why| about(&why))?;
        if users.insert(name.to_owned(), hash).is_some() {
            return Err(about("it is there twice: leave one out"));
        }
    }
    Ok(users)
}

fn stamp(path: &Path) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some([
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.ctime(),
        metadata.ctime_nsec(),
        metadata.ino().cast_signed(),
        metadata.size().cast_signed(),
    ])
}

fn chain(error: &UsersError) -> String {
    match error {
        UsersError::Read { source, .. } => format!("{error}: {source}"),
        UsersError::Line { .. } => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::disk::PATIENCE;

    fn known(text: &str) -> Known {
        Known { users: parse(text).unwrap(), key: [7; 32], right: Mutex::default() }
    }

    fn said(name: &str, password: &str) -> Credentials {
        Credentials { name: name.to_owned(), password: password.into() }
    }

    /// As `htpasswd -B -C 4` and `argon2 -id` write them.
    fn file() -> String {
        let bcrypt = bcrypt::hash_with_result("secret", 4).unwrap();
        let bcrypt = bcrypt.format_for_version(bcrypt::Version::TwoY);
        let argon2 = argon2::PasswordHasher::hash_password_with_salt(
            &Argon2::new(
                argon2::Algorithm::Argon2id,
                argon2::Version::V0x13,
                argon2::Params::new(64, 1, 1, None).unwrap(),
            ),
            b"other",
            b"0123456789abcdef",
        );
        let argon2 = argon2.unwrap();
        format!("# who may enter\n\nann:{bcrypt}\nbob:{argon2}\n")
    }

    /// Whoever reads it waits for somebody who writes: as on a disk that hangs.
    fn hangs(path: &Path) {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }

    /// Lets its readers go.
    fn answers(path: &Path) {
        drop(fs::OpenOptions::new().write(true).open(path).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_takes_one_thread_and_changes_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        hangs(&path);
        let users = Arc::new(Users::new(path.clone()));
        let now = || {
            let users = Arc::clone(&users);
            tokio::spawn(async move { Users::now(&users).await })
        };
        let all = [now(), now(), now()];
        while !users.looks.is_busy() {
            tokio::task::yield_now().await;
        }
        tokio::time::advance(PATIENCE).await;
        for one in all {
            assert!(one.await.unwrap().is_none());
        }
        // From then on nobody waits, and nothing more is taken, until it answers.
        assert!(Users::now(&users).now_or_never().unwrap().is_none());
        answers(&path);
        while users.looks.is_busy() {
            tokio::task::yield_now().await;
        }
        fs::remove_file(&path).unwrap();
        fs::write(&path, file()).unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert!(Users::now(&users).await.unwrap().verify(&said("ann", "secret")));

        fs::remove_file(&path).unwrap();
        hangs(&path);
        tokio::time::advance(LOOK_AGAIN).await;
        let first = now();
        while !users.looks.is_busy() {
            tokio::task::yield_now().await;
        }
        // Whoever comes meanwhile goes by what is known, and so does the one who looked, after a while.
        assert!(Users::now(&users).now_or_never().unwrap().is_some());
        tokio::time::advance(PATIENCE).await;
        assert!(first.await.unwrap().is_some());
        assert!(Users::now(&users).now_or_never().unwrap().is_some());
        answers(&path);
    }

    #[test]
    fn a_password_opens_for_its_own_name_alone() {
        let known = known(&file());
        assert!(known.verify(&said("ann", "secret")));
        assert!(known.verify(&said("bob", "other")));
        for (name, password) in [("ann", "other"), ("bob", "secret"), ("eve", "secret"), ("", "")] {
            assert!(!known.verify(&said(name, password)), "{name}");
            assert!(!known.was_right(&said(name, password)), "{name}");
        }
        assert!(known.was_right(&said("ann", "secret")) && known.was_right(&said("bob", "other")));
        assert!(!known.was_right(&said("annsecret", "")));
    }

    #[test]
    fn a_name_that_nobody_has_is_hashed_by_the_same_one_each_time() {
        let known = known(&file());
        let decoys: Vec<_> = (0..16).map(|it| known.decoy(&it.to_string()).unwrap()).collect();
        for (number, decoy) in decoys.iter().enumerate() {
            assert!(std::ptr::eq(*decoy, known.decoy(&number.to_string()).unwrap()));
        }
        assert!(decoys.iter().any(|decoy| matches!(decoy, Hash::Bcrypt(_))));
        assert!(decoys.iter().any(|decoy| matches!(decoy, Hash::Argon2(_))));
    }

    #[test]
    fn what_is_no_user_is_named_by_its_line() {
        let wrong = |text: &str| {
            let (line, why) = parse(text).unwrap_err();
            UsersError::Line { path: "/etc/drowse/users".into(), line, why }.to_string()
        };
        let twice = file() + "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";
        let all = [
            wrong("ann"),
            wrong("# ann\nann:$apr1$abc$def"),
            wrong("ann:$2y$05$abc"),
            wrong("ann:$argon2id$v=19$m=x$abc"),
            wrong(&twice),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        `/etc/drowse/users`, line 1: expected `name:hash`, as `htpasswd -B` writes it
        `/etc/drowse/users`, line 2: user `ann`: its password is hashed in a way that is unknown or no longer safe: make it anew with `htpasswd -B` (bcrypt), or as an Argon2 hash
        `/etc/drowse/users`, line 1: user `ann`: its bcrypt hash is damaged: make it anew
        `/etc/drowse/users`, line 1: user `ann`: its Argon2 hash is damaged: make it anew
        `/etc/drowse/users`, line 5: user `ann`: it is there twice: leave one out
        ");
    }
}
