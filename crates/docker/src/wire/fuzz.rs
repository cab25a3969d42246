//! What an engine tells of one container.

use super::*;
use crate::details::details_of;

#[test]
fn engine_inspect() {
    drowse_fuzz::target("engine_inspect", |input| {
        let Ok(inspected) = serde_json::from_slice::<Inspected>(input) else { return };
        let (id, name) = (inspected.id.clone(), inspected.name.clone());
        let details = details_of(inspected, &BTreeMap::new());
        assert_eq!(details.id, id);
        assert_eq!(details.name, name.strip_prefix('/').unwrap_or(&name));
        let is_alive = details.observation.status.is_alive();
        let mut addresses = details.networks.iter().flat_map(|network| &network.addresses);
        assert!(is_alive || addresses.next().is_none(), "old addresses may be a stranger's by now");
    });
}
