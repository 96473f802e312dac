//! Compiles the `.proto` files with a protobuf compiler written in Rust: no system package is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "jaco/v1/audit.proto",
        "jaco/v1/cluster.proto",
        "jaco/v1/common.proto",
        "jaco/v1/deploy.proto",
        "jaco/v1/error.proto",
        "jaco/v1/internal.proto",
        "jaco/v1/node.proto",
        "jaco/v1/tokens.proto",
        "jaco/v1/watch.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    let calls: Vec<(String, bool)> = descriptors
        .file
        .iter()
        .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
        .flat_map(|(package, service)| {
            let path = move |method: &str| format!("/{package}.{}/{method}", service.name());
            service.method.iter().map(move |method| (path(method.name()), method.server_streaming()))
        })
        .collect();
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("calls.rs"), format!("&{calls:?}"))?;
    // BTreeMap: maps are printed in sorted key order.
    // Bytes: messages between members are passed on as they came.
    tonic_prost_build::configure().btree_map(".").bytes(".jaco.v1.PeerMessage").compile_fds(descriptors)?;
    Ok(())
}
