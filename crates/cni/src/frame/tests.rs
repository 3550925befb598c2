use super::*;

fn env(command: &str) -> Env {
    Env {
        command: command.into(),
        container_id: "c0ffee".into(),
        netns: "/run/netns/x".into(),
        ifname: "eth0".into(),
        path: "/opt/cni/bin".into(),
        ..Env::default()
    }
}

fn refused(command: &str, stdin: &str) -> (u32, String) {
    let error = Call::parse(&env(command), stdin.as_bytes()).unwrap_err();
    (error.code, error.msg)
}

fn said(code: u32, msg: &str) -> (u32, String) {
    (code, msg.to_owned())
}

#[test]
fn stdin_that_is_not_json_is_refused_with_code_6() {
    for stdin in ["", "{", "{} trailing", "{}{}", "{\"name\":\"n\",}", "\u{feff}{}"] {
        let (code, msg) = refused("ADD", stdin);
        assert_eq!(code, 6, "{stdin}");
        assert!(msg.starts_with("error unmarshall network config: "), "{msg}");
    }
}

#[test]
fn a_document_of_the_wrong_kind_is_refused_with_code_6() {
    assert_eq!(
        refused("ADD", "[]"),
        said(6, "error unmarshall network config: json: cannot unmarshal array into type object")
    );
    assert_eq!(
        refused("ADD", r#"{"name":5}"#),
        said(
            6,
            "error unmarshall network config: json: cannot unmarshal number into field name of type string"
        )
    );
    assert_eq!(
        refused("ADD", r#"{"name":"n","cniVersion":5}"#),
        said(
            6,
            "decoding version from network config: \
             json: cannot unmarshal number into field cniVersion of type string"
        )
    );
}

#[test]
fn the_network_name_must_be_there_and_clean() {
    for stdin in ["{}", "null", r#"{"name":""}"#, r#"{"name":null}"#, r#"{"cniVersion":"9.0.0"}"#] {
        assert_eq!(refused("ADD", stdin), said(7, "missing network name"));
    }
    for name in ["a b", "../x", ".", "a/b", "é"] {
        let stdin = format!(r#"{{"name":"{name}","cniVersion":"9.0.0"}}"#);
        let error = Call::parse(&env("ADD"), stdin.as_bytes()).unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (7, "invalid characters found in network name"));
        assert_eq!(error.details, name);
    }
}

#[test]
fn an_unknown_command_is_named_once_the_network_is_known() {
    assert_eq!(refused("FOO", "{").0, 6);
    assert_eq!(refused("FOO", "{}"), said(7, "missing network name"));
    assert_eq!(refused("FOO", r#"{"name":"n","cniVersion":"9"}"#), said(4, "unknown CNI_COMMAND: FOO"));
    assert_eq!(refused("add", r#"{"name":"n"}"#), said(4, "unknown CNI_COMMAND: add"));
}

#[test]
fn a_version_that_cannot_be_agreed_on_is_refused_with_code_1() {
    let versioned =
        |command, version| refused(command, &format!(r#"{{"name":"n","cniVersion":"{version}"}}"#));
    for command in ["ADD", "DEL"] {
        assert_eq!(versioned(command, "9.0.0"), said(1, "incompatible CNI versions"));
        assert_eq!(versioned(command, "0.4"), said(1, "incompatible CNI versions"));
    }
    assert_eq!(versioned("CHECK", "0.3.1"), said(1, "config version does not allow CHECK"));
    assert_eq!(versioned("CHECK", "9.0.0"), said(1, "plugin version does not allow CHECK"));
    assert_eq!(versioned("GC", "1.0.0"), said(1, "config version does not allow GC"));
    assert_eq!(versioned("STATUS", "1.0.0"), said(1, "config version does not allow STATUS"));
    assert_eq!(refused("CHECK", r#"{"name":"n"}"#), said(1, "config version does not allow CHECK"));
    assert_eq!(versioned("ADD", "1.1.0"), said(999, "IPAM config missing 'ipam' key"));
}

#[test]
fn an_absent_version_counts_as_the_first() {
    for version in ["", r#""cniVersion":"","#, r#""cniVersion":null,"#] {
        let stdin = format!(r#"{{{version}"name":"n","ipam":{{"subnet":"10.0.0.0/24"}}}}"#);
        let call = Call::parse(&env("ADD"), stdin.as_bytes()).unwrap();
        assert_eq!(call.conf.version, Version::V0_1_0);
    }
}

#[test]
fn bytes_that_are_not_utf8_do_not_spoil_the_rest() {
    let stdin = b"{\"name\":\"n\",\"ipam\":{\"subnet\":\"10.0.0.0/24\"},\"note\":\"\xff\xfe\"}";
    assert_eq!(Call::parse(&env("ADD"), stdin).unwrap().conf.name, "n");
}

#[test]
fn a_document_nested_without_end_is_refused_not_followed() {
    let stdin = format!("{{\"name\":\"n\",\"x\":{}", "[".repeat(200_000));
    assert_eq!(refused("ADD", &stdin).0, 6);
}

#[test]
fn add_and_check_read_cni_args_strictly_and_del_does_not() {
    let stdin = br#"{"name":"n","cniVersion":"1.1.0","ipam":{"subnet":"10.0.0.0/24"}}"#;
    let with = |command, args: &str| Call::parse(&Env { args: args.into(), ..env(command) }, stdin);
    for command in ["ADD", "CHECK"] {
        assert_eq!(with(command, "A=b").unwrap_err().msg, "ARGS: unknown args [\"A=b\"]");
    }
    let call = with("DEL", "A=b;junk;IP=x;K8S_POD_NAME=web-0").unwrap();
    assert_eq!(call.command, Command::Del);
    assert_eq!(call.args.pod.as_deref(), Some("web-0"));
    assert!(with("STATUS", "A=b").is_ok());
}
