//! Messages of sessions and of a join as the first version sent them. They must be read for ever, and today's code must send the same
//! bytes. `JACO_BLESS=1 cargo test` writes the fixture anew; doing so breaks talking to what is out there.

use std::fs;
use std::path::PathBuf;

use prost::Message;

use super::*;

fn join() -> (v1::JoinRequest, v1::JoinResponse) {
    let request = v1::JoinRequest {
        secret: "ab".repeat(32),
        certificate_request: vec![0x30, 0x82, 1, 2],
        hostname: "node-b".to_owned(),
        node_id: 0x0123_4567_89ab_cdef,
        address: "10.0.0.2".to_owned(),
        grpc_address: "10.0.0.2:7000".to_owned(),
        cluster_address: "10.0.0.2:7001".to_owned(),
        version: "0.1.0".to_owned(),
        feature_level: 1,
        seal_key: "cd".repeat(32),
    };
    let response = v1::JoinResponse {
        cluster_id: "5b3c1e9e-6a53-4c8e-9d3f-0a7b8c9d0e1f".to_owned(),
        incarnation: 0xfedc_ba98_7654_3210,
        certificate: "THE CERTIFICATE".to_owned(),
        ca_certificate: "THE AUTHORITY".to_owned(),
        peers: vec!["10.0.0.1:7001".to_owned()],
    };
    (request, response)
}

fn requests() -> Vec<v1::SessionRequest> {
    let hello = v1::SessionHello {
        node_id: 0x0123_4567_89ab_cdef,
        incarnation: 0xfedc_ba98_7654_3210,
        version: "0.1.0".to_owned(),
        feature_level: 1,
        address: "10.0.0.2".to_owned(),
        grpc_address: "10.0.0.2:7000".to_owned(),
        cluster_address: "10.0.0.2:7001".to_owned(),
        now_ms: 1_700_000_000_000,
        nano_cpus: 4_000_000_000,
        memory_bytes: 8 << 30,
    };
    let heartbeat = v1::Heartbeat {
        sequence: 300,
        now_ms: 1_700_000_000_001,
        reconciled: true,
        lease_lapsed: true,
        applied_index: 70_000,
        cpu: Some(0.25),
        memory: Some(0.5),
        fsync_us: 1_500,
        acked: 299,
        disk_full: true,
    };
    let quiet = v1::Heartbeat { sequence: 1, ..Default::default() };
    vec![request(Request::Hello(hello)), request(Request::Heartbeat(heartbeat)), request(Request::Heartbeat(quiet))]
}

fn responses() -> Vec<v1::SessionResponse> {
    let refused = v1::SessionRefused { code: "node_removed".to_owned(), message: "gone".to_owned() };
    let answer = v1::HeartbeatAnswer { sequence: 300, lease_ms: 5_000, stop_ms: 2_000, clock_offset_ms: -12 };
    vec![
        response(Response::Welcome(v1::SessionWelcome { term: 9 })),
        response(Response::Answer(answer)),
        response(Response::NotLeader(v1::NotLeader { leader: Some(7) })),
        response(Response::NotLeader(v1::NotLeader { leader: None })),
        response(Response::Refused(refused)),
    ]
}

/// Messages one after the other, each behind its length.
fn framed<M: Message>(messages: &[M]) -> Vec<u8> {
    messages.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

fn unframed<M: Message + Default>(mut content: &[u8]) -> Vec<M> {
    let mut messages = Vec::new();
    while !content.is_empty() {
        messages.push(M::decode_length_delimited(&mut content).unwrap());
    }
    messages
}

fn golden<M: Message + Default + PartialEq + std::fmt::Debug>(name: &str, messages: &[M]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let sent = framed(messages);
    if std::env::var_os("JACO_BLESS").is_some() {
        fs::write(&path, &sent).unwrap();
    }
    let content = fs::read(path).unwrap();
    assert_eq!(sent, content, "{name}: today's code sends other bytes");
    assert_eq!(unframed::<M>(&content), messages, "{name}: today's code reads something else");
}

#[test]
fn messages_of_the_first_version_are_read_and_sent() {
    golden("session-requests-v1.bin", &requests());
    golden("session-responses-v1.bin", &responses());
    let (request, response) = join();
    golden("join-request-v1.bin", &[request]);
    golden("join-response-v1.bin", &[response]);
}
