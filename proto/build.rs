//! Compiles the `.proto` files with a protobuf compiler written in Rust: no system package is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "jaco/v1/cluster.proto",
        "jaco/v1/common.proto",
        "jaco/v1/deploy.proto",
        "jaco/v1/error.proto",
        "jaco/v1/node.proto",
        "jaco/v1/watch.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    // BTreeMap: maps are printed in sorted key order.
    tonic_prost_build::configure().btree_map(".").compile_fds(descriptors)?;
    Ok(())
}
