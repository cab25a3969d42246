//! English.

use super::{Labels, Message};

pub(super) const LABELS: Labels = Labels {
    dependencies: "What it needs",
    starting: "Starting",
    answering: "Waiting for its answer",
    again: "Try again",
    progress: "How far it is",
    usual: "Usually takes about {}",
    seconds: "{} s",
    minutes: "{} min",
};

pub(super) fn say(message: Message) -> (&'static str, &'static str) {
    match message {
        Message::Reading => ("One moment", "Finding out how it is."),
        Message::Waking => {
            ("Waking up", "It was asleep, as nobody was using it. It will be here in a moment.")
        }
        Message::Needs => ("Waking what it needs", "It starts as soon as that is there."),
        Message::Answering => ("Almost there", "It has started, and is getting ready for you."),
        Message::Ready => ("Ready", "Here it comes."),
        Message::FallingAsleep => ("Just falling asleep", "It is woken right after."),
        Message::EngineAway => (
            "Out of reach",
            "The machine that it runs on cannot be reached at present. It is tried again and again.",
        ),
        Message::Asleep => ("Asleep", "Requests like this one do not wake it."),
        Message::StartFailed => (
            "It does not start",
            "It was told to start, and could not. Whoever looks after it finds the reason in the log.",
        ),
        Message::NeedFailed => ("Something is missing", "Something that it needs does not start."),
        Message::NotFound => {
            ("Not there", "The container of this application does not exist, or does no longer.")
        }
        Message::NotPermitted => {
            ("Not allowed", "drowse lacks a right on its engine; its log says which.")
        }
        Message::Locked => (
            "Busy",
            "Something else is working on it, such as a backup. It starts when that is done.",
        ),
        Message::Slow => ("Still starting", "It takes longer than expected. It is not given up."),
        Message::HeldAsleep => ("Kept asleep", "Whoever looks after it keeps it asleep for now."),
        Message::Misconfigured => {
            ("Set up wrongly", "Its configuration is in error; the log of drowse says where.")
        }
        Message::NotManaged => ("Being changed", "It is not looked after at this moment."),
        Message::Stopped => (
            "It does not stay",
            "It was ready several times, and then was not. This page has stopped trying by itself.",
        ),
    }
}
