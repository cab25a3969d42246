//! French.

use super::{Labels, Message};

pub(super) const LABELS: Labels = Labels {
    dependencies: "Ses dépendances",
    starting: "Démarrage",
    answering: "Attente de sa réponse",
    again: "Réessayer",
    progress: "Avancement",
    usual: "Prend en général environ {}",
    seconds: "{} s",
    minutes: "{} min",
};

pub(super) fn say(message: Message) -> (&'static str, &'static str) {
    match message {
        Message::Reading => ("Un instant", "Son état est en cours de lecture."),
        Message::Waking => (
            "Réveil en cours",
            "L’application dormait, faute de visiteurs. Elle sera là dans un instant.",
        ),
        Message::Needs => ("Réveil de ses dépendances", "Elle démarre dès qu’elles sont là."),
        Message::Answering => ("Presque prête", "Elle a démarré et se prépare."),
        Message::Ready => ("Prête", "C’est parti."),
        Message::FallingAsleep => ("En train de s’endormir", "Elle sera réveillée aussitôt après."),
        Message::EngineAway => (
            "Hors de portée",
            "La machine qui l’héberge est injoignable pour le moment. Les essais continuent.",
        ),
        Message::Asleep => ("Endormie", "Les requêtes de ce genre ne la réveillent pas."),
        Message::StartFailed => (
            "Ne démarre pas",
            "Elle devait démarrer et n’a pas pu. La raison se trouve dans le journal.",
        ),
        Message::NeedFailed => {
            ("Il manque quelque chose", "Une de ses dépendances ne démarre pas.")
        }
        Message::NotFound => {
            ("Introuvable", "Le conteneur de cette application n’existe pas, ou plus.")
        }
        Message::NotPermitted => {
            ("Non autorisé", "Il manque un droit à drowse ; son journal dit lequel.")
        }
        Message::Locked => (
            "Occupée",
            "Une autre opération est en cours, comme une sauvegarde. Elle démarrera ensuite.",
        ),
        Message::Slow => ("Démarre encore", "C’est plus long que prévu. Les essais continuent."),
        Message::HeldAsleep => {
            ("Maintenue endormie", "La personne qui s’en occupe la laisse dormir pour l’instant.")
        }
        Message::Misconfigured => {
            ("Mal configurée", "Sa configuration est erronée ; le journal de drowse dit où.")
        }
        Message::NotManaged => ("En cours de modification", "Elle n’est pas gérée à cet instant."),
        Message::Stopped => (
            "Ne reste pas éveillée",
            "Elle a été prête plusieurs fois, puis ne l’était plus. Cette page n’essaie plus d’elle-même.",
        ),
    }
}
