//! `resolv.conf`, which a configuration may name as the source of the result's DNS settings.

use crate::error::Error;

/// A line of this many bytes or more is refused.
const MAX_LINE: usize = 64 * 1024;

/// DNS settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// In the order of the file; neither limited in number nor validated.
    pub nameservers: Vec<String>,
    /// The last `domain`, or empty.
    pub domain: String,
    /// All `search` words of all lines.
    pub search: Vec<String>,
    /// All `options` words of all lines.
    pub options: Vec<String>,
}

impl Dns {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Dns::default()
    }
}

/// Reads the text of the file at `path`, which is named in errors. Unknown keywords and lines without a value are
/// skipped. The only error, code 999, is a line that is too long.
pub fn parse(path: &str, bytes: &[u8]) -> Result<Dns, Error> {
    let mut dns = Dns::default();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.len() >= MAX_LINE {
            let number = index + 1;
            return Err(Error::internal(format!(
                "{path}: line {number} is longer than {} bytes",
                MAX_LINE - 1
            )));
        }
        take_line(&String::from_utf8_lossy(line), &mut dns);
    }
    Ok(dns)
}

fn take_line(line: &str, dns: &mut Dns) {
    if line.trim_start().starts_with(['#', ';']) {
        return;
    }
    let mut words = line.split_whitespace();
    let keyword = words.next().unwrap_or_default();
    let mut values = words.map(str::to_owned).peekable();
    if values.peek().is_none() {
        return;
    }
    match keyword {
        "nameserver" => dns.nameservers.extend(values.next()),
        "domain" => dns.domain = values.next().unwrap_or_default(),
        "search" => dns.search.extend(values),
        "options" => dns.options.extend(values),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_host_local_reads_it() {
        let text = b"# comment\n; other\n\n  nameserver 10.0.0.1 ignored\r\nnameserver\tnot-checked\n\
            domain first\ndomain last\nsearch a b\nsearch c\noptions ndots:5\noptions edns0 rotate\n\
            sortlist 1.2.3.4\nnameserver\nsearch\nNameserver 9.9.9.9\n#nameserver 1.1.1.1";
        let dns = parse("/etc/resolv.conf", text).unwrap();
        assert_eq!(dns.nameservers, ["10.0.0.1", "not-checked"]);
        assert_eq!(dns.domain, "last");
        assert_eq!(dns.search, ["a", "b", "c"]);
        assert_eq!(dns.options, ["ndots:5", "edns0", "rotate"]);
    }

    #[test]
    fn an_empty_file_says_nothing() {
        assert!(parse("x", b"").unwrap().is_empty());
        assert!(parse("x", b"\n \n#\n").unwrap().is_empty());
    }

    #[test]
    fn a_line_of_64_kib_is_refused_by_file_and_number() {
        let mut text = b"nameserver 10.0.0.1\n".to_vec();
        text.extend(std::iter::repeat_n(b'#', MAX_LINE - 1));
        assert!(parse("/etc/r", &text).is_ok());
        text.push(b'#');
        let error = parse("/etc/r", &text).unwrap_err();
        assert_eq!(error.code, 999);
        assert_eq!(error.msg, "/etc/r: line 2 is longer than 65535 bytes");
    }
}
