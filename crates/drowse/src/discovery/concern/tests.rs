use drowse_provider::{ContainerStatus, Reference};

use super::*;

fn one(name: &str, labels: &[(&str, &str)]) -> Summary {
    let labels =
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Summary::new(format!("id-{name}"), name, labels, ContainerStatus::Stopped)
}

fn of_shop(name: &str, depends_on: &str, more: &[(&str, &str)]) -> Summary {
    let own = [
        ("com.docker.compose.project", "shop"),
        ("com.docker.compose.service", name),
        ("com.docker.compose.depends_on", depends_on),
    ];
    one(name, &[&own, more].concat())
}

fn in_network_of(summary: Summary, holder: &str) -> Summary {
    summary.with_networks(NetworkMode::Container(holder.to_owned()), Vec::new())
}

const ENABLED: (&str, &str) = ("drowse.enable", "true");

fn wanted(references: &[&str], needed: &[&str]) -> Wanted {
    Wanted {
        in_file: InFile {
            references: references.iter().map(|name| Reference::Name((*name).to_owned())).collect(),
            needed: needed.iter().map(|name| (*name).to_owned()).collect(),
        },
        dialect: Dialect::Labels,
    }
}

fn names(census: &Census) -> Vec<&str> {
    census.concerned().map(|(_, name, _)| name).collect()
}

#[test]
fn what_is_needed_concerns_us_and_whatever_that_needs() {
    let list = [
        of_shop("web", "db:service_healthy:false", &[ENABLED]),
        of_shop("db", "disk:service_started:false", &[]),
        of_shop("disk", "", &[]),
        of_shop("other", "", &[]),
        one("app", &[ENABLED, ("drowse.needs", "cache")]),
        in_network_of(one("cache", &[]), "id-vpn"),
        one("vpn", &[]),
        one("stranger", &[("drowse.needs", "other")]),
        one("wiki", &[]),
        one("mail", &[]),
    ];
    let census = Census::of(&wanted(&["wiki"], &["mail"]), &list);
    // The stranger is not enabled, and says what it needs as well as compose's label would.
    let expected =
        ["app", "cache", "db", "disk", "mail", "other", "stranger", "vpn", "web", "wiki"];
    assert_eq!(names(&census), expected);
    assert!(census.concerned().all(|(_, name, is_in_file)| is_in_file == (name == "wiki")));
}

#[test]
fn who_needs_one_that_may_sleep_concerns_us_and_not_what_it_needs_besides() {
    let list = [
        of_shop("db", "", &[ENABLED]),
        of_shop("admin", "db:service_started:false,cache:service_started:false", &[]),
        of_shop("cache", "", &[]),
        of_shop("cron", "cache:service_started:false", &[]),
        one("vpn", &[ENABLED]),
        in_network_of(one("guest", &[]), "vpn"),
    ];
    assert_eq!(names(&Census::of(&wanted(&[], &[]), &list)), ["admin", "db", "guest", "vpn"]);
}

#[test]
fn what_one_needs_is_told_by_its_list_unless_that_says_nothing_of_networks() {
    let on_bridge =
        |one: Summary| one.with_networks(NetworkMode::Networks, vec!["bridge".to_owned()]);
    let list = [
        on_bridge(of_shop("web", "db:service_started:false", &[("drowse.needs", "cache")])),
        on_bridge(one("alone", &[ENABLED])),
        in_network_of(one("guest", &[ENABLED]), "vpn"),
        one("half-told", &[ENABLED, ("drowse.needs", "cache")]),
        on_bridge(one("half-read", &[ENABLED, ("drowse.needs", "ca che,cache")])),
    ];
    let wanted = wanted(&[], &[]);
    let mut census = Census::of(&wanted, &list);
    let service = NeedTarget::Service { project: "shop".to_owned(), service: "db".to_owned() };
    let cache = || NeedTarget::Called("cache".to_owned());
    assert_eq!(census.needs_of("id-web"), Some(vec![service, cache()]));
    assert_eq!(census.needs_of("id-alone"), Some(Vec::new()));
    let vpn = NeedTarget::Holder("vpn".to_owned());
    assert_eq!(census.needs_of("id-guest"), Some(vec![vpn]));
    assert_eq!(census.needs_of("id-half-told"), None);
    assert_eq!(census.needs_of("id-half-read"), Some(vec![cache()]));
    // Nor does an event say it, until a list does.
    let labels = [("drowse.needs", "cache")].map(|(key, value)| (key.into(), value.into()));
    census.heard_of(&wanted, "id-new", "new", &labels.into());
    assert_eq!(census.needs_of("id-new"), None);
    census.heard_of(&wanted, "id-alone", "alone", &[].into());
    assert_eq!(census.needs_of("id-alone"), Some(Vec::new()));
}

#[test]
fn who_comes_and_goes_is_counted() {
    let wanted = wanted(&[], &[]);
    let mut census = Census::of(&wanted, &[of_shop("db", "", &[])]);
    assert!(names(&census).is_empty());
    let web = of_shop("web", "db:service_started:false", &[ENABLED]);
    census.heard_of(&wanted, &web.id, &web.name, &web.labels);
    assert_eq!(names(&census), ["db", "web"]);
    // Only a read tells of its network.
    let mut guest = Details::new(
        "id-guest",
        "guest",
        drowse_provider::Observation::new(ContainerStatus::Stopped, None),
    );
    census.heard_of(&wanted, &guest.id, &guest.name, &guest.labels);
    assert!(!census.concerns_us("id-guest"));
    guest.network_mode = NetworkMode::Container("id-web".to_owned());
    census.learn(&wanted, &guest);
    assert!(census.concerns_us("id-guest"));
    census.forget("id-guest");
    assert_eq!(names(&census), ["db", "web"]);
}

#[test]
fn labels_that_nobody_reads_are_not_kept_and_are_no_news() {
    let wanted = wanted(&[], &[]);
    let listed = of_shop("web", "db", &[ENABLED, ("org.opencontainers.image.version", "1")]);
    let kept = wanted.of_concern(listed.labels.clone());
    let expected = [
        "com.docker.compose.depends_on",
        "com.docker.compose.project",
        "com.docker.compose.service",
        "drowse.enable",
    ];
    assert_eq!(kept.keys().collect::<Vec<_>>(), expected);
    assert!(wanted.are_same(&kept, &listed.labels));
    let other = of_shop("web", "db", &[ENABLED, ("drowse.idle", "1h")]);
    assert!(!wanted.are_same(&kept, &other.labels));
    assert!(!wanted.are_same(&kept, &of_shop("web", "db", &[]).labels));
}

#[test]
fn tags_of_machines_are_all_kept() {
    let notes = Dialect::Notes { engine: "pve".into(), hosts: [].into() };
    let wanted = Wanted { dialect: notes, ..wanted(&[], &[]) };
    let tagged = one("201", &[("backup", ""), ("drowse", "")]);
    assert_eq!(wanted.of_concern(tagged.labels.clone()), tagged.labels);
}
