//! Who may enter.

use super::*;

#[test]
fn everybody_is_kept_out_as_is_said() {
    let config = from_text(
        "defaults:\n  \
           allow: [192.168.0.0/16, 10.0.0.7]\n  \
           forward_auth: { url: \"http://authelia:9091/api\", response_headers: [Remote-User] }\n\
         workloads:\n  \
           wiki:\n    \
             container: { name: wiki }\n    \
             allow: 10.0.0.0/8\n    \
             routes:\n      \
               - { host: a.example, forward_auth: off, basic_auth: { users_file: /etc/users } }\n",
    )
    .unwrap();
    let workload = &config.workloads[0];
    let access = workload.settings.access.clone().or(&config.defaults.access);
    assert_eq!(access.allow.unwrap().value, ["10.0.0.0/8".parse().unwrap()]);
    let forward = access.forward.unwrap().value.unwrap();
    assert_eq!(forward.url, "http://authelia:9091/api");
    assert_eq!(forward.response_headers, ["remote-user"]);
    let route = &workload.routes.as_ref().unwrap()[0].access;
    assert_eq!(route.forward.as_ref().unwrap().value, None);
    let basic = route.basic.as_ref().unwrap().value.as_ref().unwrap();
    assert_eq!((basic.realm.as_str(), basic.pass_on), ("drowse", false));
}

#[test]
fn what_is_wrong_with_who_may_enter_is_told() {
    let wrong = from_text(
        "defaults:\n  \
           allow: []\n  \
           basic_auth: /etc/users\n\
         workloads:\n  \
           wiki:\n    \
             container: { name: wiki }\n    \
             allow: 10.0.0.1/8\n    \
             basic_auth: { realm: \"a\\\"b\", password: x }\n    \
             routes:\n      \
               - { host: a.example, forward_auth: { ca_file: /ca.pem } }\n      \
               - { host: b.example, forward_auth: { url: \"http://ann:secret@b/\" } }\n      \
               - host: c.example\n        \
                 forward_auth: { url: \"http://b\", ca_file: /ca.pem, response_headers: [Host, \"a b\"] }\n",
    )
    .unwrap_err();
    assert!(!wrong.contains("secret"), "{wrong}");
    for part in [
        "from nowhere nobody can come",
        "write `10.0.0.0/8` for the whole network",
        "without quotes",
        "unknown key `password`",
        "`users_file` is missing",
        "`url` is missing",
        "is no URL to ask",
        "`ca_file` goes with a URL of `https`",
        "`host` cannot be set",
        "`a b` is no name of a header",
    ] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
}
