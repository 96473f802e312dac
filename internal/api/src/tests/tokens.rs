//! Tokens and client certificates, issued, used and revoked by the real client.

use jaco_client::{Client, Deadline, RemoteChoice, secrets};
use jaco_types::{Role, Token};

use super::secured::{Secured, connect};
use super::*;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

fn request(name: &str, role: v1::Role) -> (v1::IssueTokenRequest, secrets::OperatorToken) {
    let token = secrets::new_token().unwrap();
    let request = v1::IssueTokenRequest {
        identity: name.into(),
        token_hash: token.hash().to_string(),
        role: role.into(),
        ..Default::default()
    };
    (request, token)
}

async fn admin(server: &Secured) -> Client {
    server.client(&server.operator("root", Role::Admin)).await
}

#[tokio::test]
async fn a_token_is_issued_used_listed_and_revoked() {
    let server = Secured::cluster().await;
    let root = admin(&server).await;
    let (request, token) = request("ci", v1::Role::Viewer);
    let issued = root.token_issue(request.clone(), soon()).await.unwrap();
    assert!(issued.identity == "ci" && issued.issued_at_ms > 0 && issued.certificate.is_empty());
    assert!(issued.ca_certificate.contains("BEGIN CERTIFICATE"));
    let ci = server.client(&token).await;
    ci.status(v1::StatusRequest::default(), soon()).await.unwrap();
    assert_eq!(root.token_issue(request, soon()).await.unwrap_err().code, ErrorCode::IdentityExists);
    let revoked = root.token_revoke(v1::RevokeTokenRequest { identity: "ci".into(), request_id: None }, soon()).await;
    assert!(revoked.unwrap().revoked_at_ms > 0);
    let refused = ci.status(v1::StatusRequest::default(), soon()).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::TokenRevoked);
    let list = root.token_list(v1::ListTokensRequest {}, soon()).await.unwrap().tokens;
    let rows: Vec<(&str, bool)> = list.iter().map(|t| (t.identity.as_str(), t.revoked_at_ms.is_some())).collect();
    assert_eq!(rows, [("ci", true), ("root", false)]);
    let unknown = v1::RevokeTokenRequest { identity: "nobody".into(), request_id: None };
    assert_eq!(root.token_revoke(unknown, soon()).await.unwrap_err().code, ErrorCode::IdentityNotFound);
    server.end().await;
}

#[tokio::test]
async fn who_revokes_itself_is_answered() {
    let server = Secured::cluster().await;
    let root = admin(&server).await;
    root.token_revoke(v1::RevokeTokenRequest { identity: "root".into(), request_id: None }, soon()).await.unwrap();
    let refused = root.token_list(v1::ListTokensRequest {}, soon()).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::TokenRevoked);
    server.end().await;
}

#[tokio::test]
async fn bad_requests_for_tokens_leave_no_trace() {
    let server = Secured::cluster().await;
    let root = admin(&server).await;
    let before = server.store.view().index();
    let good = || request("ci", v1::Role::Admin).0;
    let mut cases = Vec::new();
    for name in ["local", "system", "scheduler", "rollout", "runtime", "a:b"] {
        cases.push((v1::IssueTokenRequest { identity: name.into(), ..good() }, ErrorCode::ReservedIdentity));
    }
    for name in ["", "a b", "@x"] {
        cases.push((v1::IssueTokenRequest { identity: name.into(), ..good() }, ErrorCode::ValidationFailed));
    }
    cases.push((v1::IssueTokenRequest { token_hash: "abc".into(), ..good() }, ErrorCode::ValidationFailed));
    cases.push((v1::IssueTokenRequest { role: 0, ..good() }, ErrorCode::ValidationFailed));
    cases.push((v1::IssueTokenRequest { role: 99, ..good() }, ErrorCode::ValidationFailed));
    cases.push((v1::IssueTokenRequest { certificate_request: vec![1, 2, 3], ..good() }, ErrorCode::CsrInvalid));
    for (request, expected) in cases {
        let error = root.token_issue(request.clone(), soon()).await.unwrap_err();
        assert_eq!(error.code, expected, "{request:?}: {error}");
    }
    assert_eq!(server.store.view().index(), before);
    server.end().await;
}

#[tokio::test]
async fn a_client_certificate_is_a_way_in_until_it_is_revoked() {
    let server = Secured::cluster().await;
    let root = admin(&server).await;
    let order = secrets::CertificateOrder::new().unwrap();
    let (mut request, _) = request("ci", v1::Role::Deployer);
    request.certificate_request = order.request();
    let issued = root.token_issue(request, soon()).await.unwrap();
    let files = ("client.crt", "client.key");
    let (certificate, key) = (server.folder.path().join(files.0), server.folder.path().join(files.1));
    std::fs::write(&certificate, issued.certificate).unwrap();
    std::fs::write(&key, order.key_pem()).unwrap();
    let choice = RemoteChoice { certificate: Some((certificate, key)), ..server.remote() };
    let pinned = RemoteChoice {
        ca_cert: None,
        ca_fingerprint: Some(server.authority.fingerprint().to_string()),
        ..choice.clone()
    };
    for choice in [choice, pinned] {
        let ci = connect(choice).await.unwrap();
        ci.status(v1::StatusRequest::default(), soon()).await.unwrap();
        let level = v1::SetLogLevelRequest { level: "debug".into(), ..Default::default() };
        assert_eq!(ci.set_log_level(level, soon()).await.unwrap_err().code, ErrorCode::PermissionDenied);
    }
    assert_eq!(server.store.view().get::<Token>("ci").unwrap().certificate_keys.len(), 1);
    let ci = connect(RemoteChoice {
        certificate: Some((server.folder.path().join(files.0), server.folder.path().join(files.1))),
        ..server.remote()
    });
    let ci = ci.await.unwrap();
    let mut watch = ci.subscribe(v1::SubscribeRequest::default(), soon()).await.unwrap();
    assert!(watch.next().await.unwrap().is_some());
    root.token_revoke(v1::RevokeTokenRequest { identity: "ci".into(), request_id: None }, soon()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(5), async {
        while let Ok(Some(_)) = watch.next().await {}
        watch.next().await
    });
    ended.await.unwrap().ok();
    let refused = ci.status(v1::StatusRequest::default(), soon()).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::TokenRevoked);
    server.end().await;
}
