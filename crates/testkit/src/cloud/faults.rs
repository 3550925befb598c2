//! What the API server itself gets wrong on purpose. What goes wrong on the way to it is the relay's.

use std::time::Duration;

use wire::Status;
use wire::request::Request;

/// What goes wrong with a request.
#[derive(Debug, Clone)]
pub enum Trouble {
    /// It is refused with this, and a `Retry-After` of so many seconds; nothing is done.
    Refuse(Status, Option<u32>),
    /// It is begun so much later.
    Late(Duration),
    /// It is done, but never answered.
    Silent,
    /// It is done, but the answer breaks off after so many bytes of its body.
    Cut(usize),
}

/// Trouble for some requests.
#[derive(Debug, Clone)]
pub struct Fault {
    trouble: Trouble,
    verb: String,
    resource: String,
    name: String,
    left: Option<u32>,
}

impl Fault {
    /// For all requests, until the faults are cleared.
    pub fn new(trouble: Trouble) -> Self {
        Self { trouble, verb: String::new(), resource: String::new(), name: String::new(), left: None }
    }

    /// 429 as the API server's queues say it.
    pub fn overloaded(retry_after: u32) -> Self {
        let text = "The server has received too many requests and has asked us to try again later";
        let details = wire::status::Details {
            retry_after_seconds: i32::try_from(retry_after).unwrap_or(i32::MAX),
            ..Default::default()
        };
        let status = Status { details: Some(Box::new(details)), ..Status::too_many_requests(text) };
        Self::new(Trouble::Refuse(status, Some(retry_after)))
    }

    /// Only for this verb and resource; an empty text is any.
    #[must_use]
    pub fn on(self, verb: &str, resource: &str) -> Self {
        Self { verb: verb.to_owned(), resource: resource.to_owned(), ..self }
    }

    /// Only for objects of this name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Only so many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { left: Some(times), ..self }
    }

    fn meets(&self, request: &Request) -> bool {
        let same = |own: &str, given: &str| own.is_empty() || own == given;
        let (resource, name) = match &request.resource {
            Some(of) => (of.resource.as_str(), of.name.as_str()),
            None => ("", ""),
        };
        self.left != Some(0)
            && same(&self.verb, request.verb.as_str())
            && same(&self.resource, resource)
            && same(&self.name, name)
    }
}

/// The trouble that a request meets: that of the first fault that fits and is not used up.
pub(super) fn meet(faults: &mut [Fault], request: &Request) -> Option<Trouble> {
    let fault = faults.iter_mut().find(|fault| fault.meets(request))?;
    if let Some(left) = &mut fault.left {
        *left -= 1;
    }
    Some(fault.trouble.clone())
}
