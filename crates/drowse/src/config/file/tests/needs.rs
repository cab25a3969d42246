use super::read_text;

#[test]
fn what_is_needed_is_one_name_or_several() {
    let config = read_text(
        "workloads:\n  app: { container: { name: app }, needs: [db, cache], group: shop }\n  \
           db: { container: { name: db }, needs: disk, ready: healthy }\n",
    )
    .unwrap();
    let needs = |at: usize| config.workloads[at].settings.needs.as_ref().unwrap().value.clone();
    assert_eq!(
        (needs(0), needs(1)),
        (vec!["db".to_owned(), "cache".to_owned()], vec!["disk".to_owned()])
    );
}

#[test]
fn row_12_a_cycle_is_refused_when_the_file_is_read() {
    let errors = read_text(
        "workloads:\n  a: { container: { name: a }, needs: [b, x] }\n  \
           b: { container: { name: b }, needs: c }\n  c: { container: { name: c }, needs: [a] }\n  \
           d: { container: { name: d }, needs: [a, d] }\n",
    )
    .unwrap_err();
    insta::assert_snapshot!(errors, @r"
    error: it needs itself: a -> b -> c -> a
     --> drowse.yaml:2:39
      |
    2 |   a: { container: { name: a }, needs: [b, x] }
      |                                       ^

    error: it needs itself: d -> d
     --> drowse.yaml:5:39
      |
    5 |   d: { container: { name: d }, needs: [a, d] }
      |                                       ^
    ");
}

#[test]
fn a_name_that_nothing_can_have_is_refused_when_the_file_is_read() {
    let errors = read_text(
        "engines: {}\nworkloads:\n  \
           app: { container: { process: { command: [app] } }, needs: [db, cahce], ready: healthy }\n  \
           cache: { container: { process: { command: [cache] } } }\n",
    )
    .unwrap_err();
    insta::assert_snapshot!(errors, @r"
    error: there is no workload `db`
     --> drowse.yaml:3:61
      |
    3 |   app: { container: { process: { command: [app] } }, needs: [db, cahce], ready: healthy }
      |                                                             ^

    error: there is no workload `cahce`: did you mean `cache`?
     --> drowse.yaml:3:61
      |
    3 |   app: { container: { process: { command: [app] } }, needs: [db, cahce], ready: healthy }
      |                                                             ^

    error: a process has no health check: leave `ready` out
     --> drowse.yaml:3:81
      |
    3 |   app: { container: { process: { command: [app] } }, needs: [db, cahce], ready: healthy }
      |                                                                                 ^^^^^^^
    ");
}

#[test]
fn what_a_cluster_has_not_and_what_is_no_default_is_refused() {
    let errors = read_text(
        "engines: { pve: { proxmox: { url: https://pve, token: a@pve!b, secret_env: S } } }\n\
         defaults: { needs: [db] }\n\
         workloads: { db: { container: { vmid: 201 }, ready: healthy } }\n",
    )
    .unwrap_err();
    insta::assert_snapshot!(errors, @r"
    error: `needs` is about one workload: say it there
     --> drowse.yaml:2:13
      |
    2 | defaults: { needs: [db] }
      |             ^^^^^

    error: containers of Proxmox have no health checks: leave `ready` out
     --> drowse.yaml:3:53
      |
    3 | workloads: { db: { container: { vmid: 201 }, ready: healthy } }
      |                                                     ^^^^^^^
    ");
}
