//! Words for a relay: what its program reads, on the command line and while it runs.

use std::num::ParseIntError;
use std::time::Duration;

use super::{Counters, Flow, Mode, Relay, Shape, Way};

/// Something that a running relay can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `pass`, `black-hole`, `refuse`: change what becomes of connections and bytes.
    Switch(Mode),
    /// `reset`: end all present connections with a reset.
    Reset,
    /// `half-close up` and `half-close down`: end one direction of all present connections.
    HalfClose(Way),
    /// `shape delay-ms=250 loss-percent=5`: change what is named, keep the rest.
    Shape(Shape),
    /// `counters`: say what has passed.
    Counters,
}

impl Command {
    /// Reads one line. `now` is the shape that a `shape` command changes.
    ///
    /// # Errors
    /// What is wrong with the line, for whoever wrote it.
    pub fn parse(line: &str, now: Shape) -> Result<Self, String> {
        let mut words = line.split_ascii_whitespace();
        let verb = words.next().unwrap_or_default();
        let command = match verb {
            "pass" => Self::Switch(Mode::Pass),
            "black-hole" => Self::Switch(Mode::BlackHole),
            "refuse" => Self::Switch(Mode::Refuse),
            "reset" => Self::Reset,
            "counters" => Self::Counters,
            "half-close" => match words.next() {
                Some("up") => Self::HalfClose(Way::Up),
                Some("down") => Self::HalfClose(Way::Down),
                _ => return Err("half-close needs a direction, up or down".into()),
            },
            "shape" => {
                let mut shape = now;
                for word in words.by_ref() {
                    let (name, value) =
                        word.split_once('=').ok_or_else(|| format!("`{word}` is not name=value"))?;
                    shape = with(shape, name, value)?;
                }
                Self::Shape(shape)
            }
            _ => return Err(format!("`{verb}` is not a command")),
        };
        match words.next() {
            None => Ok(command),
            Some(word) => Err(format!("`{word}` has no meaning after {verb}")),
        }
    }

    /// Does it; what is to be answered stands in the result.
    pub async fn run(self, relay: &Relay) -> String {
        match self {
            Self::Switch(mode) => {
                if let Err(error) = relay.switch(mode).await {
                    return format!("error: {} cannot be listened on: {error}", relay.address());
                }
            }
            Self::Reset => relay.reset(),
            Self::HalfClose(way) => relay.half_close(way),
            Self::Shape(shape) => relay.reshape(shape),
            Self::Counters => return json(&relay.counters()),
        }
        "ok".into()
    }
}

/// A shape with one value changed: `delay-ms`, `loss-percent`, `retransmit-ms`, `bytes-per-second` (0 is no limit).
///
/// # Errors
/// What is wrong with name or value.
pub fn with(mut shape: Shape, name: &str, value: &str) -> Result<Shape, String> {
    let number: u64 =
        value.parse().map_err(|e: ParseIntError| format!("{name} is not a number: `{value}`: {e}"))?;
    match name {
        "delay-ms" => shape.delay = Duration::from_millis(number),
        "loss-percent" if number <= 100 => shape.loss_percent = number,
        "loss-percent" => return Err(format!("loss-percent is at most 100, not {number}")),
        "retransmit-ms" => shape.retransmit_after = Duration::from_millis(number),
        "bytes-per-second" => shape.bytes_per_second = (number > 0).then_some(number),
        _ => return Err(format!("`{name}` is not something that a link has")),
    }
    Ok(shape)
}

/// The counters as one line of JSON.
pub fn json(counters: &Counters) -> String {
    let flow = |flow: &Flow| {
        format!(r#"{{"taken":{},"delivered":{},"lost":{}}}"#, flow.taken, flow.delivered, flow.lost)
    };
    format!(
        r#"{{"connections":{},"open":{},"up":{},"down":{}}}"#,
        counters.connections,
        counters.open,
        flow(&counters.up),
        flow(&counters.down)
    )
}
