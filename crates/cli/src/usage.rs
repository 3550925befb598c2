//! `edgekeep usage`: how full the pools are, per network and family.

use lease::inspect::{Snapshot, Usage};
use serde_json::{Value, json};

use crate::args::{Output, Pools};
use crate::{Failure, leases, table};

pub fn run(look: &Pools) -> Result<(), Failure> {
    let (views, _) = leases::views(&look.select, &look.places)?;
    table::print(&match look.output {
        Output::Json => {
            format!("{:#}\n", json!({ "networks": views.iter().map(document).collect::<Vec<_>>() }))
        }
        Output::Table => {
            let pools = views.iter().flat_map(|view| view.usage.iter().map(|usage| (&view.network, usage)));
            let rows: Vec<Vec<String>> = pools.map(|(network, usage)| cells(network, usage)).collect();
            table::render(&["NETWORK", "FAMILY", "SIZE", "LIVE", "PARKED", "GONE", "FREE"], &rows)
        }
    })
}

fn cells(network: &str, usage: &Usage) -> Vec<String> {
    let mut cells = vec![network.to_owned(), family(usage).to_owned()];
    let Usage { size, live, parked, gone, free, .. } = usage;
    cells.extend([size, live, parked, gone, free].map(|count| in_short(*count)));
    cells
}

fn family(usage: &Usage) -> &'static str {
    if usage.v4 { "IPv4" } else { "IPv6" }
}

/// A count of addresses: exact as far as anybody would read it, the nearest power of two beyond.
fn in_short(count: u128) -> String {
    if count < 1_000_000_000_000 {
        return count.to_string();
    }
    let below = count.ilog2();
    let nearest = if count > (1 << below) + (1 << below) / 2 { below + 1 } else { below };
    format!("~2^{nearest}")
}

fn document(view: &Snapshot) -> Value {
    // IPv6 pools are larger than JSON numbers are safe: counts are numbers, sizes are text.
    let pools: Vec<Value> = view
        .usage
        .iter()
        .map(|usage| {
            json!({
                "family": family(usage),
                "size": usage.size.to_string(),
                "live": u64::try_from(usage.live).unwrap_or(u64::MAX),
                "parked": u64::try_from(usage.parked).unwrap_or(u64::MAX),
                "gone": u64::try_from(usage.gone).unwrap_or(u64::MAX),
                "free": usage.free.to_string(),
            })
        })
        .collect();
    json!({ "network": view.network, "pools": pools, "reused": view.reused, "givenUp": view.given_up })
}

#[cfg(test)]
mod tests {
    use super::in_short;

    #[test]
    fn a_count_is_exact_unless_nobody_would_read_it() {
        assert_eq!(in_short(253), "253");
        assert_eq!(in_short((1 << 64) - 2), "~2^64");
        assert_eq!(in_short(1 << 64), "~2^64");
    }
}
