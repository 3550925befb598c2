//! What went wrong with a lease, as a CNI error.

use cni::Error;

/// host-local's own refusals keep its code 999; ours use the codes that the CNI specification has for them.
pub(crate) fn of(error: &lease::Error) -> Error {
    let text = error.to_string();
    match error {
        lease::Error::Exhausted { .. }
        | lease::Error::Gateway { .. }
        | lease::Error::Unavailable { .. }
        | lease::Error::NotAllRequested(_)
        | lease::Error::Duplicate { .. }
        | lease::Error::InUse { .. }
        | lease::Error::Full { .. }
        | lease::Error::NotFound => Error::internal(text),
        lease::Error::Locked { .. } | lease::Error::Interfered(_) => Error::try_again(text),
        lease::Error::Io { .. } | lease::Error::Journal(_) | lease::Error::NotDurable(_) => Error::io(text),
    }
}
