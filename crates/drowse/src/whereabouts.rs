//! Where drowse itself runs: in a container or not, in which, and what each engine knows of it.

mod machine;

use std::{env, fs, sync::Arc};

use drowse_gateway::Vantage;
use drowse_provider::{
    Deadline, Details, Engine, Error, ErrorKind, NetworkMode, PublishedPort, Reach, Reference,
};

pub(crate) use machine::{Machine, own_addresses};

/// How many letters an engine's whole id has, and the beginning of it that Docker takes for the host
/// name of a container that is given none.
const ID: usize = 64;
const SHORT_ID: usize = 12;

/// Names drowse's own container, where it cannot be found out for certain.
pub(crate) const NAME_VARIABLE: &str = "DROWSE_CONTAINER";

/// What the kernel tells of the container that this process runs in. None of it is certain: another
/// engine's container may be around the engine, too. So each engine is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    /// The most certain first. Empty: in no container.
    candidates: Vec<Candidate>,
    host_name: String,
}

/// A container that this process may run in.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    /// An id, or the beginning of one, or as the user says.
    reference: Reference,
    /// Mounts and host name are those of the container whose network this one lives in, if it lives
    /// in another one's.
    may_be_holder: bool,
}

/// drowse itself, as one engine has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Here {
    /// From where this engine's containers are dialled.
    pub(crate) vantage: Vantage,
    /// The container that drowse runs in, if it is one of this engine's.
    pub(crate) own: Option<Arc<Own>>,
    /// The machine that drowse runs on, for an engine whose containers are machines in their own
    /// right; else empty.
    pub(crate) machine: Arc<Machine>,
}

/// The container that drowse itself runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Whether drowse may run in another one instead, which lives in the network of this one.
    pub(crate) may_be_holder: bool,
    /// Id and name of the container whose network it lives in.
    pub(crate) holder: Option<(String, String)>,
    /// How the ports of the network that it lives in are published.
    pub(crate) published: Vec<PublishedPort>,
    /// Its own networks' names. Ordered.
    pub(crate) networks: Vec<String>,
}

impl Whereabouts {
    /// Of this process.
    pub(crate) fn of_this_process() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let system = rustix::system::uname();
        let host_name = system.nodename().to_string_lossy();
        let mut whereabouts =
            Self::from_texts(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"), &host_name);
        if let Some(name) = env::var(NAME_VARIABLE).ok().filter(|name| !name.is_empty()) {
            let named = Candidate { reference: Reference::Name(name), may_be_holder: false };
            whereabouts.candidates.insert(0, named);
        }
        whereabouts
    }

    /// In this container, for the tests of those who ask.
    #[cfg(test)]
    pub(crate) fn inside(container: Reference) -> Self {
        let candidates = vec![Candidate { reference: container, may_be_holder: false }];
        Self { candidates, host_name: "drowse".to_owned() }
    }

    fn from_texts(mountinfo: &str, cgroup: &str, host_name: &str) -> Self {
        let mounts = mountinfo.lines().filter_map(of_mount);
        let groups = cgroup.lines().filter_map(of_control_group);
        let is_short_id = host_name.len() == SHORT_ID && is_hexadecimal(host_name);
        let groups = groups.map(|id| (id, false));
        let others = mounts.chain(is_short_id.then_some(host_name)).map(|id| (id, true));
        let mut ids: Vec<(&str, bool)> = Vec::new();
        for (id, may_be_holder) in groups.chain(others) {
            if !ids.iter().any(|(known, _)| known.starts_with(id)) {
                ids.push((id, may_be_holder));
            }
        }
        let candidates = ids.into_iter().map(|(id, may_be_holder)| Candidate {
            reference: Reference::Id(id.to_owned()),
            may_be_holder,
        });
        Self { candidates: candidates.collect(), host_name: host_name.to_owned() }
    }

    /// Whether it runs in a container, as far as anything tells.
    pub(crate) fn is_in_a_container(&self) -> bool {
        !self.candidates.is_empty()
    }

