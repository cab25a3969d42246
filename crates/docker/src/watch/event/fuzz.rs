//! A line of an engine's events.

use super::*;

#[test]
fn engine_events() {
    drowse_fuzz::target("engine_events", |input| {
        let Ok(Some(told)) = parse(input) else { return };
        // What is passed over may be no text.
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(input) else { return };
        assert!(json.is_object());
        let kind = json.get("Type").and_then(serde_json::Value::as_str);
        assert!(matches!(kind, None | Some("container" | "network")), "{kind:?}");
        let since = told.event.time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_nanos(), u128::try_from(told.nanoseconds).unwrap_or_default());
        if let Some(stop) = implied_stop(&told.event) {
            assert_eq!(stop.actor, told.event.actor);
            assert!(changes_state(&stop.action));
        }
        // The same once more from the same words.
        let again = parse(json.to_string().as_bytes()).unwrap().unwrap();
        assert_eq!((again.event, again.nanoseconds), (told.event, told.nanoseconds));
    });
}
