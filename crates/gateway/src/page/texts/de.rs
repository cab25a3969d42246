//! German.

use super::{Labels, Message};

pub(super) const LABELS: Labels = Labels {
    dependencies: "Was sie braucht",
    starting: "Startet",
    answering: "Wartet auf ihre Antwort",
    again: "Noch einmal versuchen",
    progress: "Wie weit sie ist",
    usual: "Dauert meist etwa {}",
    seconds: "{} s",
    minutes: "{} min",
};

pub(super) fn say(message: Message) -> (&'static str, &'static str) {
    match message {
        Message::Reading => ("Einen Moment", "Es wird nachgesehen, wie es steht."),
        Message::Waking => {
            ("Wacht auf", "Die Anwendung schlief, weil niemand sie brauchte. Gleich ist sie da.")
        }
        Message::Needs => ("Weckt, was nötig ist", "Sobald das da ist, geht es weiter."),
        Message::Answering => {
            ("Gleich so weit", "Die Anwendung ist gestartet und macht sich bereit.")
        }
        Message::Ready => ("Bereit", "Es geht los."),
        Message::FallingAsleep => ("Schläft gerade ein", "Gleich danach wird sie wieder geweckt."),
        Message::EngineAway => (
            "Nicht erreichbar",
            "Der Rechner, auf dem sie läuft, ist zurzeit nicht zu erreichen. Es wird weiter versucht.",
        ),
        Message::Asleep => ("Schläft", "Anfragen wie diese wecken sie nicht."),
        Message::StartFailed => (
            "Startet nicht",
            "Die Anwendung sollte starten und konnte nicht. Wer sie betreut, findet den Grund im Protokoll.",
        ),
        Message::NeedFailed => ("Etwas fehlt", "Etwas, das sie braucht, startet nicht."),
        Message::NotFound => {
            ("Nicht da", "Den Container dieser Anwendung gibt es nicht oder nicht mehr.")
        }
        Message::NotPermitted => {
            ("Nicht erlaubt", "drowse fehlt ein Recht; welches, steht in seinem Protokoll.")
        }
        Message::Locked => (
            "Beschäftigt",
            "Etwas anderes arbeitet daran, etwa eine Sicherung. Danach startet sie.",
        ),
        Message::Slow => ("Startet noch", "Es dauert länger als erwartet. Aufgegeben wird nicht."),
        Message::HeldAsleep => ("Soll schlafen", "Wer sie betreut, lässt sie vorerst schlafen."),
        Message::Misconfigured => (
            "Falsch eingerichtet",
            "Ihre Konfiguration ist fehlerhaft; wo, steht im Protokoll von drowse.",
        ),
        Message::NotManaged => {
            ("Wird gerade geändert", "In diesem Augenblick wird sie nicht betreut.")
        }
        Message::Stopped => (
            "Bleibt nicht wach",
            "Sie war mehrmals bereit und dann doch nicht. Von selbst versucht es diese Seite nicht weiter.",
        ),
    }
}
