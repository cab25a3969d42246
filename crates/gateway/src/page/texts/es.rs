//! Spanish.

use super::{Labels, Message};

pub(super) const LABELS: Labels = Labels {
    dependencies: "Lo que necesita",
    starting: "Arrancando",
    answering: "Esperando su respuesta",
    again: "Intentar de nuevo",
    progress: "Cuánto ha avanzado",
    usual: "Suele tardar unos {}",
    seconds: "{} s",
    minutes: "{} min",
};

pub(super) fn say(message: Message) -> (&'static str, &'static str) {
    match message {
        Message::Reading => ("Un momento", "Se está averiguando cómo está."),
        Message::Waking => (
            "Despertando",
            "La aplicación dormía porque nadie la usaba. Estará aquí en un momento.",
        ),
        Message::Needs => ("Despertando lo que necesita", "Empieza en cuanto eso esté listo."),
        Message::Answering => ("Ya casi está", "Ha arrancado y se está preparando."),
        Message::Ready => ("Lista", "Allá vamos."),
        Message::FallingAsleep => ("Durmiéndose", "Se la despierta justo después."),
        Message::EngineAway => (
            "Fuera de alcance",
            "La máquina en la que corre no responde en este momento. Se sigue intentando.",
        ),
        Message::Asleep => ("Dormida", "Las peticiones como esta no la despiertan."),
        Message::StartFailed => (
            "No arranca",
            "Debía arrancar y no pudo. Quien la administra encontrará el motivo en el registro.",
        ),
        Message::NeedFailed => ("Falta algo", "Algo que necesita no arranca."),
        Message::NotFound => ("No está", "El contenedor de esta aplicación no existe, o ya no."),
        Message::NotPermitted => {
            ("Sin permiso", "A drowse le falta un permiso; su registro dice cuál.")
        }
        Message::Locked => (
            "Ocupada",
            "Hay otra operación en curso, como una copia de seguridad. Después arrancará.",
        ),
        Message::Slow => ("Aún arrancando", "Tarda más de lo esperado. No se ha desistido."),
        Message::HeldAsleep => {
            ("Se la deja dormir", "Quien la administra la mantiene dormida por ahora.")
        }
        Message::Misconfigured => (
            "Mal configurada",
            "Su configuración tiene un error; el registro de drowse dice dónde.",
        ),
        Message::NotManaged => ("En cambio", "En este instante nadie la gestiona."),
        Message::Stopped => (
            "No se mantiene despierta",
            "Estuvo lista varias veces y luego no. Esta página ya no lo intenta por sí sola.",
        ),
    }
}