    /// Whether the container of this id may be drowse's own.
    pub(crate) fn may_be(&self, id: &str, name: &str) -> bool {
        self.candidates.iter().any(|candidate| match &candidate.reference {
            Reference::Id(beginning) => id.starts_with(beginning),
            Reference::Name(its) => name == its,
            _ => false,
        })
    }

    /// Whether an engine has to be asked before it is known what drowse is to it.
    pub(crate) fn matters_to(&self, engine: &dyn Engine) -> bool {
        self.is_in_a_container() || engine.reach() == Reach::Routed
    }

    /// Asks an engine which of its containers this is. Reads, and nothing else.
    ///
    /// # Errors
    /// What passes: the engine is to be asked again. One that refuses does not know us.
    pub(crate) async fn seen_by(
        &self,
        engine: &dyn Engine,
        deadline: Deadline,
    ) -> Result<Here, Error> {
        if engine.reach() == Reach::Routed {
            // Inside one, drowse sees neither its number nor its name; from any other place its
            // containers are reached alike.
            let machine = Arc::new(Machine::of_this_process());
            return Ok(Here { machine, ..Here::default() });
        }
        for candidate in &self.candidates {
            let provider = engine.provider(&candidate.reference)?;
            match provider.inspect(deadline).await {
                Ok(details) if details.observation.status.is_alive() => {
                    return Ok(Here {
                        vantage: Vantage::inside(&details),
                        own: Some(Arc::new(Own::of(details, candidate.may_be_holder))),
                        ..Here::default()
                    });
                }
                Err(error) if error.is_retryable() || matches!(error.kind(), ErrorKind::Closed) => {
                    return Err(error);
                }
                // One that does not run is not us, and one that is refused or unknown neither.
                Ok(_) | Err(_) => {}
            }
        }
        // An engine inside the same container as drowse has the same host name.
        let is_beside_us = !matches!(engine.reach(), Reach::Remote(_))
            && engine.machine().is_some_and(|machine| machine == self.host_name);
        let vantage =
            if self.is_in_a_container() && !is_beside_us { Vantage::Apart } else { Vantage::Host };
        Ok(Here { vantage, ..Here::default() })
    }
}

impl Own {
    fn of(details: Details, may_be_holder: bool) -> Self {
        let Details { id, name, network_mode, holder, networks, published, .. } = details;
        let (holder, published) = match (network_mode, holder) {
            (NetworkMode::Container(_), Some(holder)) => {
                (Some((holder.id, holder.name)), holder.published)
            }
            (NetworkMode::Container(holder), None) => (Some((holder.clone(), holder)), published),
            _ => (None, published),
        };
        let networks = networks.into_iter().map(|network| network.name).collect();
        Self { id, name, may_be_holder, holder, published, networks }
    }
}

/// The container whose file is mounted at one of the places where every engine mounts one of its
/// own: `…/containers/ID/hostname` (Docker), `…/overlay-containers/ID/userdata/hostname` (Podman).
fn of_mount(line: &str) -> Option<&str> {
    // 36 35 98:0 ROOT MOUNT-POINT options…
    let mut fields = line.split(' ').skip(3);
    let (root, mount_point) = (fields.next()?, fields.next()?);
    let file = mount_point.strip_prefix("/etc/")?;
    if !matches!(file, "hostname" | "hosts" | "resolv.conf") {
        return None;
    }
    let folder = root.strip_suffix(file)?.strip_suffix('/')?;
    let folder = folder.strip_suffix("/userdata").unwrap_or(folder);
    let (parent, id) = folder.rsplit_once('/')?;
    (parent.ends_with("containers") && is_id(id)).then_some(id)
}

/// The innermost container of a path such as `/docker/ID`, `/system.slice/docker-ID.scope` or
/// `/machine.slice/libpod-ID.scope/container`.
fn of_control_group(line: &str) -> Option<&str> {
    let path = line.splitn(3, ':').nth(2)?;
    path.rsplit('/').find_map(|part| {
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let id = part.rsplit_once('-').map_or(part, |(_, id)| id);
        is_id(id).then_some(id)
    })
}

fn is_id(text: &str) -> bool {
    text.len() == ID && is_hexadecimal(text)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
