//! What drowse's credential may do on a cluster, and how it is given what lacks.

use std::collections::{BTreeMap, BTreeSet};

use drowse_provider::Deadline;
use drowse_proxmox::{Client, ClientError, Credentials};

/// What is needed of each container, and nothing else.
pub(crate) const NEEDED: [&str; 2] = [SEEING, "VM.PowerMgmt"];

/// Without it a container cannot even be seen.
pub(crate) const SEEING: &str = "VM.Audit";

/// What the guide calls the role that has both.
pub(crate) const ROLE: &str = "Drowse";

/// The rights of one credential on one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Rights {
    client: Client,
    /// To whom they are given, as `pveum acl modify` has it.
    whom: String,
}

impl Rights {
    pub(super) fn of(client: Client, credentials: &Credentials) -> Self {
        let whom = match credentials {
            Credentials::Token { id, .. } => format!("--users {} --tokens '{id}'", id.user()),
            Credentials::Password { user, .. } => format!("--users {user}"),
            _ => String::new(),
        };
        Self { client, whom }
    }

    /// What lacks of what is needed of the container that this path is about. Cancel safe.
    ///
    /// # Errors
    /// What the cluster said.
    pub(crate) async fn missing_on(
        &self,
        path: &str,
        deadline: Deadline,
    ) -> Result<Vec<&'static str>, ClientError> {
        Ok(missing(&self.client.permissions_on(path, deadline).await?))
    }

    /// Why no container can be seen, whatever there is; `None` if some might be. Cancel safe.
    ///
    /// # Errors
    /// What the cluster said.
    pub(crate) async fn blindness(
        &self,
        deadline: Deadline,
    ) -> Result<Option<String>, ClientError> {
        Ok(self.blindness_of(&self.client.permissions(deadline).await?))
    }

    fn blindness_of(&self, held: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
        let anywhere: BTreeSet<String> = held.values().flatten().cloned().collect();
        let missing = missing(&anywhere);
        missing.contains(&SEEING).then(|| {
            format!(
                "its credential may not see any container, so that nothing is found on it: {}; \
                 `/vms` is all of them, `/vms/VMID` one",
                self.how_to_give("/vms", &missing)
            )
        })
    }

    /// What lacks, and the commands that give it.
    pub(crate) fn how_to_give(&self, path: &str, missing: &[&str]) -> String {
        let missing: Vec<_> = missing.iter().map(|privilege| format!("`{privilege}`")).collect();
        format!(
            "it lacks {} on `{path}`: on a node, `pveum acl modify {path} --roles {ROLE} {}` gives \
             the role that has it (`pveum role add {ROLE} --privs '{}'` makes the role)",
            missing.join(" and "),
            self.whom,
            NEEDED.join(" "),
        )
    }
}

fn missing(held: &BTreeSet<String>) -> Vec<&'static str> {
    NEEDED.into_iter().filter(|privilege| !held.contains(*privilege)).collect()
}

#[cfg(test)]
mod tests {
    use drowse_proxmox::{ClientOptions, Secret, Trust};

    use super::*;

    fn rights(credentials: &Credentials) -> Rights {
        let endpoints = vec!["https://pve1".parse().unwrap()];
        let options = ClientOptions::new(endpoints, credentials.clone(), Trust::System);
        Rights::of(Client::new(options).unwrap(), credentials)
    }

    fn secret() -> Secret {
        Secret::Given("s3cr3t".to_owned().into())
    }

    fn held(all: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        let set = |held: &[&str]| held.iter().map(|one| (*one).to_owned()).collect();
        all.iter().map(|(path, held)| ((*path).to_owned(), set(held))).collect()
    }

    #[tokio::test]
    async fn what_lacks_is_told_with_the_command_that_gives_it() {
        let token = Credentials::Token { id: "drowse@pve!main".parse().unwrap(), secret: secret() };
        let token = rights(&token);
        insta::assert_snapshot!(
            token.how_to_give("/vms/201", &["VM.PowerMgmt"]),
            @"it lacks `VM.PowerMgmt` on `/vms/201`: on a node, `pveum acl modify /vms/201 --roles Drowse --users drowse@pve --tokens 'drowse@pve!main'` gives the role that has it (`pveum role add Drowse --privs 'VM.Audit VM.PowerMgmt'` makes the role)"
        );
        let user = Credentials::Password { user: "drowse@pve".to_owned(), secret: secret() };
        insta::assert_snapshot!(
            rights(&user).how_to_give("/vms/201", &NEEDED),
            @"it lacks `VM.Audit` and `VM.PowerMgmt` on `/vms/201`: on a node, `pveum acl modify /vms/201 --roles Drowse --users drowse@pve` gives the role that has it (`pveum role add Drowse --privs 'VM.Audit VM.PowerMgmt'` makes the role)"
        );
    }

    /// As of a token with separated privileges where only its user was given the role.
    #[tokio::test]
    async fn a_credential_that_can_see_nothing_is_told_so() {
        let token = Credentials::Token { id: "drowse@pve!main".parse().unwrap(), secret: secret() };
        let token = rights(&token);
        let nothing =
            held(&[("/", &[]), ("/vms", &["VM.PowerMgmt"]), ("/access", &["User.Modify"])]);
        insta::assert_snapshot!(
            token.blindness_of(&nothing).unwrap(),
            @"its credential may not see any container, so that nothing is found on it: it lacks `VM.Audit` on `/vms`: on a node, `pveum acl modify /vms --roles Drowse --users drowse@pve --tokens 'drowse@pve!main'` gives the role that has it (`pveum role add Drowse --privs 'VM.Audit VM.PowerMgmt'` makes the role); `/vms` is all of them, `/vms/VMID` one"
        );
        assert!(token.blindness_of(&BTreeMap::new()).is_some());
        let some = held(&[("/", &[]), ("/vms/201", &["VM.Audit"])]);
        assert_eq!(token.blindness_of(&some), None);
    }
}
