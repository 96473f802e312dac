//! `Cluster.RotateKey`: a new data key.

use jaco_proto::{to_status, v1};
use tonic::Status;

use crate::Api;
use crate::deploy::request_id;

impl Api {
    /// Makes a new data key and seals everything with it; the answer comes when the old one is gone.
    pub(crate) async fn change_key(
        &self,
        request: v1::RotateKeyRequest,
        actor: &str,
    ) -> Result<v1::RotateKeyResponse, Status> {
        let id = request_id(request.request_id)?;
        let enrolment = self.parts().enrolment().map_err(|error| to_status(&error))?;
        let epoch = enrolment.rotate_key(actor, id).await.map_err(|error| to_status(&error))?;
        Ok(v1::RotateKeyResponse { epoch })
    }
}
