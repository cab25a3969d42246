//! Who may enter by a route, as it is planned.

use drowse_gateway::{Access, AllowedNetworks};

use crate::{
    config::{AccessSettings, Origin},
    output::chain,
};

/// What comes of what is said of the route, and of all others. A label narrows what the file allows, and
/// never widens it.
pub(super) fn access(own: &AccessSettings, inherited: &AccessSettings) -> Access {
    let mut access = Access::open();
    access.networks = networks(own, inherited);
    let all = own.clone().or(inherited);
    access.basic = all.basic.and_then(|basic| basic.value);
    access.forward = all.forward.and_then(|forward| forward.value).map(Box::new);
    access
}

fn networks(own: &AccessSettings, inherited: &AccessSettings) -> AllowedNetworks {
    let is_of_file = own.allow.as_ref().is_some_and(|it| matches!(it.origin, Origin::File(_)));
    let inherited = inherited.allow.as_ref().filter(|_| !is_of_file);
    let lists = inherited.into_iter().chain(&own.allow);
    lists.fold(AllowedNetworks::all(), |all, list| all.narrowed_to(list.value.iter().copied()))
}

/// What is checked, in words.
pub(crate) fn words(access: &Access) -> Vec<String> {
    let basic = access.basic.as_ref();
    let basic = basic.map(|it| format!("with a password of `{}`", it.users_file.display()));
    let forward = access.forward.as_ref().map(|it| format!("if `{}` agrees", it.url));
    networks_in_words(&access.networks).into_iter().chain(basic).chain(forward).collect()
}

/// The same of a TCP or UDP route.
pub(crate) fn networks_in_words(networks: &AllowedNetworks) -> Option<String> {
    (!networks.are_all()).then(|| format!("only from {networks}"))
}

/// What a TCP or UDP route says of its own and cannot have: nobody there says who he is.
pub(super) fn only_of_http(own: &AccessSettings) -> impl Iterator<Item = String> {
    let said = [("basic_auth", own.basic.is_some()), ("forward_auth", own.forward.is_some())];
    let said = said.into_iter().filter(|(_, is_said)| *is_said);
    said.map(|(key, _)| format!("`{key}` is about HTTP: of `tcp` and `udp` there is `allow`"))
}

/// What is wrong with the files that routes name.
pub(crate) fn trouble(access: &Access) -> Option<String> {
    let basic = access.basic.as_ref()?;
    match basic.examine() {
        Ok(0) => Some(format!(
            "nobody is in `{}`: add somebody with `htpasswd -B`",
            basic.users_file.display()
        )),
        Ok(_) => None,
        Err(error) => Some(chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::{
        access_in_words, networks_in_words,
        tests::{config, docker, enabled, lines, make},
    };

    #[test]
    fn a_label_narrows_what_the_file_allows() {
        let config = config(
            "defaults:\n  \
               allow: 192.168.0.0/16\n  \
               forward_auth: { url: \"http://127.0.0.1:9091/check\" }\n\
             workloads:\n  \
               wiki:\n    \
                 container: { name: wiki }\n    \
                 routes:\n      \
                   - { host: a.example, allow: 0.0.0.0/0, forward_auth: off }\n      \
                   - { host: b.example, basic_auth: { users_file: /etc/users } }\n",
        );
        let labels = [("drowse.host", "c.example"), ("drowse.allow", "10.0.0.0/8")];
        let port = [("drowse.tcp", "5000"), ("drowse.allow", "192.168.1.0/24")];
        let containers =
            [enabled("wiki", 1, &[]), enabled("web", 1, &labels), enabled("db", 1, &port)];
        let plan = make(&config, &docker(containers));
        assert_eq!(lines(&plan), "");
        let find = |name: &str| plan.workloads.iter().find(|it| it.name == name).unwrap();
        let words =
            |name: &str, route: usize| access_in_words(&find(name).routes[route].access).join("; ");
        assert_eq!(words("wiki", 0), "only from 0.0.0.0/0");
        assert_eq!(
            words("wiki", 1),
            "only from 192.168.0.0/16; with a password of `/etc/users`; if \
             `http://127.0.0.1:9091/check` agrees"
        );
        assert_eq!(
            words("web", 0),
            "only from 192.168.0.0/16 and within 10.0.0.0/8; if `http://127.0.0.1:9091/check` agrees"
        );
        assert_eq!(
            networks_in_words(&find("db").port_routes[0].networks).unwrap(),
            "only from 192.168.0.0/16 and within 192.168.1.0/24"
        );
    }

    #[test]
    fn ports_know_no_passwords_and_labels_name_no_files() {
        let config = config(
            "workloads:\n  \
               db:\n    \
                 container: { name: db }\n    \
                 routes: [{ tcp: 5000, basic_auth: { users_file: /etc/users } }]\n",
        );
        let labels = [
            ("drowse.host", "c.example"),
            ("drowse.basic-auth", "/etc/users"),
            ("drowse.routes.api.forward-auth", "http://a"),
        ];
        let plan = make(
            &config,
            &docker([
                enabled("db", 1, &[]),
                enabled("web", 1, &labels),
                enabled("bare", 1, &[("drowse.allow", "10.0.0.0/8")]),
            ]),
        );
        let told = lines(&plan);
        for part in [
            "`basic_auth` is about HTTP: of `tcp` and `udp` there is `allow`",
            "drowse.basic-auth",
            "drowse.routes.api.forward-auth",
            "only the configuration file can say this",
            "who may enter, without a host",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
