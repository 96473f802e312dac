//! What the API's port answers of `Internal`: a new certificate for a member. Here, and not only on the members' port, so that a node
//! whose certificate has ended while it was off can come back.

use jaco_identity::CertificateRequest;
use jaco_proto::v1::internal_server::Internal;
use jaco_proto::{to_status, v1};
use jaco_types::{ErrorCode, UserError};
use tonic::{Request, Response, Status, Streaming};

use crate::Api;
use crate::answer_stream::AnswerStream;
use crate::caller::{Caller, caller};

/// The renewal of certificates.
#[derive(Clone)]
pub(crate) struct Renewal(pub(crate) Api);

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(to_status(&UserError::new(ErrorCode::PermissionDenied, "this is answered on the members' port only")))
}

#[tonic::async_trait]
impl Internal for Renewal {
    type PeerStreamStream = AnswerStream<v1::PeerMessage>;
    type SessionStream = AnswerStream<v1::SessionResponse>;
    type LogsStream = AnswerStream<v1::LogsResponse>;

    async fn peer(&self, _: Request<v1::PeerMessage>) -> Result<Response<v1::PeerMessage>, Status> {
        not_here()
    }

    async fn peer_stream(
        &self,
        _: Request<Streaming<v1::PeerMessage>>,
    ) -> Result<Response<Self::PeerStreamStream>, Status> {
        not_here()
    }

    async fn session(
        &self,
        _: Request<Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        not_here()
    }

    async fn sign_node_cert(
        &self,
        request: Request<v1::SignNodeCertRequest>,
    ) -> Result<Response<v1::SignNodeCertResponse>, Status> {
        let Caller::Node(node) = caller(&request) else { return not_here() };
        let csr = CertificateRequest::from_der(&request.into_inner().certificate_request);
        let csr = csr.map_err(|error| to_status(&error.user_error()))?;
        let enrolment = self.0.parts().enrolment().map_err(|error| to_status(&error))?;
        let certificate = enrolment.renew(node, &csr).await.map_err(|error| to_status(&error))?;
        Ok(Response::new(v1::SignNodeCertResponse { certificate }))
    }

    async fn logs(&self, _: Request<v1::NodeLogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        not_here()
    }

    async fn node_status(&self, _: Request<v1::NodeStatusRequest>) -> Result<Response<v1::NodeStatusResponse>, Status> {
        not_here()
    }

    async fn set_log_level(
        &self,
        _: Request<v1::MemberLogLevelRequest>,
    ) -> Result<Response<v1::SetLogLevelResponse>, Status> {
        not_here()
    }

    async fn diagnose(&self, _: Request<v1::DiagnoseRequest>) -> Result<Response<v1::DiagnoseResponse>, Status> {
        not_here()
    }
}
