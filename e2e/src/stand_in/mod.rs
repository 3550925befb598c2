//! CNI plugins that this program plays itself: called by a name of a plugin, as a link in the runtime's plugin
//! directory, it is that plugin and nothing else.

mod flannel;
pub mod killer;

use std::env;
use std::path::Path;
use std::process::ExitCode;

/// Plays the plugin by whose name this program was called; `None` if it was called by its own.
pub fn play() -> Option<ExitCode> {
    let program = env::args_os().next()?;
    let name = Path::new(&program).file_name()?.to_str()?;
    let played = match name {
        "flannel" => flannel::play(),
        "bridge" | "edgekeep-ipam" => killer::play(Path::new(&program), name),
        _ => return None,
    };
    Some(played.unwrap_or_else(|error| {
        let text = serde_json::json!({"cniVersion": "0.3.1", "code": 999, "msg": format!("{error:#}")});
        println!("{text}");
        ExitCode::FAILURE
    }))
}
