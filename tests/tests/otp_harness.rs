//! The ground the other suites stand on: the three releases run, and talk to each other.

use std::time::Duration;

use krarup_tests::{Lab, PeerIdentity, RawPeer, Release};

#[test]
fn the_three_releases_talk_to_each_other() {
    let lab = Lab::new();
    let mut nodes: Vec<_> = Release::all()
        .into_iter()
        .map(|release| lab.otp(release, &format!("n{release}")).start())
        .collect();
    let names: Vec<String> = nodes.iter().map(|node| node.name().to_owned()).collect();
    for node in &mut nodes {
        let release = format!("\"{}\"", node.release());
        assert_eq!(node.eval("erlang:system_info(otp_release)."), release);
        assert_eq!(node.eval("krarup_peer:watch_nodes(), ok."), "ok");
        for name in &names {
            assert_eq!(node.eval(&format!("net_adm:ping('{name}').")), "pong");
        }
    }
    for node in &mut nodes {
        node.eval("krarup_peer:echo_server().");
    }
    for asker in &mut nodes {
        for name in &names {
            let question = format!(
                "T = [1, {{x, <<\"é\"/utf8>>}}, #{{a => 1.5}}],
                 T =:= krarup_peer:ask({{echo, '{name}'}}, T, 5000)."
            );
            assert_eq!(asker.eval(&question), "true");
        }
    }
}

#[test]
fn short_names_and_hidden_nodes_work() {
    let lab = Lab::new();
    for release in Release::all() {
        let mut visible = lab.otp(release, &format!("v{release}")).short_name().start();
        let hidden = lab.otp(release, &format!("h{release}")).short_name().hidden(true).start();
        let name = hidden.name();
        assert_eq!(visible.eval(&format!("net_adm:ping('{name}').")), "pong");
        assert_eq!(visible.eval("nodes()."), "[]");
        assert_eq!(visible.eval("nodes(hidden)."), format!("[{name}]"));
    }
}

#[test]
#[should_panic(expected = "badarith")]
fn an_exception_fails_the_test() {
    let lab = Lab::new();
    lab.otp(Release::R25, "n").start().eval("1 / 0.");
}

#[test]
fn the_peer_that_speaks_by_hand_is_one_that_real_nodes_accept() {
    let lab = Lab::new();
    for release in Release::all() {
        let mut node = lab.otp(release, &format!("n{release}")).start();
        let port = node.eval(&format!(
            "{{port, Port, _}} = erl_epmd:port_please(\"n{release}\", {{127, 0, 0, 1}}), Port."
        ));
        let port = port.parse().expect("a port");
        let identity = PeerIdentity::new("raw@127.0.0.1");
        let mut peer = RawPeer::connect(port, &identity).expect("the handshake succeeds");
        node.eval_until("nodes(hidden).", "['raw@127.0.0.1']", Duration::from_secs(10));
        peer.send_frame(&[0]).expect("the connection is up");
        assert!(
            peer.closed_within(Duration::from_secs(10)).is_some(),
            "a frame of one byte ends it"
        );

        let stranger = PeerIdentity { cookie: "wrong".to_owned(), ..identity };
        assert!(RawPeer::connect(port, &stranger).is_err(), "OTP {release} takes a wrong cookie");
    }
}
