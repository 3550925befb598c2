//! Has the static program laid out by `sections.ld`. Other builds, of who has plain rustc, lie as their linker likes.

fn main() {
    println!("cargo::rerun-if-changed=sections.ld");
    let (environment, directory) = (variable("CARGO_CFG_TARGET_ENV"), variable("CARGO_MANIFEST_DIR"));
    if environment == "musl" {
        println!("cargo::rustc-link-arg-bins=-T{directory}/sections.ld");
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}
