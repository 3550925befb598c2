//! What is played on the node, one module per subcommand.

pub mod ipam;
